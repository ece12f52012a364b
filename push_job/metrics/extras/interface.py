"""Interface of the extras (``--with``) and the data that they may read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from push_job.flower.api import Flower
from push_job.flower.task import Column
from push_job.flower.tasks_by_kind import TasksByKind
from push_job.flower.totals import Totals
from push_job.metrics.families import Family


@dataclass(frozen=True)
class ExtraContext:
    """The data of one Flower after its tasks have been read.

    Attributes:
        flower: the Flower, for further requests.
        tasks: all its tasks, with the columns that the extras requested.
        now: Flower's Unix time at the end of the scrape.
        label: maps a task type to its label, which may stand for several types.
        buckets: upper bounds of histograms in seconds.
        until: deadline, a time of ``time.monotonic()``.
        taken: names of samples that this push already uses.
        kept: numbers that extras keep between cycles about tasks that Flower may forget, by a name that the extra
            chooses and by task type. Extras may change it. Without a state, it is empty in each cycle.
        own_metrics: returns Flower's own metric families that extras want; reads them only once. Raises FlowerError.
        extras: names of all extras of this push.
        forget_after: seconds after its last heartbeat from which a worker is left out; 0 for never.
        totals: the totals; None if no extra needs them, or if an earlier scrape still uses the state.
        type_limit: number of task types that may have labels of their own.
    """

    flower: Flower
    tasks: TasksByKind
    now: float
    label: Callable[[str], str]
    buckets: tuple[float, ...]
    until: float
    taken: frozenset[str]
    kept: dict[str, dict[str, float]]
    own_metrics: Callable[[], list[Metric]]
    extras: tuple[str, ...] = ()
    forget_after: float = 0.0
    totals: Totals | None = None
    type_limit: int = 1000


@dataclass(frozen=True)
class Extra:
    """One extra, selected by ``--with``.

    Attributes:
        name: its name.
        families: the families that it may add.
        read: returns the families. If it raises TransportError, the extra is left out of the push.
        columns: columns that it needs of each task in addition to type, state and seconds.
        own_families: returns whether it needs the family of Flower's own metrics with this name.
        foreign_labels: labels of families that it passes on unchanged.
        needs_state: whether it reads totals, which need a state.
    """

    name: str
    families: tuple[Family, ...]
    read: Callable[[ExtraContext], list[Metric]]
    columns: tuple[Column, ...] = ()
    own_families: Callable[[str], bool] = lambda _: False
    foreign_labels: tuple[str, ...] = ()
    needs_state: bool = False
