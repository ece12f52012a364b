"""Tasks that run for longer than they should."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts, Task, is_a_type
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import when
from push_job.terminal.formatting import name_words, time_words

#: CeleryTaskStuck: seconds that a task may run, where none of its type has succeeded.
STUCK_SECONDS = 3600

#: A task is stuck after so many times the longest success of its type, but not before five minutes.
STUCK_FACTOR = 3
STUCK_NOT_BEFORE = 300


def stuck(facts: Facts) -> Iterator[Finding]:
    """The oldest task of each type that runs far longer than any success did."""
    seen: set[str] = set()
    for task in facts.running:
        age, longest = _age(facts, task), _longest(facts, task.name)
        surely = STUCK_SECONDS if longest is None else max(STUCK_NOT_BEFORE, STUCK_FACTOR * longest)
        # What takes long when all is well makes the alert fire too.
        if task.name in seen or age <= min(surely, STUCK_SECONDS):
            continue
        seen.add(task.name)
        yield _finding(facts, task, longest, is_stuck=age > surely)


def _age(facts: Facts, task: Task) -> float:
    """Seconds since the task started, or since its last event in a custom state."""
    return facts.age(task.started or task.since if task.state == "STARTED" else task.since)


def _longest(facts: Facts, name: str) -> float | None:
    kind = facts.types.get(name)
    return kind.longest if kind and is_a_type(name) else None


def _finding(facts: Facts, task: Task, longest: float | None, *, is_stuck: bool) -> Finding:
    where = f" on {name_words(task.worker)}" if task.worker else ""
    usual = "none of its type has succeeded" if longest is None else f"the longest success took {time_words(longest)}"
    return Finding(
        Level.WRONG if is_stuck else Level.UNSURE,
        "stuck",
        f"A task {name_words(task.name)} has been {task.state} since {when(facts, facts.now - _age(facts, task))}"
        f"{where}; {usual}",
        "likely it waits for something that does not come: a lock, a connection without a timeout"
        if is_stuck
        else f"it may be slow or stuck: it has not taken {STUCK_FACTOR} times the longest success yet",
        "look at what it does (py-spy dump of its process); a time_limit ends such tasks"
        if is_stuck
        else "look at what it does; if its type may take so long, raise the limit of CeleryTaskStuck",
        task.name,
        facts.link(task),
        explains=frozenset({task.name}) if is_stuck else frozenset(),
    )
