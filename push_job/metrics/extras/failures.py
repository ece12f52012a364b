"""``--with failures``: the exceptions of failed tasks, by class."""

from __future__ import annotations

from collections import Counter, defaultdict

from prometheus_client.metrics_core import Metric

from push_job.flower.exception_names import failure_of
from push_job.flower.page import OTHER_TEXTS
from push_job.flower.task import TextColumn, ended_at
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.families import Gauge
from push_job.metrics.snapshot import most_frequent

FAILURES = Gauge(
    "celery_task_failures",
    "Tasks that Flower remembers in FAILURE, by the class of their exception; the rarest classes are summed as other.",
    ("name", "exception"),
)

SINCE_SUCCESS = Gauge(
    "celery_task_failures_since_success",
    "Tasks that Flower remembers in FAILURE that failed after the last success of their type.",
    ("name",),
)

#: Maximum number of exception classes, including the one for all others. The same classes are kept for all task types.
MOST_CLASSES = 50

#: The class of the exception of each failed task.
CLASS = TextColumn(failure_of, "FAILURE")


def _read(context: ExtraContext) -> list[Metric]:
    by_type = context.tasks.texts_of(CLASS)
    classes: Counter[str] = Counter()
    for counts in by_type.values():
        classes.update(counts)
    kept = most_frequent(classes, MOST_CLASSES, OTHER_TEXTS)
    folded: Counter[tuple[str, str]] = Counter()
    for name, counts in by_type.items():
        for exception, count in counts.items():
            folded[context.label(name), exception if exception in kept else OTHER_TEXTS] += count
    family = FAILURES.empty()
    for labels, count in sorted(folded.items()):
        family.add_metric(labels, count)
    return [family, _since_success(context)]


def _since_success(context: ExtraContext) -> Metric:
    """Return the number of failures after the last success of each type."""
    counts: Counter[str] = Counter()
    last_success: dict[str, float] = defaultdict(float)
    for name, ended in context.tasks.newest(ended_at, "SUCCESS").items():
        last_success[context.label(name)] = max(ended, last_success[context.label(name)])
        counts[context.label(name)] += 0
    for name in context.tasks.types:
        label = context.label(name)
        for failed in context.tasks.values_in(ended_at, name, "FAILURE"):
            counts[label] += failed > last_success[label]
    family = SINCE_SUCCESS.empty()
    for label, count in sorted(counts.items()):
        family.add_metric([label], count)
    return family


EXTRA = Extra("failures", (FAILURES, SINCE_SUCCESS), _read, columns=(CLASS, ended_at))
