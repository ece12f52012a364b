"""Rule: tasks that were sent and left their queue, but that no worker reported."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import Task, Worker
from push_job.explain.phrases import names, types, when
from push_job.explain.silent_workers import is_at_silent_worker
from push_job.terminal.formatting import format_count

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "message-lost": "a task has been PENDING for a minute, its queue is empty, and no worker reported it",
}

#: Seconds within which the worker's event of a task arrives after the task has left its queue.
REPORTED_WITHIN = 60


def lost_messages(facts: Facts) -> Iterator[Finding]:
    """Report PENDING tasks whose queue is empty.

    A worker fetched them without an event.
    """
    tasks = lost(facts)
    if not tasks:
        return
    yield Finding(
        Level.WRONG,
        "message-lost",
        f"{format_count(len(tasks), 'task')} of {names(task.name for task in tasks)} PENDING since"
        f" {when(facts, tasks[0].since or facts.now)}, but the queue is empty and no worker has received"
        f" {'it' if len(tasks) == 1 else 'them'}",
        "likely a worker rejected the message: its serializer is not in accept_content (ContentDisallowed). Or the"
        " queue was purged, or a worker without task events (-E) ran it",
        'look for "Refusing to deserialize" in the workers\' logs; set task_serializer to one of accept_content',
        tasks[0].name,
        facts.link(tasks[0]),
        explains=types(tasks),
    )


def lost(facts: Facts) -> list[Task]:
    """Return the tasks whose messages are lost, the oldest first.

    They are neither in their queue nor at a worker that reports its tasks.
    """
    if mute_workers(facts) or facts.consumed_queues is None or facts.queues.known is None or lacks_worker_events(facts):
        return []
    return [task for task in facts.tasks_in("PENDING") if _has_left(facts, task)]


def _has_left(facts: Facts, task: Task) -> bool:
    """Return whether a task was sent some time ago and its queues are empty.

    Its queues are all queues that could hold it.
    """
    if facts.age(task.since) <= REPORTED_WITHIN or is_at_silent_worker(facts, task):
        return False
    empty = {queue.name for queue in facts.queues.known or () if not queue.ready and not queue.unacknowledged}
    its_queues = {queue.name for queue in facts.all_consumed if queue.receives(task.route)}
    return bool(its_queues) and its_queues <= empty


def lacks_worker_events(facts: Facts) -> bool:
    """Return whether workers have processed tasks but only senders sent task events."""
    pending = sum(kind.counts.get("PENDING", 0) for kind in facts.types.values())
    if facts.task_count != pending or not any(worker.processed for worker in facts.workers.values()):
        return False
    # Before Flower's start, the workers may have processed tasks whose events Flower missed.
    return not facts.is_young or pending > sum(queue.ready for queue in facts.waiting_queues)


def mute_workers(facts: Facts) -> tuple[Worker, ...]:
    """Return the live workers that have processed tasks but sent no task event.

    Flower must have seen their start, or must not be young.
    """
    return tuple(
        worker
        for worker in facts.live
        if worker.processed
        and worker.events.get("worker-heartbeat")
        and (worker.events.get("worker-online") or not facts.is_young)
        and not any(event.startswith("task-") for event in worker.events)
    )
