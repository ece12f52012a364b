"""What an extra is, and what it may read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from push_job.flower.api import Flower
from push_job.flower.task import Column
from push_job.flower.tasks_by_kind import TasksByKind
from push_job.metrics.families import Family


@dataclass(frozen=True)
class ExtraContext:
    """What there is to read of one Flower, after its tasks were read.

    Attributes:
        flower: to ask for more.
        tasks: all its tasks, with the columns that the extras asked for.
        now: Flower's Unix time when the last of them were read.
        label: maps a task type to the one it is counted under.
        buckets: bounds of histograms in seconds.
        until: the moment of ``time.monotonic()`` to be done by.
        taken: names of samples that stand for something in this push.
        kept: what extras keep from turn to turn of tasks that Flower may forget, numbers by a name of theirs and task
            type; for them to change. Empty in each turn where nothing is remembered.
        extras: the names of all extras of this push.
        forget_after: seconds after its last heartbeat when a worker is left out; 0 for never.
        own_metrics: Flower's own families, those that an extra wants, read once however many do. Raises FlowerError.
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


@dataclass(frozen=True)
class Extra:
    """One name of ``--with``.

    Attributes:
        name: what it is called.
        families: those that it may add.
        read: makes them. Raises TransportError, and the extra is left out.
        columns: what it reads of each task beside its type, state and seconds.
        own_families: whether it wants one of Flower's own families, by name.
        foreign_labels: labels of families that it passes on without knowing them.
    """

    name: str
    families: tuple[Family, ...]
    read: Callable[[ExtraContext], list[Metric]]
    columns: tuple[Column, ...] = ()
    own_families: Callable[[str], bool] = lambda _: False
    foreign_labels: tuple[str, ...] = ()
