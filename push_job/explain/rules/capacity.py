"""Rules on capacity: full workers, tasks that workers hold back, idle workers.

Idle workers are reported only while messages wait.
"""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import Task, Worker
from push_job.explain.phrases import names, types, when
from push_job.terminal.formatting import format_count, format_duration, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "workers-full": (
        "95 % of the processes of all live workers are busy, and a task has waited for more than five minutes; `?` if "
        "messages wait and their age is not known"
    ),
    "held-back": "a worker has a free process but has held a task for more than five minutes; `?` after 30 s",
    "workers-idle": "`?`: messages wait in queues that live workers consume, but no task has run for a minute",
}

#: Ratio of busy processes from which workers count as full; the limit of CeleryWorkersFull.
BUSY_RATIO = 0.95

#: Seconds that a task may wait for a worker; the limit of CeleryTasksWaitTooLong.
WAIT_SECONDS = 300

#: Seconds that a task may wait for a full pool before a possible problem is reported.
SHORT_WAIT_SECONDS = 60

#: Seconds after which a task that a worker has received counts as held back, if a process is free.
HELD_AFTER = 30

#: Seconds without a success after which workers without active tasks count as idle.
IDLE_AFTER = 60


def full(facts: Facts) -> Iterator[Finding]:
    """Report that all processes are busy while tasks wait."""
    if not is_full(facts):
        return
    waits = [task for task in facts.waiting if task.state != "RETRY"]
    longest = max((facts.age(task.since) for task in waits), default=0.0)
    messages = sum(queue.ready for queue in facts.waiting_queues)
    for_long = longest > WAIT_SECONDS
    # If senders send task-sent events, a task that has waited for long would be listed as PENDING.
    if not for_long and (not messages or (facts.has_sent_events and longest <= SHORT_WAIT_SECONDS)):
        return
    yield Finding(
        Level.WRONG if for_long else Level.UNSURE,
        "workers-full",
        f"{_busy(facts)}, and {_what_waits(longest if for_long else 0.0, messages)}",
        "likely there are too few worker processes, or tasks take longer than usual"
        if for_long
        else "this may be a short peak: no task is known to have waited for long",
        "add workers or raise --concurrency; look for tasks that run for a long time"
        if for_long
        else "run this again in a few minutes",
        explains=types(waits) if for_long else frozenset(),
    )


def _busy(facts: Facts) -> str:
    processes, active = facts.processes or 0.0, facts.active or 0
    share = "All" if active >= processes else f"{active:,} of"
    workers = format_count(len(facts.live), "live worker")
    return f"{share} {processes:,.0f} processes of {workers} are busy with {names(task.name for task in facts.running)}"


def _what_waits(longest: float, messages: int) -> str:
    parts = [f"a task has waited {format_duration(longest)}"] if longest else []
    if messages:
        parts.append(f"{format_count(messages, 'message')} {'is' if messages == 1 else 'are'} in the queues")
    return " and ".join(parts)


def is_full(facts: Facts) -> bool:
    """Return whether nearly all processes of the live workers run tasks."""
    processes, active = facts.processes, facts.active
    # A worker with more active tasks than processes still counts tasks that have ended; see `ended_unheard`.
    return processes is not None and active is not None and BUSY_RATIO * processes <= active <= processes > 0


def held_back(facts: Facts) -> Iterator[Finding]:
    """Report received tasks that wait although their worker has a free process."""
    for worker in facts.live:
        tasks = held_tasks(facts, worker)
        if not tasks:
            continue
        longest = facts.age(tasks[0].since)
        yield Finding(
            Level.WRONG if longest > WAIT_SECONDS else Level.UNSURE,
            "held-back",
            f"Worker {format_name(worker.name)} has {worker.active:,} of {worker.answer.processes:,.0f} processes busy,"
            f" but has not started {format_count(len(tasks), 'task')} of {names(task.name for task in tasks)} that it"
            f" has held since {when(facts, tasks[0].since or facts.now)}",
            "likely a rate_limit of the type: the worker waits before it starts the next task",
            "check rate_limit in the task or in task_annotations; `celery -A APP control rate_limit"
            f" {format_name(tasks[0].name)} 0` removes it until the worker restarts",
            tasks[0].name,
            facts.link(tasks[0]),
            explains=types(tasks),
        )


def held_tasks(facts: Facts, worker: Worker) -> list[Task]:
    """Return the received tasks that a worker does not start despite a free process.

    The oldest task is first.
    """
    processes = worker.answer.processes
    if processes is None or worker.active is None or worker.active >= processes:
        return []
    return [
        task
        for task in facts.waiting
        if task.state == "RECEIVED" and task.worker == worker.name and facts.age(task.since) > HELD_AFTER
    ]


def idle(facts: Facts) -> Iterator[Finding]:
    """Report messages in queues that live workers consume while no task runs."""
    messages = sum(queue.ready for queue in facts.waiting_queues if facts.consumers(queue.name))
    newest = max((kind.last_success or 0.0 for kind in facts.types.values()), default=0.0)
    is_idle = facts.processes is not None and facts.active == 0 and facts.age(newest) > IDLE_AFTER
    if not messages or not is_idle or any(held_tasks(facts, worker) for worker in facts.live):
        return
    yield Finding(
        Level.UNSURE,
        "workers-idle",
        f"{format_count(messages, 'message')} {'is' if messages == 1 else 'are'} in queues consumed by the"
        f" {format_count(len(facts.live), 'live worker')}, but no task runs",
        "the messages may have just arrived; or the workers have lost their broker connection, or already hold the"
        " maximum number of tasks, with a later ETA",
        "run this again in a minute; if the messages are still there, read a worker's log and restart it",
    )
