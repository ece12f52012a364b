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
    """Return the family with a histogram for each task type.

    `values_of` returns a type's values in seconds.
    """
    filled = family.empty()
    types: dict[str, list[str]] = defaultdict(list)
    for name in context.tasks.types:
        types[context.label(name)].append(name)
    # Finish each type before the next one, so that its values stay in the CPU cache.
    for label, names in sorted(types.items()):
        seconds: list[float] = []
        for name in names:
            seconds += values_of(name)
        if seconds:
            seconds.sort()  # then counting takes less time than comparing each with each bound, and so does the sum
            filled.add_metric([label], _buckets(seconds, context.buckets), math.fsum(seconds))
    return filled


def _buckets(ordered: list[float], bounds: Iterable[float]) -> list[tuple[str, float]]:
    """Return the cumulative count of sorted values for each bound."""
    return [*((repr(bound), float(bisect_right(ordered, bound))) for bound in bounds), ("+Inf", float(len(ordered)))]
