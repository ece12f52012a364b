"""``--with failures``: which exceptions the failed tasks ended with, by class and never by message."""

from __future__ import annotations

from collections import Counter

from prometheus_client.metrics_core import Metric

from push_job.flower.exception_names import failure_of
from push_job.flower.page import OTHER_TEXTS
from push_job.flower.task import TextColumn
from push_job.metrics.extras.interface import Extra, Reading
from push_job.metrics.families import Gauge
from push_job.metrics.snapshot import most_frequent

FAILURES = Gauge(
    "celery_task_failures",
    "Tasks that Flower remembers in FAILURE, by the class of their exception; the rarest classes are summed as other.",
    ("name", "exception"),
)

#: The most classes that are told apart, the one for others among them. A class is told for all task types or for none.
MOST_CLASSES = 50

_CLASS = TextColumn(failure_of, "FAILURE")


def _read(reading: Reading) -> list[Metric]:
    by_type = reading.tasks.texts_of(_CLASS)
    classes: Counter[str] = Counter()
    for counts in by_type.values():
        classes.update(counts)
    kept = most_frequent(classes, MOST_CLASSES, OTHER_TEXTS)
    folded: Counter[tuple[str, str]] = Counter()
    for name, counts in by_type.items():
        for exception, count in counts.items():
            folded[reading.label(name), exception if exception in kept else OTHER_TEXTS] += count
    family = FAILURES.empty()
    for labels, count in sorted(folded.items()):
        family.add_metric(labels, count)
    return [family]


EXTRA = Extra("failures", (FAILURES,), _read, columns=(_CLASS,))
