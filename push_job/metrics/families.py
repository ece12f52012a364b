"""Each family of a plain push: its name, help and labels in one place, and how it is made of what was read.

Names, labels and values are the project's contract; each help text says what a reader of a panel has to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric

from push_job import __version__
from push_job.flower.table import TaskTable
from push_job.flower.task import STATES, Column, label_text
from push_job.flower.tasks_by_kind import Tally


@dataclass(frozen=True)
class Family:
    """What is the same for a family in every push."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    type: ClassVar[str]

    @property
    def sample_names(self) -> frozenset[str]:
        """What its samples are called, and the family itself."""
        return frozenset({self.name})


class Gauge(Family):
    """A family of gauges."""

    type = "gauge"

    def empty(self) -> GaugeMetricFamily:
        """The family without a sample."""
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)

    def of(self, value: float) -> GaugeMetricFamily:
        """The family with its only sample, where it has no label."""
        return GaugeMetricFamily(self.name, self.help, value=value)


class Histogram(Family):
    """A family of histograms."""

    type = "histogram"

    @property
    def sample_names(self) -> frozenset[str]:
        """What its samples are called, and the family itself."""
        return frozenset({self.name, *(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))})

    def empty(self) -> HistogramMetricFamily:
        """The family without a sample."""
        return HistogramMetricFamily(self.name, self.help, labels=self.labels)


WORKERS = Gauge("celery_workers", "Whether Flower sees the worker's heartbeats (1) or they have stopped (0).", ("app",))
COUNTS = Gauge(
    "celery_task_types_by_state",
    "Tasks that Flower remembers, by task type and the state they are in now.",
    ("task_type", "state"),
)
DURATIONS = Gauge(
    "celery_task_duration_seconds_by_state",
    "Seconds summed over the tasks that Flower remembers. Finished: the runtime that Celery reported (it reports"
    " none for failures). PENDING, RECEIVED, STARTED, RETRY: time in that state so far.",
    ("name", "state"),
)
UP = Gauge("flower_up", "Whether this Flower was scraped whole (1) or not at all (0).")
SCRAPE_DURATION = Gauge("flower_scrape_duration_seconds", "Seconds that the scrape took.")
SCRAPE_TASKS = Gauge("flower_scrape_tasks", "Tasks that Flower remembers.")
SCRAPE_FULL = Gauge(
    "flower_scrape_full",
    "Whether all tasks were read from Flower (1) or only what had changed since the last scrape (0).",
)
SCRAPE_READ_TASKS = Gauge("flower_scrape_read_tasks", "Tasks that were transferred from Flower.")
BUILD = Gauge("push_job_build_info", "The version of flower-push-job.", ("version",))

#: Every family of a plain push. One that is missing here may clash with what others push, unseen by ``check``.
PLAIN: tuple[Family, ...] = (
    WORKERS,
    COUNTS,
    DURATIONS,
    UP,
    SCRAPE_DURATION,
    SCRAPE_TASKS,
    SCRAPE_FULL,
    SCRAPE_READ_TASKS,
    BUILD,
)

#: What the families below read of each task beside its type, state and seconds.
COLUMNS: tuple[Column, ...] = ()


def of_workers(workers: dict[str, bool]) -> Metric:
    """The workers, whose heartbeats Flower sees or not, by node name."""
    family = WORKERS.empty()
    alive: dict[str, bool] = {}
    for name, seen in workers.items():
        label = label_text(name, "unknown")
        alive[label] = alive.get(label, False) or seen
    # No worker at all is a number too: without a sample a panel would say "No data".
    for label, seen in alive.items() or [("", False)]:
        family.add_metric([label], int(seen))
    return family


def of_tasks(tasks: TaskTable, tallies: dict[tuple[str, str], Tally]) -> list[Metric]:
    """The tasks; `tallies` are theirs by the type and state that they are counted under."""
    counts, durations = COUNTS.empty(), DURATIONS.empty()
    zeros = {(name, state) for name, _ in tallies for state in STATES}
    for name, state in sorted(zeros | tallies.keys()):
        tally = tallies.get((name, state))
        counts.add_metric([name, state], tally.count if tally else 0)
        if tally:
            durations.add_metric([name, state], tally.seconds)
    return [SCRAPE_TASKS.of(len(tasks)), counts, durations]


def of_reading(*, whole: bool, tasks_read: int) -> list[Metric]:
    """What a turn that may remember was."""
    return [SCRAPE_FULL.of(int(whole)), SCRAPE_READ_TASKS.of(tasks_read)]


def of_the_job(*, up: bool, scrape_seconds: float) -> list[Metric]:
    """What the job says of itself in each push."""
    build = BUILD.empty()
    build.add_metric([__version__], 1)
    # Last comes what says that the push is whole.
    return [build, SCRAPE_DURATION.of(scrape_seconds), UP.of(int(up))]
