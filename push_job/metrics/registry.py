"""Make a CollectorRegistry of a Snapshot; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from push_job.metrics import families
from push_job.metrics.snapshot import Snapshot


class FamiliesCollector:
    """A prometheus_client collector of given families."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield from self._families


def registry_of(collected: Iterable[Metric]) -> CollectorRegistry:
    """Return a registry with the given families."""
    # Without describe(), prometheus_client would call collect() at registration to learn the names.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FamiliesCollector(collected))
    return registry


def push_registry(snapshot: Snapshot | None, scrape_seconds: float, max_age: float | None = None) -> CollectorRegistry:
    """Return what is pushed for a Flower that was scraped in `scrape_seconds`.

    If it could not be scraped, there is no snapshot. Every panel then has a gap and the reason for it.
    """
    scraped = [families.of_workers(snapshot.workers), *snapshot.task_families, *snapshot.extras] if snapshot else []
    own = families.of_the_job(up=snapshot is not None, scrape_seconds=scrape_seconds, max_age=max_age)
    return registry_of([*scraped, *own])
