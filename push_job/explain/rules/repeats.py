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
            what, likely, do = (
                f"{rejected:,} rejections",
                "likely the task kills its process (out of memory?) and reject_on_worker_lost makes the broker deliver"
                " it again each time, or it raises Reject(requeue=True)",
                "revoke it by its id, then fix it; without reject_on_worker_lost it fails with WorkerLostError instead",
            )
        elif retried >= max(LOOP_EVENTS, LOOP_RETRIES_PER_TASK * known) and not kind.last_success:
            what, likely, do = (
                f"{retried:,} retries",
                "likely a service that it calls is down, and max_retries is None or very high",
                "read the exception on the task's page; set max_retries, so that the task fails visibly",
            )
        else:
            continue
        last = kind.last_success
        success = "no task has succeeded" if last is None else f"the last success was at {when(facts, last)}"
        tasks = (task for task in facts.unfinished if task.name == name)
        yield Finding(
            Level.WRONG,
            "repeats",
            f"{format_name(name)}: {what} of {format_count(known, 'task')}; {success}",
            likely,
            do,
            name,
            facts.link(next(tasks, None) or facts.failed.get(name)),
            explains=frozenset({name}),
        )


def _has_forgotten(facts: Facts, kind: TaskType) -> bool:
    """Return whether Flower has forgotten tasks of a type.

    It still counts their events, so ratios are wrong.
    """
    ends = {"task-succeeded": "SUCCESS", "task-failed": "FAILURE", "task-revoked": "REVOKED"}
    ended = sum(facts.events.get((kind.name, event), 0) for event in ends)
    return ended > sum(kind.counts.get(state, 0) for state in ends.values())
