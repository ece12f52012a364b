"""``--with last-run``: when each task type last succeeded and failed, and how often one that comes regularly comes."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter, sub

from prometheus_client.metrics_core import Metric

from push_job.flower.task import UNKNOWN_TYPE, came_at, ended_at
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.families import Gauge

LAST_SUCCESS = Gauge(
    "celery_task_last_success_timestamp_seconds",
    "Unix time of the newest success that Flower or the job remembers.",
    ("name",),
)
LAST_FAILURE = Gauge(
    "celery_task_last_failure_timestamp_seconds",
    "Unix time of the newest failure that Flower or the job remembers.",
    ("name",),
)
INTERVAL = Gauge(
    "celery_task_interval_seconds",
    "The usual time between two tasks of a type, where they come regularly; none for other types.",
    ("name",),
)

#: A type comes regularly if Flower remembers this many of it or more, and nine of ten times between two are within
#: a fifth of their median. Of types that come by chance, one in three thousand looks so with six tasks, and next to
#: none with more.
FEWEST_RUNS = 6
_REGULAR_SHARE = 0.9

#: Of a type with more tasks, so many of the newest ones tell.
MOST_RUNS = 100
_TOLERANCE = 0.2

#: Of how many task types the last times are kept when Flower has forgotten them.
_MOST_KEPT = 1000

#: Seconds by which a worker's clock may be fast.
_CLOCK_SLACK = 300.0


def _read(context: ExtraContext) -> list[Metric]:
    success, failure, interval = LAST_SUCCESS.empty(), LAST_FAILURE.empty(), INTERVAL.empty()
    for family, state in ((success, "SUCCESS"), (failure, "FAILURE")):
        newest: dict[str, float] = {}
        for name, ended in _with_forgotten(context, state).items():
            label = context.label(name)
            newest[label] = max(ended, newest.get(label, ended))
        for name, ended in sorted(newest.items()):
            family.add_metric([name], ended)
    # Types that are counted together, or have no name, have no rhythm of their own.
    for name in sorted(name for name in context.tasks.types if context.label(name) == name != UNKNOWN_TYPE):
        regular = usual_interval(context.tasks.values_of(came_at, name))
        if regular is not None:
            interval.add_metric([name], regular)
    return [success, failure, interval]


def _with_forgotten(context: ExtraContext, state: str) -> dict[str, float]:
    """When each task type ended last in this state, those too that only earlier turns have seen."""
    newest = context.tasks.newest(ended_at, state)
    for name, ended in context.kept.get(state, {}).items():
        newest[name] = max(ended, newest.get(name, ended))
    # What a wrong clock puts into the future is told as long as Flower does, but not kept for ever.
    past = {name: ended for name, ended in newest.items() if ended <= context.now + _CLOCK_SLACK}
    context.kept[state] = dict(sorted(past.items(), key=itemgetter(1))[-_MOST_KEPT:])
    return newest


def usual_interval(moments: Iterable[float]) -> float | None:
    """The median of the seconds between moments, or None where they are not regular."""
    newest = sorted(moments)[-MOST_RUNS:]
    if len(newest) < FEWEST_RUNS:
        return None
    gaps = sorted(map(sub, newest[1:], newest))
    usual = (gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) / 2
    alike = sum(abs(gap - usual) <= _TOLERANCE * usual for gap in gaps)
    return usual if usual > 0 and alike >= _REGULAR_SHARE * len(gaps) else None


EXTRA = Extra("last-run", (LAST_SUCCESS, LAST_FAILURE, INTERVAL), _read, columns=(came_at, ended_at))
