"""``--with totals``: counters of the tasks that ended.

They continue when the job, Flower or the Pushgateway restarts.
"""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate, zip_longest

from prometheus_client.metrics_core import Metric

from push_job.flower.api import FlowerError
from push_job.flower.page import OTHER_TYPES
from push_job.flower.totals import TypeTotals
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.families import Counter, Histogram

TASKS = Counter(
    "celery_tasks_total",
    "Tasks that ended, by the state in which they ended, since the job began to count.",
    ("name", "state"),
)
RETRIES = Counter("celery_task_retries_total", "Retries of tasks since the job began to count.", ("name",))
FAILURES = Counter(
    "celery_task_failures_total",
    "Tasks that failed, by the class of their exception, since the job began to count.",
    ("name", "exception"),
)
RUNTIME = Histogram(
    "celery_task_success_runtime_seconds",
    "Runtime of successful tasks since the job began to count. A counter: use rate.",
    ("name",),
)
MISSED = Counter(
    "flower_scrape_missed_events_total",
    "Ends of tasks that Flower counted and the totals do not have, because it forgot the tasks between two scrapes.",
    ("name",),
)
UNWATCHED = Counter(
    "flower_scrape_unwatched_seconds_total",
    "Seconds in which no Flower received events; nobody can count what ended then.",
)

#: A new series is pushed with 0 for this number of seconds, so that Prometheus sees its first increase.
HOLD = 60.0


def _read(context: ExtraContext) -> list[Metric]:
    totals, now = context.totals, time.time()
    if totals is None:
        raise FlowerError("an earlier scrape still uses its state")
    tasks, retries, failures, missed = (Counts[tuple[str, ...]]() for _ in range(4))
    buckets: dict[str, list[int]] = {}
    seconds: dict[str, float] = defaultdict(float)
    for place, (name, of_type) in enumerate(totals.types.items(), 1):
        # A counter keeps its label. So the types that came first keep their names, not the most frequent ones.
        label = name if place < context.type_limit else OTHER_TYPES
        shown = TypeTotals(0.0) if _is_new(of_type.since, now) else of_type
        for state, count in shown.ends.items():
            tasks[label, state] += count
        for exception, of_class in of_type.failures.items():
            failures[label, exception] += 0 if _is_new(of_class.since, now) else of_class.count
        retries[label,] += shown.retries
        missed[label,] += shown.missed
        former = buckets.get(label, [0] * (len(totals.bounds) + 1))
        buckets[label] = [one + other for one, other in zip_longest(former, shown.buckets, fillvalue=0)]
        seconds[label] += shown.runtime
    return [
        *map(_filled, (TASKS, RETRIES, FAILURES), (tasks, retries, failures)),
        _runtimes(totals.bounds, buckets, seconds),
        _filled(MISSED, missed),
        UNWATCHED.of(totals.unwatched),
    ]


def _is_new(since: float, now: float) -> bool:
    """Return whether a series is so new that it has to be 0."""
    return since <= now < since + HOLD


def _filled(family: Counter, counts: Mapping[tuple[str, ...], int]) -> Metric:
    filled = family.empty()
    for labels, count in sorted(counts.items()):
        filled.add_metric(labels, count)
    return filled


def _runtimes(bounds: Iterable[float], buckets: Mapping[str, list[int]], seconds: Mapping[str, float]) -> Metric:
    filled = RUNTIME.empty()
    names = [*map(repr, bounds), "+Inf"]
    for label, counts in sorted(buckets.items()):
        filled.add_metric([label], list(zip(names, accumulate(counts), strict=True)), seconds[label])
    return filled


EXTRA = Extra("totals", (TASKS, RETRIES, FAILURES, RUNTIME, MISSED, UNWATCHED), _read, needs_state=True)
