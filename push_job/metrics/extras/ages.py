"""``--with ages``: the age of the oldest unfinished task, which a mean hides among thousands."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric

from push_job.flower.task import age_at
from push_job.metrics.extras.interface import Extra, Reading
from push_job.metrics.families import Gauge

OLDEST = Gauge(
    "celery_task_oldest_seconds",
    "How long the oldest task in an unfinished state has been in it, a task with an ETA counted from its ETA.",
    ("name", "state"),
)


def _read(reading: Reading) -> list[Metric]:
    family = OLDEST.empty()
    oldest: dict[tuple[str, str], float] = {}
    for (name, state), since in reading.tasks.oldest_starts().items():
        label = reading.label(name), state
        oldest[label] = min(since, oldest.get(label, since))
    for label, since in sorted(oldest.items()):
        family.add_metric(label, age_at(reading.now, since))
    return [family]


EXTRA = Extra("ages", (OLDEST,), _read)
