"""A Snapshot becomes a CollectorRegistry; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from push_job.metrics import families
from push_job.metrics.snapshot import Snapshot


class FamiliesCollector:
    """A prometheus_client collector whose families are known already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield from self._families


def up_registry(snapshot: Snapshot, scrape_seconds: float) -> CollectorRegistry:
    """What is pushed for a Flower that was scraped whole, in `scrape_seconds`."""
    return _registry(
        [
            families.of_workers(snapshot.workers),
            *snapshot.of_tasks,
            *snapshot.extras,
            *families.of_the_job(up=True, scrape_seconds=scrape_seconds),
        ]
    )


def down_registry(scrape_seconds: float) -> CollectorRegistry:
    """What is pushed for a Flower that could not be scraped: a gap in every panel, and why."""
    return _registry(families.of_the_job(up=False, scrape_seconds=scrape_seconds))


def exposition(snapshot: Snapshot, scrape_seconds: float) -> str:
    """What a push would send, in Prometheus' text format."""
    return generate_latest(up_registry(snapshot, scrape_seconds)).decode()


def _registry(collected: Iterable[Metric]) -> CollectorRegistry:
    # Without describe(), prometheus_client would call collect() at registration to learn the names.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FamiliesCollector(collected))
    return registry
