"""Rule: tasks that Flower shows as started although no worker runs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import FINAL_STATES, Task
from push_job.explain.phrases import names, types, when
from push_job.terminal.formatting import format_count, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "worker-restarted": (
        "a worker was killed and restarted under the same name, and tasks of its previous process are still STARTED"
    ),
    "results-lost": (
        "at least three tasks are STARTED although their worker does not run them, and no task has succeeded since"
    ),
    "ended-unheard": "`?`: tasks are STARTED although their worker does not run them, while other tasks succeed",
}

#: Number of tasks without an event of their end, and without a later success of any task, from which the result backend
#: is suspected. Fewer may be tasks that raise Ignore.
BACKEND_SUSPECTED_FROM = 3

#: Seconds after its start until which such a task counts as recent.
RECENTLY = 3600


def ended_unheard(facts: Facts) -> Iterator[Finding]:
    """Report tasks that have ended although Flower received no event of their end."""
    yield from _of_killed_processes(facts)
    tasks = [task for task in facts.ended_unheard if not _was_killed(facts, task)]
    if not tasks:
        return
    first = min(task.started or task.since or facts.now for task in tasks)
    states = " or ".join(sorted({task.state for task in tasks}))
    are, them = ("is", "it") if len(tasks) == 1 else ("are", "them")
    fact = (
        f"{format_count(len(tasks), 'task')} of {names(task.name for task in tasks)} {are} {states} in Flower, the"
        f" oldest since {when(facts, first)}, but {names(task.worker for task in tasks)} no longer"
        f" {'runs' if len({task.worker for task in tasks}) == 1 else 'run'} {them}"
    )
    if _nothing_succeeds(facts, tasks):
        yield Finding(
            Level.WRONG,
            "results-lost",
            f"{fact}; no task has succeeded since",
            "likely the result backend is down: Celery then sends no event when a task ends (tasks that raise Ignore"
            " have the same effect)",
            "check that the result backend (result_backend) runs and has free space; read its errors in the worker's"
            " log",
            link=facts.link(tasks[0]),
            explains=types(tasks),
        )
        return
    yield Finding(
        Level.UNSURE,
        "ended-unheard",
        fact,
        "they have ended, but Flower received no event of it: the task raises Ignore, Flower was down or disconnected"
        " at that time, or the result backend was down",
        "search the worker's log for their ids; restart Flower to remove them from its list",
        link=facts.link(tasks[0]),
        explains=types(tasks),
        unknown="the results of some tasks",
    )


def _of_killed_processes(facts: Facts) -> Iterator[Finding]:
    """Report tasks of workers that were killed and restarted under the same name."""
    for worker in facts.live:
        tasks = [task for task in facts.ended_unheard if task.worker == worker.name and _was_killed(facts, task)]
        if tasks:
            yield Finding(
                Level.WRONG,
                "worker-restarted",
                f"Worker {format_name(worker.name)} restarted at"
                f" {when(facts, facts.now - (worker.answer.uptime or 0.0))}, and"
                f" {format_count(len(tasks), 'task')} of {names(task.name for task in tasks)} of its previous process"
                f" {'is' if len(tasks) == 1 else 'are'} still STARTED",
                "likely the previous process was killed (out of memory?). Its running tasks are lost, unless acks_late"
                " makes the broker deliver them again",
                "check why it was killed: the pod's last state (OOMKilled?) and the log of the previous container",
                worker.name,
                facts.link(tasks[0]),
                explains=types(tasks),
            )


def _was_killed(facts: Facts, task: Task) -> bool:
    """Return whether a previous process of the worker started the task and was killed."""
    worker = facts.workers[task.worker]
    uptime = worker.answer.uptime
    online, offline = (worker.events.get(f"worker-{event}", 0) for event in ("online", "offline"))
    # Flower may have missed the start of the previous process. But if the task started after Flower did, Flower would
    # have received the worker-offline event of a clean shutdown.
    is_after_flower = (task.started or 0.0) > (facts.started_at or facts.now)
    was_killed = online - offline > 1 or (is_after_flower and online > offline == 0)
    return was_killed and uptime is not None and facts.age(task.started) > uptime + 1


def _nothing_succeeds(facts: Facts, tasks: Sequence[Task]) -> bool:
    """Return whether no task of any type has succeeded since some of `tasks` started.

    At least BACKEND_SUSPECTED_FROM of `tasks` must have started after the last success, the newest of them recently.
    """
    newest = max(task.started or task.since or 0.0 for task in tasks)
    succeeded = max((kind.last_success or 0.0 for kind in facts.types.values()), default=0.0)
    since_success = sum((task.started or task.since or 0.0) > succeeded for task in tasks)
    is_recent = newest > succeeded and facts.age(newest) <= RECENTLY
    return is_recent and since_success >= BACKEND_SUSPECTED_FROM and not _only_these_types(facts, tasks)


def _only_these_types(facts: Facts, tasks: Sequence[Task]) -> bool:
    """Return whether other types have ended tasks but the types of `tasks` have none.

    This means that the types of `tasks` raise Ignore.
    """
    ended = {name for name, kind in facts.types.items() if any(kind.counts.get(state) for state in FINAL_STATES)}
    return bool(ended) and not ended & types(tasks)
