"""What ``--with`` adds to a push: each extra reads what it needs and becomes families, or is left out.

The three families never depend on an extra: it is read after the tasks, once, and its failure is a log line and
``flower_scrape_extra_success`` 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache

from prometheus_client.metrics_core import Metric

from push_job import log
from push_job.flower.api import Flower
from push_job.flower.task import Column
from push_job.flower.tasks_by_kind import TasksByKind
from push_job.http.errors import TransportError
from push_job.metrics import families
from push_job.metrics.extras import activity, ages, failures, flower_metrics, last_run, pools, queues, runtimes, waits
from push_job.metrics.extras.interface import Extra, Reading
from push_job.metrics.families import Family, Gauge

#: Each name of ``--with``, in the order in which they are read and pushed.
EXTRAS: dict[str, Extra] = {
    module.EXTRA.name: module.EXTRA
    # Flower knows a new queue once it has asked the workers, so pools come before queues.
    for module in (pools, queues, runtimes, waits, ages, failures, last_run, activity, flower_metrics)
}

SUCCESS = Gauge(
    "flower_scrape_extra_success", "Whether an extra (--with) could be read (1) or was left out (0).", ("extra",)
)


def families_with(names: Iterable[str]) -> list[Family]:
    """Every family that a push with these extras may have, but for those that are only passed on."""
    return [*families.PLAIN, SUCCESS, *(family for name in names for family in EXTRAS[name].families)]


#: Labels that the pushed samples carry themselves. A Pushgateway overwrites a sample's label with the
#: grouping key's label of the same name, so none of these may be in the grouping key.
SAMPLE_LABELS = frozenset(label for family in families_with(EXTRAS) for label in family.labels).union(
    *(extra.foreign_labels for extra in EXTRAS.values())
)


def columns_of(names: Iterable[str]) -> list[Column]:
    """What these extras read of each task."""
    return [column for name in names for column in EXTRAS[name].columns]


def read_extras(
    names: Iterable[str],
    flower: Flower,
    tasks: TasksByKind,
    label: Callable[[str], str],
    buckets: tuple[float, ...],
    until: float,
    kept: dict[str, dict[str, float]],
    forget_after: float = 0.0,
) -> list[Metric]:
    """The families of the extras called `names`, and how each fared; the arguments are those of Reading."""
    names = tuple(names)

    @cache
    def own_metrics() -> list[Metric] | TransportError:
        from push_job.metrics.extras.own_metrics import read_own_metrics  # its parser takes a while to import

        # A failure is remembered too: two extras need this, and one that hangs is not waited for twice.
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
    reading = Reading(
        flower, tasks, flower.now, label, buckets, until, taken, kept, own_metrics_or_raise, names, forget_after
    )
    added: list[Metric] = []
    success = SUCCESS.empty()
    for name in names:
        error = None
        try:
            added += EXTRAS[name].read(reading)
        except TransportError as reason:
            error = str(reason)
        except Exception as bug:  # noqa: BLE001 - a mistake in an extra must not cost the three families
            error = f"a mistake in push-job: {type(bug).__name__}: {bug}; please report it"
        success.add_metric([name], int(error is None))
        if error is not None:
            log.event(
                logging.WARNING, "left out an extra", flower=flower.client.endpoint.address, extra=name, error=error
            )
    return [*added, success]


def all_extras_failed(names: Iterable[str]) -> Metric:
    """How each extra fared when the Pushgateway took none of them."""
    success = SUCCESS.empty()
    for name in names:
        success.add_metric([name], 0)
    return success
