"""The same tasks again and again."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts, TaskType
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import when
from push_job.terminal.formatting import count_words, name_words

#: So many rejections or retries in all, and for each task that is known, are a loop.
MOST_EVENTS = 5
MOST_PER_TASK = 3
MOST_RETRIES = 5

#: Celery's own task that waits for the parts of a chord by being retried.
POLLS = "celery.chord_unlock"


def repeated(facts: Facts) -> Iterator[Finding]:
    """Types whose tasks are rejected or retried over and over."""
    for name, kind in sorted(facts.types.items()):
        known = sum(kind.counts.values())
        if name == POLLS or _has_forgotten(facts, kind):
            continue
        rejected, retried = (facts.events.get((name, f"task-{event}"), 0) for event in ("rejected", "retried"))
        if rejected >= max(MOST_EVENTS, MOST_PER_TASK * known):
            yield _rejected(facts, kind, rejected, known)
        elif retried >= MOST_EVENTS and retried >= MOST_RETRIES * known and not kind.last_success:
            yield _retried(facts, kind, retried, known)


def _has_forgotten(facts: Facts, kind: TaskType) -> bool:
    """Whether Flower has forgotten tasks of a type, whose events it still counts."""
    ends = {"task-succeeded": "SUCCESS", "task-failed": "FAILURE", "task-revoked": "REVOKED"}
    ended = sum(facts.events.get((kind.name, event), 0) for event in ends)
    return ended > sum(kind.counts.get(state, 0) for state in ends.values())


def _rejected(facts: Facts, kind: TaskType, rejected: int, known: int) -> Finding:
    return Finding(
        Level.WRONG,
        "repeats",
        f"{name_words(kind.name)}: {rejected:,} rejections of {count_words(known, 'task')}; {_success(facts, kind)}",
        "likely the task kills its process (out of memory?) and reject_on_worker_lost has it delivered again and again,"
        " or it raises Reject(requeue=True)",
        "revoke it by its id, then fix it; without reject_on_worker_lost it fails with WorkerLostError instead",
        kind.name,
        _link(facts, kind),
        explains=frozenset({kind.name}),
    )


def _retried(facts: Facts, kind: TaskType, retried: int, known: int) -> Finding:
    return Finding(
        Level.WRONG,
        "repeats",
        f"{name_words(kind.name)}: {retried:,} retries of {count_words(known, 'task')}; {_success(facts, kind)}",
        "likely what it calls is down for good, and max_retries is None or very high",
        "read the exception on the task's page; set max_retries, so that it fails and shows",
        kind.name,
        _link(facts, kind),
        explains=frozenset({kind.name}),
    )


def _success(facts: Facts, kind: TaskType) -> str:
    return (
        "none has succeeded"
        if kind.last_success is None
        else f"the last success was at {when(facts, kind.last_success)}"
    )


def _link(facts: Facts, kind: TaskType) -> str | None:
    tasks = (task for group in facts.unfinished.values() for task in group.tasks or () if task.name == kind.name)
    return facts.link(next(tasks, None) or facts.failed.get(kind.name))
