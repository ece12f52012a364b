"""Families of a plain push: name, help and labels, and functions that fill them.

Names, labels and values are part of the project's contract. A help text says
what a reader of a panel has to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from push_job import __version__
from push_job.flower.table import TaskTable
from push_job.flower.task import STATES, label_text
from push_job.flower.tasks_by_kind import Tally


@dataclass(frozen=True)
class Family:
    """Name, help text and labels of a family; the same in every push."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    type: ClassVar[str]

    @property
    def sample_names(self) -> frozenset[str]:
        """The names of its samples, and its own."""
        return sample_names(self.name, self.type)


def sample_names(name: str, kind: str) -> frozenset[str]:
    """Return the names of the samples of a family of type `kind`, and its own."""
    parts = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}.get(kind, ())
    return frozenset({name, *(f"{name}{part}" for part in parts)})


class Gauge(Family):
    """A gauge family."""

    type = "gauge"

    def empty(self) -> GaugeMetricFamily:
        """Return the family without samples."""
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)

    def of(self, value: float) -> GaugeMetricFamily:
        """Return a family without labels, with its only sample."""
        return GaugeMetricFamily(self.name, self.help, value=value)


class Counter(Family):
    """A counter family; its name ends with ``_total``."""

    type = "counter"

    def empty(self) -> CounterMetricFamily:
        """Return the family without samples."""
        return CounterMetricFamily(self.name, self.help, labels=self.labels)

    def of(self, value: float) -> CounterMetricFamily:
        """Return a family without labels, with its only sample."""
        return CounterMetricFamily(self.name, self.help, value=value)


class Histogram(Family):
    """A histogram family."""

    type = "histogram"

    def empty(self) -> HistogramMetricFamily:
        """Return the family without samples."""
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
UP = Gauge("flower_up", "Whether this Flower was scraped completely (1) or not at all (0).")
SCRAPE_DURATION = Gauge("flower_scrape_duration_seconds", "Seconds that the scrape took.")
SCRAPE_TASKS = Gauge("flower_scrape_tasks", "Tasks that Flower remembers.")
WINDOW = Gauge(
    "flower_scrape_window_seconds",
    "Age of the oldest finished task that Flower remembers: numbers by state cover this time.",
)
SCRAPE_FULL = Gauge(
    "flower_scrape_full",
    "Whether all tasks were read from Flower (1) or only what changed since the last scrape (0).",
)
SCRAPE_READ_TASKS = Gauge("flower_scrape_read_tasks", "Tasks that were transferred from Flower.")
MAX_AGE = Gauge("push_job_max_age_seconds", "Seconds after which the next push of this group is late. Only from run.")
BUILD = Gauge("push_job_build_info", "The version of flower-push-job.", ("version",))

#: Every family of a plain push. ``check`` looks for other jobs that push families of the same names.
PLAIN: tuple[Family, ...] = (
    WORKERS,
    COUNTS,
    DURATIONS,
    UP,
    SCRAPE_DURATION,
    SCRAPE_TASKS,
    WINDOW,
    SCRAPE_FULL,
    SCRAPE_READ_TASKS,
    MAX_AGE,
    BUILD,
)


def of_workers(workers: dict[str, bool]) -> Metric:
    """Return the workers family.

    The value is 1 for each worker whose heartbeats Flower sees, and 0 for the others.
    """
    family = WORKERS.empty()
    alive: dict[str, bool] = {}
    for name, seen in workers.items():
        label = label_text(name, "unknown")
        alive[label] = alive.get(label, False) or seen
    # Without any sample a panel would say "No data" instead of 0.
    for label, seen in alive.items() or [("", False)]:
        family.add_metric([label], int(seen))
    return family


def of_tasks(tasks: TaskTable, tallies: dict[tuple[str, str], Tally]) -> list[Metric]:
    """Return the families of the tasks.

    `tallies` has the number and the seconds of the tasks by type and state.
    """
    counts, durations = COUNTS.empty(), DURATIONS.empty()
    zeros = {(name, state) for name, _ in tallies for state in STATES}
    for name, state in sorted(zeros | tallies.keys()):
        tally = tallies.get((name, state))
        counts.add_metric([name, state], tally.count if tally else 0)
        if tally:
            durations.add_metric([name, state], tally.seconds)
    ended = tasks.last_end()
    window = [] if ended is None else [WINDOW.of(max(0.0, tasks.now - ended))]
    return [SCRAPE_TASKS.of(len(tasks)), *window, counts, durations]


def of_scrape(*, full: bool, tasks_read: int) -> list[Metric]:
    """Return the families that say how a scrape with state was done."""
    return [SCRAPE_FULL.of(int(full)), SCRAPE_READ_TASKS.of(tasks_read)]


def of_the_job(*, up: bool, scrape_seconds: float, max_age: float | None = None) -> list[Metric]:
    """Return the job's own families, which are in every push.

    `max_age` is None if no next push is planned.
    """
    build = BUILD.empty()
    build.add_metric([__version__], 1)
    planned = [] if max_age is None else [MAX_AGE.of(max_age)]
    # flower_up is the last family: a push that has it is complete.
    return [build, SCRAPE_DURATION.of(scrape_seconds), *planned, UP.of(int(up))]
