"""Types that come regularly and have stopped."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts, TaskType
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import when
from push_job.terminal.formatting import name_words, time_words

#: CeleryPeriodicTaskOverdue: how many of its own intervals a type's last success may lie back; and the shortest
#: interval in seconds that is certainly a schedule's: a minute, as imprecise clocks show it.
OVERDUE_INTERVALS = 3
SHORTEST_INTERVAL = 50


def overdue(facts: Facts) -> Iterator[Finding]:
    """Types that come regularly and have not succeeded for three of their intervals."""
    if not facts.live:
        return  # reported as such
    # As of the time before the tasks were read: what came meanwhile may not have been seen.
    late = [kind for kind in facts.types.values() if _lateness(facts, kind) > 0]
    for kind in sorted(late, key=lambda kind: (-_lateness(facts, kind), kind.name)):
        yield _finding(facts, kind, others_come=_others_come(facts, kind))


def _lateness(facts: Facts, kind: TaskType) -> float:
    """Seconds for which a type has been overdue; negative or 0 if it is not."""
    if kind.interval is None or kind.last_success is None:
        return 0.0
    return facts.scanned - kind.last_success - OVERDUE_INTERVALS * kind.interval


def _others_come(facts: Facts, late: TaskType) -> bool:
    """Whether another regular type has come since this one became overdue."""
    became_late = facts.scanned - _lateness(facts, late)
    others = (kind for kind in facts.types.values() if kind.interval is not None and _lateness(facts, kind) <= 0)
    return any(kind.name != late.name and (kind.last_success or 0.0) > became_late for kind in others)


def _finding(facts: Facts, kind: TaskType, *, others_come: bool) -> Finding:
    by_schedule = (kind.interval or 0.0) >= SHORTEST_INTERVAL
    still_comes = (
        kind.last_came is not None and kind.last_came > (kind.last_success or 0.0) and kind.last_came <= facts.now
    )
    if still_comes:
        likely, do = (
            "it is still sent and does not succeed: likely it waits, takes longer than before, is revoked or expires",
            "look at the newest of that type in Flower",
        )
    elif others_come:
        likely, do = (
            "other periodic tasks still come: likely it was taken out of the schedule",
            "compare its name with beat's schedule (beat_schedule, or the database)",
        )
    else:
        likely, do = (
            "nothing that came regularly has come since: likely Celery beat has stopped",
            "see whether `celery beat` runs, and its log",
        )
    if not by_schedule:
        likely += "; or it was no schedule, but a batch that is done"
    return Finding(
        Level.WRONG if by_schedule else Level.UNSURE,
        "overdue",
        f"{name_words(kind.name)} usually comes every {time_words(kind.interval or 0.0)}, but last succeeded at"
        f" {when(facts, kind.last_success or 0.0)}",
        likely,
        do,
        kind.name,
    )
