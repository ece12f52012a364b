"""``--with waits``: how long started tasks had waited, as a histogram by task type."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric

from push_job.flower.task import wait_of
from push_job.metrics.extras.histograms import WINDOW, by_task_type
from push_job.metrics.extras.interface import Extra, Reading
from push_job.metrics.families import Histogram

WAIT = Histogram(
    "celery_task_wait_seconds",
    f"Time from received (or sent, or the ETA, whichever is latest) to started.{WINDOW}",
    ("name",),
)


def _read(reading: Reading) -> list[Metric]:
    return [by_task_type(WAIT, reading.tasks.values_of(wait_of), reading)]


EXTRA = Extra("waits", (WAIT,), _read, columns=(wait_of,))
