"""Tasks that were sent, are in no queue any more, and no worker reported."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts, Task
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import names, types, when
from push_job.explain.rules.queues import gets
from push_job.terminal.formatting import count_words

#: Seconds after which a task that left its queue would have been reported.
REPORTED_WITHIN = 60


def lost_messages(facts: Facts) -> Iterator[Finding]:
    """PENDING tasks whose queue is empty: a worker took them and reported nothing."""
    tasks = lost(facts)
    if not tasks:
        return
    yield Finding(
        Level.WRONG,
        "message-lost",
        f"{count_words(len(tasks), 'task')} of {names(task.name for task in tasks)} PENDING since"
        f" {when(facts, tasks[0].since or facts.now)}, but no message is left in the queue, and no worker reported one",
        "likely a worker refused the message: its serializer is not in accept_content (ContentDisallowed); or somebody"
        " purged the queue, or a worker without events (-E) took it",
        'look for "Refusing to deserialize" in the workers\' logs; set task_serializer to one of accept_content',
        tasks[0].name,
        facts.link(tasks[0]),
        explains=types(tasks),
    )


def lost(facts: Facts) -> list[Task]:
    """The tasks that are neither in their queue nor with a worker, oldest first."""
    if facts.consumed_queues is None or facts.queues.known is None or are_unreported(facts):
        return []
    return [task for task in facts.tasks_in("PENDING") if _has_left(facts, task)]


def _has_left(facts: Facts, task: Task) -> bool:
    """Whether a task was sent a while ago and every queue that could hold it is empty."""
    if facts.age(task.since) <= REPORTED_WITHIN:
        return False
    empty = {queue.name for queue in facts.queues.known or () if not queue.ready and not queue.unacknowledged}
    its_queues = {queue.name for queue in facts.all_consumed if gets(queue, task)}
    return bool(its_queues) and its_queues <= empty


def are_unreported(facts: Facts) -> bool:
    """Whether only senders reported tasks, although workers have done some."""
    return facts.task_count == facts.count("PENDING") and any(worker.processed for worker in facts.workers.values())
