"""The histograms of the extras that have one."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import Metric

from push_job.metrics.extras.interface import Reading
from push_job.metrics.families import Histogram

#: The end of each one's help text.
WINDOW = " A picture of the tasks that Flower remembers, not a counter: use histogram_quantile without rate."


def by_task_type(family: Histogram, values: Mapping[str, Iterable[float]], reading: Reading) -> Metric:
    """The family with a histogram for each task type; `values` are in seconds, by task type."""
    filled = family.empty()
    joined: dict[str, list[Iterable[float]]] = defaultdict(list)
    for name, seconds in values.items():
        joined[reading.label(name)].append(seconds)
    bounds = [*reading.buckets, float("inf")]
    for name, groups in sorted(joined.items()):
        ordered = sorted(second for group in groups for second in group)
        counts = [(_le(bound), bisect_right(ordered, bound)) for bound in bounds]
        filled.add_metric([name], counts, math.fsum(ordered))
    return filled


def _le(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)
