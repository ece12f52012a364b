"""Rule: periodic task types that no longer succeed."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import TaskType
from push_job.explain.phrases import when
from push_job.terminal.formatting import format_duration, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "overdue": (
        "a type that runs regularly ([extras.md](extras.md)) last succeeded more than three of its intervals ago; "
        "`?` if the interval is below 50 s, which may also be a batch"
    ),
}

#: Intervals of a type since its last success from which it is overdue; the limit of CeleryPeriodicTaskOverdue.
OVERDUE_INTERVALS = 3

#: Shortest interval in seconds that is certainly from a schedule: one minute, minus the inaccuracy of clocks.
SHORTEST_INTERVAL = 50

#: A type is still sent if it came this number of intervals after its last success, or later. When a type is overdue
#: that is still sent, it came two intervals after that or later. If beat has stopped, one task may have come before it.
_STILL_SENT_INTERVALS = 1.5


def overdue(facts: Facts) -> Iterator[Finding]:
    """Report types that run regularly but had no success for three intervals."""
    if not facts.live:
        return  # the rules on workers report this
    late = [kind for kind in facts.types.values() if _lateness(facts, kind) > 0]
    for kind in sorted(late, key=lambda kind: (-_lateness(facts, kind), kind.name)):
        yield _finding(facts, kind, others_run=_others_run(facts, kind))


def _lateness(facts: Facts, kind: TaskType) -> float:
    """Return the number of seconds for which a type has been overdue.

    The number is negative or 0 if the type is not overdue. The reference is the start of the scrape, because later
    tasks may have been missed.
    """
    if kind.interval is None or kind.last_success is None:
        return 0.0
    return facts.scanned - kind.last_success - OVERDUE_INTERVALS * kind.interval


def _others_run(facts: Facts, late: TaskType) -> bool:
    """Return whether another periodic type has succeeded since `late` became overdue."""
    became_late = facts.scanned - _lateness(facts, late)
    others = (kind for kind in facts.types.values() if kind.interval is not None and _lateness(facts, kind) <= 0)
    return any(kind.name != late.name and (kind.last_success or 0.0) > became_late for kind in others)


def _is_still_sent(facts: Facts, kind: TaskType) -> bool:
    """Return whether an overdue type is still sent."""
    if kind.last_came is None or kind.last_came > facts.now:
        return False
    return kind.last_came - (kind.last_success or 0.0) > _STILL_SENT_INTERVALS * (kind.interval or 0.0)


def _finding(facts: Facts, kind: TaskType, *, others_run: bool) -> Finding:
    by_schedule = (kind.interval or 0.0) >= SHORTEST_INTERVAL
    if _is_still_sent(facts, kind):
        likely, do = (
            "it is still sent but does not succeed: likely it waits, takes longer than before, is revoked or expires",
            "look at the newest task of this type in Flower",
        )
    elif others_run:
        likely, do = (
            "other periodic tasks still run: likely this one was removed from the schedule",
            "look for its name in beat's schedule (beat_schedule, or the database)",
        )
    else:
        likely, do = (
            "no periodic task has run since then: likely Celery beat has stopped",
            "check that `celery beat` runs, and read its log",
        )
    if not by_schedule:
        likely += "; or it was not a schedule but a batch, which has finished"
    return Finding(
        Level.WRONG if by_schedule else Level.UNSURE,
        "overdue",
        f"{format_name(kind.name)} usually runs every {format_duration(kind.interval or 0.0)}, but last succeeded at"
        f" {when(facts, kind.last_success or 0.0)}",
        likely,
        do,
        kind.name,
    )
