"""The histograms of the extras that have one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import Metric

from push_job.metrics.extras.interface import Reading
from push_job.metrics.families import Histogram

#: The end of each one's help text.
WINDOW = " A picture of the tasks that Flower remembers, not a counter: use histogram_quantile without rate."


def by_task_type(family: Histogram, values: Mapping[str, list[float]], reading: Reading) -> Metric:
    """The family with a histogram for each task type; `values` are in seconds, by task type."""
    filled = family.empty()
    joined: dict[str, list[float]] = defaultdict(list)
    for name, seconds in values.items():
        joined[reading.label(name)] += seconds
    for name, seconds in sorted(joined.items()):
        filled.add_metric([name], _buckets(seconds, reading.buckets), math.fsum(seconds))
    return filled


def _buckets(seconds: list[float], bounds: Iterable[float]) -> list[tuple[str, float]]:
    """How many are within each bound. Most are within one of the first, so this is quicker than to sort them."""
    counts, rest = [], seconds
    for bound in bounds:
        rest = [second for second in rest if second > bound]
        counts.append((repr(bound), float(len(seconds) - len(rest))))
    return [*counts, ("+Inf", float(len(seconds)))]
