"""Rule: tasks that wait for too long."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import Task
from push_job.explain.phrases import when
from push_job.explain.rules.capacity import WAIT_SECONDS, held_tasks, is_full
from push_job.explain.rules.lost_messages import lacks_worker_events, lost, mute_workers
from push_job.explain.rules.queues import unrouted
from push_job.terminal.formatting import format_count, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "waiting": (
        "a task has been PENDING, RECEIVED or in RETRY for more than five minutes (counted from its ETA), and no "
        "finding above explains it"
    ),
}


def waiting(facts: Facts) -> Iterator[Finding]:
    """Report, for each type, the task that has waited for the longest time.

    A task that another rule explains is left out.
    """
    if not facts.live or lacks_worker_events(facts):
        return  # the rules in `workers` or `unknown` report this
    explained = _explained(facts)
    seen: set[str] = set()
    for task in facts.waiting:
        if facts.age(task.since) <= WAIT_SECONDS or task.name in seen or task.id in explained:
            continue
        seen.add(task.name)
        where = f" at {format_name(task.worker)}" if task.state == "RECEIVED" and task.worker else ""
        yield Finding(
            Level.WRONG,
            "waiting",
            f"A task {format_name(task.name)} has been {task.state}{where}"
            f" since {when(facts, task.since or facts.now)}",
            *_why(facts, task),
            task.name,
            facts.link(task),
            explains=frozenset({task.name}),
        )


def _explained(facts: Facts) -> set[str]:
    """Return the ids of waiting tasks that another rule reports."""
    found = {task.id for task in lost(facts)}
    found |= {task.id for worker in facts.live for task in held_tasks(facts, worker)}
    found |= {task.id for tasks in unrouted(facts).values() for task in tasks}
    if mute_workers(facts) and not facts.waiting_queues:  # they may have run these tasks
        found |= {task.id for task in facts.waiting if task.state == "PENDING"}
    if is_full(facts):
        found |= {task.id for task in facts.waiting if task.state != "RETRY"}
    return found


def _why(facts: Facts, task: Task) -> tuple[str, str]:
    """Return the likely cause and the next step."""
    if task.state == "RETRY":
        return (
            "likely its retry is due, but the worker that held it has stopped or is busy",
            "check its ETA on its page, and whether a worker consumes its queue",
        )
    if task.state == "RECEIVED":
        return (
            "likely its worker runs a long task, or has lost this one",
            f"run `celery -A APP inspect reserved -d {format_name(task.worker)}`; if the task is not listed, restart"
            " the worker",
        )
    messages = sum(queue.ready for queue in facts.waiting_queues)
    if messages and facts.active == 0:
        return (
            f"no task runs, but {format_count(messages, 'message')} in queues that workers consume: likely the workers"
            " have lost their connection to the broker",
            "read a worker's log for connection errors, and restart it",
        )
    if messages:
        return (
            f"likely its queue is long: {format_count(messages, 'message')} in the queues",
            "add workers, or check what the workers that consume its queue run",
        )
    return (
        "likely no worker has fetched it, or a worker without task events has",
        "check which worker consumes its queue (-Q), and whether that worker sends events (-E)",
    )
