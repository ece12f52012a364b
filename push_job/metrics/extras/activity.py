"""``--with activity``: data of each worker's last heartbeat.

The data come from Flower's list of workers, except the number of prefetched tasks, which is in Flower's own metrics.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from push_job.metrics.extras.forgotten_workers import is_forgotten
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.extras.numbers import finite_number, finite_numbers, float_or_nan
from push_job.metrics.families import Gauge

ACTIVE = Gauge("celery_worker_active_tasks", "Tasks that the worker was executing at its last heartbeat.", ("worker",))
PROCESSED = Gauge("celery_worker_processed_tasks", "Tasks that the worker has processed since it started.", ("worker",))
HEARTBEAT_AGE = Gauge(
    "celery_worker_last_heartbeat_age_seconds",
    "Seconds since the last event of the worker that Flower received.",
    ("worker",),
)
PREFETCHED = Gauge(
    "celery_worker_prefetched_tasks", "Tasks that the worker has fetched and not yet started.", ("worker",)
)
LOAD = Gauge("celery_worker_load_average", "The worker's load average.", ("worker", "period"))


def _read(context: ExtraContext) -> list[Metric]:
    # The number of prefetched tasks is only in Flower's own metrics.
    fetched = _prefetched(context.own_metrics())
    workers, now, _ = context.flower.worker_list(context.until)
    active, processed, age, prefetched, load = (
        family.empty() for family in (ACTIVE, PROCESSED, HEARTBEAT_AGE, PREFETCHED, LOAD)
    )
    shown = {name: row for name, row in workers.items() if not is_forgotten(row, now, context.forget_after)}
    for name, worker in sorted(shown.items()):
        for family, value in ((active, worker.get("active")), (processed, worker.get("processed"))):
            if (number := finite_number(value)) is not None:
                family.add_metric([name], number)
        if times := finite_numbers(worker.get("heartbeats")):
            age.add_metric([name], max(0.0, now - max(times)))
        for period, average in zip(("1m", "5m", "15m"), finite_numbers(worker.get("loadavg")), strict=False):
            load.add_metric([name, period], average)
        if name in fetched:
            prefetched.add_metric([name], fetched[name])
    return [active, processed, age, prefetched, load]


def _prefetched(own_metrics: Iterable[Metric]) -> dict[str, float]:
    """Return the number of prefetched tasks of each worker, the sum over task types."""
    counts: dict[str, float] = defaultdict(float)
    for family in own_metrics:
        if _is_prefetched(family.name):
            for sample in family.samples:
                counts[sample.labels.get("worker", "")] += float_or_nan(sample.value)
    return counts


def _is_prefetched(own_family: str) -> bool:
    return own_family == "flower_worker_prefetched_tasks"


EXTRA = Extra("activity", (ACTIVE, PROCESSED, HEARTBEAT_AGE, PREFETCHED, LOAD), _read, own_families=_is_prefetched)
