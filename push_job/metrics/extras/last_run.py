"""``--with last-run``: times of the last success and failure of each type.

Periodic types also have their interval.
"""

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

#: A type runs regularly if Flower remembers at least FEWEST_RUNS of its tasks, and _REGULAR_SHARE of the times between
#: two tasks differ from their median by at most the ratio _TOLERANCE. With six tasks, one in three thousand types with
#: random times looks regular; with more tasks, almost none.
FEWEST_RUNS = 6
_REGULAR_SHARE = 0.9
_TOLERANCE = 0.2

#: Shortest interval in seconds. Tasks that come faster are not from a schedule but from a program that sends many. One
#: second is what a schedule can have; a tenth of it is the inaccuracy of clocks.
_SHORTEST_INTERVAL = 0.9

#: Number of tasks of a type, the newest, that are used.
MOST_RUNS = 100

#: Number of task types whose last times are kept after Flower has forgotten the tasks.
_MAX_KEPT = 1000

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
    # A label for several types, or for unknown ones, has no interval.
    for name in sorted(name for name in context.tasks.types if context.label(name) == name != UNKNOWN_TYPE):
        regular = usual_interval(context.tasks.values_of(came_at, name))
        if regular is not None:
            interval.add_metric([name], regular)
    return [success, failure, interval]


def _with_forgotten(context: ExtraContext, state: str) -> dict[str, float]:
    """Return the time of the last end of each task type in a state.

    Ends that only earlier cycles have seen are included.
    """
    newest = context.tasks.newest(ended_at, state)
    for name, ended in context.kept.get(state, {}).items():
        newest[name] = max(ended, newest.get(name, ended))
    # A time in the future comes from a wrong clock. It is pushed while Flower shows it, but not kept.
    past = {name: ended for name, ended in newest.items() if ended <= context.now + _CLOCK_SLACK}
    context.kept[state] = dict(sorted(past.items(), key=itemgetter(1))[-_MAX_KEPT:])
    return newest


def usual_interval(times: Iterable[float]) -> float | None:
    """Return the median of the seconds between two times, or None.

    None means that the times are too few or not regular.
    """
    newest = sorted(times)[-MOST_RUNS:]
    if len(newest) < FEWEST_RUNS:
        return None
    gaps = sorted(map(sub, newest[1:], newest))
    usual = (gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) / 2
    alike = sum(abs(gap - usual) <= _TOLERANCE * usual for gap in gaps)
    return usual if usual >= _SHORTEST_INTERVAL and alike >= _REGULAR_SHARE * len(gaps) else None


EXTRA = Extra("last-run", (LAST_SUCCESS, LAST_FAILURE, INTERVAL), _read, columns=(came_at, ended_at))
