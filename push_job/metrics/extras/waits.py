"""``--with waits``: the time that started tasks had waited, by task type.

One histogram has the wait at the worker. The other one has the wait at the broker too.
"""

from __future__ import annotations

from functools import partial

from prometheus_client.metrics_core import Metric

from push_job.flower.task import queue_wait_of, wait_of
from push_job.metrics.extras.histograms import WINDOW, by_task_type
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.families import Histogram

WAIT = Histogram(
    "celery_task_wait_seconds",
    f"Time from received (or sent, or the ETA, whichever is latest) to started.{WINDOW}",
    ("name",),
)
QUEUE_WAIT = Histogram(
    "celery_task_queue_wait_seconds",
    f"Time from sent (or the ETA, whichever is later) to started; needs task_send_sent_event.{WINDOW}",
    ("name",),
)


def _read(context: ExtraContext) -> list[Metric]:
    tasks = context.tasks
    # Most systems send no task-sent events. Then no task has a queue wait, and the loop over all tasks is skipped.
    return [
        by_task_type(family, partial(tasks.values_of, column), context) if tasks.has(column) else family.empty()
        for family, column in ((WAIT, wait_of), (QUEUE_WAIT, queue_wait_of))
    ]


EXTRA = Extra("waits", (WAIT, QUEUE_WAIT), _read, columns=(wait_of, queue_wait_of))
