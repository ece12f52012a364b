"""Rule: tasks that run for longer than usual."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts, is_a_type
from push_job.explain.findings import Finding, Level
from push_job.explain.model import Task
from push_job.explain.phrases import when
from push_job.terminal.formatting import format_duration, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "stuck": (
        "a running task has taken more than five minutes and three times as long as the longest success of its type "
        "(more than an hour if no task of the type has succeeded); `?` if it has taken more than an hour, but less "
        "than three times the longest success"
    ),
}

#: Seconds that a task may run if no task of its type has succeeded; the limit of CeleryTaskStuck.
STUCK_SECONDS = 3600

#: A task is stuck after this multiple of the longest success of its type, but not before this number of seconds.
STUCK_FACTOR = 3
STUCK_NOT_BEFORE = 300


def stuck(facts: Facts) -> Iterator[Finding]:
    """Report, for each type, the oldest running task if it takes far too long.

    It has run for far longer than any success of the type.
    """
    seen: set[str] = set()
    for task in facts.running:
        age, longest = _age(facts, task), _longest(facts, task.name)
        surely = STUCK_SECONDS if longest is None else max(STUCK_NOT_BEFORE, STUCK_FACTOR * longest)
        # From STUCK_SECONDS on, report it as unsure, although CeleryTaskStuck waits for STUCK_FACTOR times the longest.
        if task.name in seen or age <= min(surely, STUCK_SECONDS):
            continue
        seen.add(task.name)
        yield _finding(facts, task, longest, is_stuck=age > surely)


def _age(facts: Facts, task: Task) -> float:
    """Return the number of seconds since the task started.

    In a custom state, it is the number of seconds since its last event.
    """
    return facts.age(task.started or task.since if task.state == "STARTED" else task.since)


def _longest(facts: Facts, name: str) -> float | None:
    kind = facts.types.get(name)
    return kind.longest if kind and is_a_type(name) else None


def _finding(facts: Facts, task: Task, longest: float | None, *, is_stuck: bool) -> Finding:
    where = f" on {format_name(task.worker)}" if task.worker else ""
    usual = (
        "no task of this type has succeeded"
        if longest is None
        else f"the longest success took {format_duration(longest)}"
    )
    return Finding(
        Level.WRONG if is_stuck else Level.UNSURE,
        "stuck",
        f"A task {format_name(task.name)} has been {task.state} since {when(facts, facts.now - _age(facts, task))}"
        f"{where}; {usual}",
        "likely it waits without a timeout, e.g. for a lock or a network connection"
        if is_stuck
        else f"it may be slow or stuck: it has not yet taken {STUCK_FACTOR} times as long as the longest success",
        "run py-spy dump on its process to see what it does; set a time_limit to end such tasks"
        if is_stuck
        else "run py-spy dump on its process; if the type may take that long, nothing needs to be done",
        task.name,
        facts.link(task),
        explains=frozenset({task.name}) if is_stuck else frozenset(),
    )
