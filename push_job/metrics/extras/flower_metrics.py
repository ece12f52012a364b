"""``--with flower-metrics``: pass on the families of Flower's own ``/metrics``."""

from __future__ import annotations

import logging
import math
import re

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from push_job import log
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.extras.numbers import float_or_nan

#: Families of Flower's process. They say nothing about Celery and clash with the Pushgateway's own.
_PROCESS_FAMILIES = ("process_", "python_")

#: Labels that the Pushgateway overwrites. They are renamed as Prometheus does when it scrapes such a server.
_EXPORTED = {"job": "exported_job", "instance": "exported_instance"}

#: The types that the Pushgateway knows, and the label of each that must be a number.
_BOUNDS = {"counter": None, "gauge": None, "unknown": None, "histogram": "le", "summary": "quantile"}

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)

#: Families that the Pushgateway adds itself.
_BY_PUSHGATEWAY = frozenset({"push_time_seconds", "push_failure_time_seconds"})


def _read(context: ExtraContext) -> list[Metric]:
    """Return Flower's families, except those that must not be pushed.

    The families of Flower's process are left out. A family that the Pushgateway would reject, or that clashes with
    another one, is left out and logged, because the Pushgateway rejects the whole push.
    """
    taken = context.taken | _BY_PUSHGATEWAY
    passed: list[Metric] = []
    left_out: list[str] = []
    for family in map(_as_pushed, filter(_is_passed_on, context.own_metrics())):
        if taken.isdisjoint(_names(family)) and _is_valid(family):
            passed.append(family)
            taken = taken | _names(family)
        else:
            left_out.append(family.name)
    if left_out:
        log.event(
            logging.WARNING,
            "left out invalid or clashing families of Flower's /metrics",
            flower=context.flower.client.endpoint.address,
            families=" ".join(left_out)[:200],
        )
    return passed


def _is_wanted(own_family: str) -> bool:
    # A _created family has the start time of a counter, which nobody queries.
    return not own_family.startswith(_PROCESS_FAMILIES) and not own_family.endswith("_created")


def _is_passed_on(family: Metric) -> bool:
    return _is_wanted(family.name) and bool(family.samples)


def _as_pushed(family: Metric) -> Metric:
    """Return the family without timestamps and overwritten labels.

    The Pushgateway rejects timestamps. Labels that it would overwrite are renamed.
    """
    pushed = Metric(family.name, family.documentation, family.type)
    for sample in family.samples:
        labels = sample.labels
        if not labels.keys().isdisjoint(_EXPORTED):
            labels = {_EXPORTED.get(name, name): value for name, value in labels.items()}
        pushed.samples.append(Sample(sample.name, labels, float_or_nan(sample.value)))
    return pushed


def _names(family: Metric) -> set[str]:
    return {family.name, *(sample.name for sample in family.samples)}


def _is_valid(family: Metric) -> bool:
    """Return whether the Pushgateway accepts the family.

    Its parser is stricter than ours.
    """
    samples = {sample.name for sample in family.samples}
    names = _names(family).union(*(sample.labels for sample in family.samples))
    # Hashes take a tenth of the memory of the series.
    series = {hash((sample.name, frozenset(sample.labels.items()))) for sample in family.samples}
    return (
        family.type in _BOUNDS
        and not (family.type == "counter" and family.name in samples)  # without _total
        and all(_NAME.fullmatch(name) for name in names)
        and len(series) == len(family.samples)
        and not any(
            math.isnan(float_or_nan(sample.labels.get(_BOUNDS[family.type] or "", "0"))) for sample in family.samples
        )
    )


EXTRA = Extra(
    "flower-metrics", (), _read, own_families=_is_wanted, foreign_labels=("le", "quantile", "task", "type", "worker")
)
