"""A Snapshot becomes a CollectorRegistry; no I/O.

Names, labels and values are the project's contract; each help text says what a reader of a panel has to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from push_job import __version__
from push_job.flower.task import STATES, label_text
from push_job.metrics.snapshot import Snapshot

#: Every family of a plain push and its type.
OWN_FAMILIES = dict.fromkeys(
    (
        "celery_workers",
        "celery_task_types_by_state",
        "celery_task_duration_seconds_by_state",
        "flower_up",
        "flower_scrape_duration_seconds",
        "flower_scrape_tasks",
        "push_job_build_info",
    ),
    "gauge",
)

WORKERS_HELP = "Whether Flower sees the worker's heartbeats (1) or they have stopped (0)."
TYPES_HELP = "Tasks that Flower remembers, by task type and the state they are in now."
DURATION_HELP = (
    "Seconds summed over the tasks that Flower remembers. Finished: the runtime that Celery reported (it reports"
    " none for failures). PENDING, RECEIVED, STARTED, RETRY: time in that state so far."
)


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
            *_own_families(up=True, scrape_seconds=scrape_seconds),
            _gauge("flower_scrape_tasks", "Tasks that were read from Flower.", snapshot.task_count),
            _workers(snapshot),
            *_tasks(snapshot),
            *snapshot.extras,
        ]
    )


def down_registry(scrape_seconds: float) -> CollectorRegistry:
    """What is pushed for a Flower that could not be scraped: a gap in every panel, and why."""
    return _registry(_own_families(up=False, scrape_seconds=scrape_seconds))


def exposition(snapshot: Snapshot, scrape_seconds: float) -> str:
    """What a push would send, in Prometheus' text format."""
    return generate_latest(up_registry(snapshot, scrape_seconds)).decode()


def _registry(families: Iterable[Metric]) -> CollectorRegistry:
    # Without describe(), prometheus_client would call collect() at registration to learn the names.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FamiliesCollector(families))
    return registry


def _own_families(*, up: bool, scrape_seconds: float) -> list[Metric]:
    build = GaugeMetricFamily("push_job_build_info", "The version of flower-push-job.", labels=["version"])
    build.add_metric([__version__], 1)
    return [
        _gauge("flower_up", "Whether this Flower was scraped whole (1) or not at all (0).", int(up)),
        _gauge("flower_scrape_duration_seconds", "Seconds that the scrape took.", scrape_seconds),
        build,
    ]


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)


def _workers(snapshot: Snapshot) -> GaugeMetricFamily:
    family = GaugeMetricFamily("celery_workers", WORKERS_HELP, labels=["app"])
    alive: dict[str, bool] = {}
    for name, seen in snapshot.workers.items():
        label = label_text(name, "unknown")
        alive[label] = alive.get(label, False) or seen
    # No worker at all is a number too: without a sample a panel would say "No data".
    for label, seen in alive.items() or [("", False)]:
        family.add_metric([label], int(seen))
    return family


def _tasks(snapshot: Snapshot) -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    counts = GaugeMetricFamily("celery_task_types_by_state", TYPES_HELP, labels=["task_type", "state"])
    durations = GaugeMetricFamily("celery_task_duration_seconds_by_state", DURATION_HELP, labels=["name", "state"])
    zeros = {(name, state) for name, _ in snapshot.tasks for state in STATES}
    for name, state in sorted(zeros | snapshot.tasks.keys()):
        tally = snapshot.tasks.get((name, state))
        counts.add_metric([name, state], tally.count if tally else 0)
        if tally:
            durations.add_metric([name, state], tally.seconds)
    return counts, durations
