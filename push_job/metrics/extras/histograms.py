"""The histograms of the extras that have one."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric

from push_job.metrics.extras.interface import ExtraContext
from push_job.metrics.families import Histogram

#: The end of each one's help text.
WINDOW = " A picture of the tasks that Flower remembers, not a counter: use histogram_quantile without rate."


def by_task_type(family: Histogram, values_of: Callable[[str], Iterable[float]], context: ExtraContext) -> Metric:
    """The family with a histogram for each task type; `values_of` gives a type's values, in seconds."""
    filled = family.empty()
    types: dict[str, list[str]] = defaultdict(list)
    for name in context.tasks.types:
        types[context.label(name)].append(name)
    # Each is done with before the next one is looked at, so that what is held fits into the processor's own memory.
    for label, names in sorted(types.items()):
        seconds: list[float] = []
        for name in names:
            seconds += values_of(name)
        if seconds:
            filled.add_metric([label], _buckets(seconds, context.buckets), math.fsum(seconds))
    return filled


def _buckets(seconds: list[float], bounds: Iterable[float]) -> list[tuple[str, float]]:
    """How many are within each bound. To sort them takes as long whatever they are, and mostly less than to compare."""
    ordered = sorted(seconds)
    return [*((repr(bound), float(bisect_right(ordered, bound))) for bound in bounds), ("+Inf", float(len(ordered)))]
