"""Workers that are full, hold tasks back, or idle while messages wait."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts, Task, Worker
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import names, types, when
from push_job.terminal.formatting import count_words, name_words, time_words

#: CeleryWorkersFull: which part of what the workers can run at once may be busy.
BUSY_RATIO = 0.95

#: CeleryTasksWaitTooLong: seconds that a task may wait for a worker.
WAIT_SECONDS = 300

#: Seconds that a task may wait for a full pool without a word.
MAY_WAIT = 60

#: Seconds after which a task that a worker with a free process holds is held back, not just fetched.
HELD_AFTER = 30

#: Seconds since the last success after which workers with messages and nothing to do are idle.
IDLE_AFTER = 60


def full(facts: Facts) -> Iterator[Finding]:
    """All processes are busy and tasks wait."""
    if not is_full(facts):
        return
    waits = [task for task in facts.waiting if task.state != "RETRY"]
    longest = max((facts.age(task.since) for task in waits), default=0.0)
    messages = sum(queue.ready for queue in facts.waiting_queues)
    for_long = longest > WAIT_SECONDS
    # Where the tasks' sending is known, so is that none of them has waited for long.
    if not for_long and (not messages or (facts.has_sent_events and longest <= MAY_WAIT)):
        return
    yield Finding(
        Level.WRONG if for_long else Level.UNSURE,
        "workers-full",
        f"{_busy(facts)}, and {_what_waits(longest if for_long else 0.0, messages)}",
        "likely there are too few processes, or tasks take longer than they should"
        if for_long
        else "this may pass: no task is known to have waited for long",
        "add workers or raise --concurrency; see which tasks run for long" if for_long else "ask again in some minutes",
        explains=types(waits) if for_long else frozenset(),
    )


def _busy(facts: Facts) -> str:
    processes, active = facts.processes or 0.0, facts.active or 0
    share = "All" if active >= processes else f"{active:,} of"
    workers = count_words(len(facts.live), "live worker")
    return f"{share} {processes:,.0f} processes of {workers} are busy with {names(task.name for task in facts.running)}"


def _what_waits(longest: float, messages: int) -> str:
    told = [f"a task has waited {time_words(longest)}"] if longest else []
    told += [f"{count_words(messages, 'message')} {'is' if messages == 1 else 'are'} in the queues"] if messages else []
    return " and ".join(told)


def is_full(facts: Facts) -> bool:
    """Whether nearly all processes of the live workers run tasks."""
    processes, active = facts.processes, facts.active
    # A worker that says it runs more than it has processes counts tasks that have ended; see `ended_unheard`.
    return processes is not None and active is not None and BUSY_RATIO * processes <= active <= processes > 0


def held_back(facts: Facts) -> Iterator[Finding]:
    """Tasks that a worker holds and does not begin, although a process is free."""
    for worker in facts.live:
        tasks = held_tasks(facts, worker)
        if not tasks:
            continue
        longest = facts.age(tasks[0].since)
        yield Finding(
            Level.WRONG if longest > WAIT_SECONDS else Level.UNSURE,
            "held-back",
            f"Worker {name_words(worker.name)} runs {worker.active:,} of {_processes(worker):,.0f} and has held"
            f" {count_words(len(tasks), 'task')} of {names(task.name for task in tasks)} back since"
            f" {when(facts, tasks[0].since or facts.now)}",
            "likely a rate_limit of the type: the worker waits before it begins the next one",
            "see rate_limit in the task or task_annotations; `celery -A APP control rate_limit"
            f" {name_words(tasks[0].name)} 0` lifts it until the worker restarts",
            tasks[0].name,
            facts.link(tasks[0]),
            explains=types(tasks),
        )


def held_tasks(facts: Facts, worker: Worker) -> list[Task]:
    """The tasks that a worker holds although it could begin them, the oldest first."""
    processes = worker.answer.processes if worker.answer else None
    if processes is None or worker.active is None or worker.active >= processes:
        return []
    return [
        task
        for task in facts.waiting
        if task.state == "RECEIVED" and task.worker == worker.name and facts.age(task.since) > HELD_AFTER
    ]


def idle(facts: Facts) -> Iterator[Finding]:
    """Messages wait in queues that live workers consume, and nothing runs."""
    messages = sum(queue.ready for queue in facts.waiting_queues if facts.consumers(queue.name))
    newest = max((kind.last_success or 0.0 for kind in facts.types.values()), default=0.0)
    is_idle = facts.processes is not None and facts.active == 0 and facts.age(newest) > IDLE_AFTER
    if not messages or not is_idle or any(held_tasks(facts, worker) for worker in facts.live):
        return
    yield Finding(
        Level.UNSURE,
        "workers-idle",
        f"{count_words(messages, 'message')} {'is' if messages == 1 else 'are'} in queues that"
        f" {count_words(len(facts.live), 'live worker')} consume, and nothing runs",
        "they may have come just now; or the workers have lost the broker and fetch nothing, or hold their fill of"
        " tasks with a later ETA",
        "ask again in a minute; if they are still there, read a worker's log and restart it",
    )


def _processes(worker: Worker) -> float:
    return (worker.answer.processes if worker.answer else None) or 0.0
