"""Phrases that several rules share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from push_job.explain.facts import Facts
from push_job.explain.model import Task
from push_job.terminal.formatting import format_duration, format_name, format_time

#: Names listed in a sentence. Further ones are only counted.
_MAX_NAMES = 3


def when(facts: Facts, time: float) -> str:
    """Return a time in UTC with its age: ``12:03 UTC (4 minutes ago)``."""
    return f"{format_time(time, facts.now)} ({format_duration(facts.age(time))} ago)"


def names(texts: Iterable[str]) -> str:
    """Return names as a list: ``a, b, c and 4 more``."""
    shown = sorted({format_name(text) for text in texts})
    more = f" and {len(shown) - _MAX_NAMES} more" if len(shown) > _MAX_NAMES else ""
    return ", ".join(shown[:_MAX_NAMES]) + more


def held(tasks: Sequence[Task]) -> str:
    """Return the tasks that a worker held: ``1 STARTED and 2 RECEIVED tasks``."""
    started = sum(task.has_started for task in tasks)
    parts = [
        f"{number} {what}" for number, what in ((started, "STARTED"), (len(tasks) - started, "RECEIVED")) if number
    ]
    return f"{' and '.join(parts)} {'task' if len(tasks) == 1 else 'tasks'}" if parts else "no task"


def types(tasks: Iterable[Task]) -> frozenset[str]:
    """Return the types of `tasks`."""
    return frozenset(task.name for task in tasks)


def to_look_at(tasks: Sequence[Task], now: float) -> Task | None:
    """Return the oldest started task, or the oldest of all."""
    return oldest([task for task in tasks if task.has_started] or tasks, now)


def oldest(tasks: Iterable[Task], now: float) -> Task | None:
    """Return the task that has been in its state for the longest time."""
    return min(tasks, key=lambda task: (task.since or now, task.id), default=None)
