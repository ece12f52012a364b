"""``--with runtimes``: histogram of the runtimes of finished tasks, by task type."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric

from push_job.metrics.extras.histograms import WINDOW, by_task_type
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.families import Histogram

RUNTIME = Histogram("celery_task_runtime_seconds", f"Runtime of finished tasks.{WINDOW}", ("name",))


def _read(context: ExtraContext) -> list[Metric]:
    return [by_task_type(RUNTIME, context.tasks.runtimes, context)]


EXTRA = Extra("runtimes", (RUNTIME,), _read)
