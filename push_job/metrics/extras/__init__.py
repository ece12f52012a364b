"""The extras: optional sets of families, selected with ``--with``.

The three main families never depend on an extra. Extras are read once, after the
tasks. One that fails is logged and left out, and its sample of
``flower_scrape_extra_success`` is 0.

To add an extra, write a module here with an `EXTRA` and list it in `_MODULES`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module

from prometheus_client.metrics_core import Metric

from push_job import log
from push_job.flower.api import Flower
from push_job.flower.task import Column
from push_job.flower.tasks_by_kind import TasksByKind
from push_job.flower.totals import Totals
from push_job.http.errors import TransportError
from push_job.metrics import families
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.extras.own_metrics import read_own_metrics
from push_job.metrics.families import Family, Gauge

#: The modules of the extras, in the order in which they are read and pushed.
_MODULES = (
    "pools",
    "queues",  # Flower knows a new queue once it has asked the workers, for the pools
    "runtimes",
    "waits",
    "ages",
    "failures",
    "last_run",
    "by_queue",
    "activity",
    "flower_metrics",
    "totals",
)


def _extra_in(module: str) -> Extra:
    extra: Extra = import_module(f"{__name__}.{module}").EXTRA
    return extra


#: Every extra by its name.
EXTRAS = {extra.name: extra for extra in map(_extra_in, _MODULES)}

SUCCESS = Gauge(
    "flower_scrape_extra_success", "Whether an extra (--with) could be read (1) or was left out (0).", ("extra",)
)


def families_with(names: Iterable[str]) -> list[Family]:
    """Return every family that a push with these extras may have.

    Families that are passed on from Flower are left out.
    """
    return [*families.PLAIN, SUCCESS, *(family for name in names for family in EXTRAS[name].families)]


#: Labels of the pushed samples. None of them may be in the grouping key, because a Pushgateway overwrites a sample's
#: label with the grouping key's label of the same name.
SAMPLE_LABELS = frozenset(label for family in families_with(EXTRAS) for label in family.labels).union(
    *(extra.foreign_labels for extra in EXTRAS.values())
)


def columns_of(names: Iterable[str]) -> list[Column]:
    """Return the columns that these extras read of each task."""
    return [column for name in names for column in EXTRAS[name].columns]


def needing_state(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of these extras that need a state."""
    return tuple(name for name in names if EXTRAS[name].needs_state)


def stateless(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of these extras that need no state."""
    return tuple(name for name in names if not EXTRAS[name].needs_state)


def read_extras(
    names: Iterable[str],
    flower: Flower,
    tasks: TasksByKind,
    label: Callable[[str], str],
    buckets: tuple[float, ...],
    until: float,
    kept: dict[str, dict[str, float]],
    forget_after: float = 0.0,
    totals: Totals | None = None,
    type_limit: int = 1000,
) -> list[Metric]:
    """Return the families of the extras called `names` and whether each succeeded.

    The other arguments are described in ExtraContext.
    """
    names = tuple(names)

    @cache
    def own_metrics() -> list[Metric] | TransportError:
        # A failure is cached too: several extras need this, and a request that hangs is not waited for twice.
        try:
            return read_own_metrics(flower, until, wanted)
        except TransportError as error:
            return error

    def wanted(family: str) -> bool:
        return any(EXTRAS[name].own_families(family) for name in names)

    def own_metrics_or_raise() -> list[Metric]:
        found = own_metrics()
        if isinstance(found, TransportError):
            raise found
        return found

    taken = frozenset(name for family in families_with(names) for name in family.sample_names)
    context = ExtraContext(
        flower,
        tasks,
        flower.now,
        label,
        buckets,
        until,
        taken,
        kept,
        own_metrics_or_raise,
        names,
        forget_after,
        totals,
        type_limit,
    )
    added: list[Metric] = []
    success = SUCCESS.empty()
    for name in names:
        error = None
        try:
            added += EXTRAS[name].read(context)
        except TransportError as reason:
            error = str(reason)
        except Exception as bug:  # noqa: BLE001 - a bug in an extra must not prevent the main families
            error = log.bug_text(bug, extra=name)
        success.add_metric([name], int(error is None))
        if error is not None:
            log.event(logging.WARNING, "extra failed", flower=flower.client.endpoint.address, extra=name, error=error)
    return [*added, success]


def all_extras_failed(names: Iterable[str]) -> Metric:
    """Return the success family for a push without extras.

    The Pushgateway has rejected the push with extras.
    """
    success = SUCCESS.empty()
    for name in names:
        success.add_metric([name], 0)
    return success
