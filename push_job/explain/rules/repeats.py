"""Rule: tasks that are rejected or retried in a loop."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import TaskType
from push_job.explain.phrases import when
from push_job.terminal.formatting import format_count, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "repeats": (
        "a type has at least five rejections and three per task, or at least five retries and five per task with no "
        "success"
    ),
}

#: Rejections or retries of a type from which they count as a loop: in total, and per task that Flower remembers.
LOOP_EVENTS = 5
LOOP_REJECTIONS_PER_TASK = 3
LOOP_RETRIES_PER_TASK = 5

#: Celery's own task that is retried until all parts of a chord have ended.
CHORD_UNLOCK = "celery.chord_unlock"


def repeated(facts: Facts) -> Iterator[Finding]:
    """Report types whose tasks are rejected or retried in a loop."""
    for name, kind in sorted(facts.types.items()):
        known = sum(kind.counts.values())
        if name == CHORD_UNLOCK or _has_forgotten(facts, kind):
            continue
        rejected, retried = (facts.events.get((name, f"task-{event}"), 0) for event in ("rejected", "retried"))
        if rejected >= max(LOOP_EVENTS, LOOP_REJECTIONS_PER_TASK * known):
            yield _rejected(facts, kind, rejected, known)
        elif retried >= max(LOOP_EVENTS, LOOP_RETRIES_PER_TASK * known) and not kind.last_success:
            yield _retried(facts, kind, retried, known)


def _has_forgotten(facts: Facts, kind: TaskType) -> bool:
    """Return whether Flower has forgotten tasks of a type.

    It still counts their events, so ratios are wrong.
    """
    ends = {"task-succeeded": "SUCCESS", "task-failed": "FAILURE", "task-revoked": "REVOKED"}
    ended = sum(facts.events.get((kind.name, event), 0) for event in ends)
    return ended > sum(kind.counts.get(state, 0) for state in ends.values())


def _rejected(facts: Facts, kind: TaskType, rejected: int, known: int) -> Finding:
    return Finding(
        Level.WRONG,
        "repeats",
        f"{format_name(kind.name)}: {rejected:,} rejections of {format_count(known, 'task')}; {_success(facts, kind)}",
        "likely the task kills its process (out of memory?) and reject_on_worker_lost makes the broker deliver it"
        " again each time, or it raises Reject(requeue=True)",
        "revoke it by its id, then fix it; without reject_on_worker_lost it fails with WorkerLostError instead",
        kind.name,
        _link(facts, kind),
        explains=frozenset({kind.name}),
    )


def _retried(facts: Facts, kind: TaskType, retried: int, known: int) -> Finding:
    return Finding(
        Level.WRONG,
        "repeats",
        f"{format_name(kind.name)}: {retried:,} retries of {format_count(known, 'task')}; {_success(facts, kind)}",
        "likely a service that it calls is down, and max_retries is None or very high",
        "read the exception on the task's page; set max_retries, so that the task fails visibly",
        kind.name,
        _link(facts, kind),
        explains=frozenset({kind.name}),
    )


def _success(facts: Facts, kind: TaskType) -> str:
    return (
        "no task has succeeded"
        if kind.last_success is None
        else f"the last success was at {when(facts, kind.last_success)}"
    )


def _link(facts: Facts, kind: TaskType) -> str | None:
    tasks = (task for group in facts.unfinished.values() for task in group.tasks or () if task.name == kind.name)
    return facts.link(next(tasks, None) or facts.failed.get(kind.name))
