"""What one snapshot of a Flower says, in the form in which ``explain`` judges it; no I/O."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from push_job.flower.page import OTHER_TYPES
from push_job.flower.task import UNKNOWN_TYPE
from push_job.flower.tasks_by_kind import Tally
from push_job.metrics.extras import SUCCESS
from push_job.metrics.extras.ages import OLDEST
from push_job.metrics.extras.failures import FAILURES
from push_job.metrics.extras.last_run import INTERVAL, LAST_FAILURE, LAST_SUCCESS
from push_job.metrics.extras.queues import LENGTH
from push_job.metrics.snapshot import Snapshot

#: The extras that say what is asked. ``pools`` is none of them: it asks all workers, so they are asked only when tasks
#: wait (see ``asking``).
EXTRAS = ("queues", "ages", "failures", "last-run")

#: Names that stand for several task types, or for none.
_NO_TYPES = frozenset({OTHER_TYPES, UNKNOWN_TYPE})


@dataclass(frozen=True)
class Facts:
    """A snapshot of one Flower.

    Attributes:
        workers: whether each worker's heartbeats are seen, by node name.
        tallies: by task type and state.
        task_count: how many tasks Flower remembers.
        oldest: the age of the oldest task in seconds, by task type and unfinished state.
        failures: how many tasks failed, by task type, then by the exception's class.
        last_success: Unix time of the newest one, by task type.
        last_failure: the same of failures.
        interval: the usual seconds between two tasks, of types that come regularly.
        waiting: messages in the broker's queues.
        left_out: the EXTRAS that could not be read.
    """

    workers: dict[str, bool]
    tallies: dict[tuple[str, str], Tally]
    task_count: int
    oldest: dict[tuple[str, str], float]
    failures: dict[str, Counter[str]]
    last_success: dict[str, float]
    last_failure: dict[str, float]
    interval: dict[str, float]
    waiting: dict[str, float]
    left_out: frozenset[str] = frozenset()

    @classmethod
    def of(cls, snapshot: Snapshot) -> Facts:
        """The facts in a snapshot with EXTRAS; what an extra could not read is empty."""
        families = {family.name: family for family in snapshot.extras}
        failures: dict[str, Counter[str]] = defaultdict(Counter)
        for (name, exception), count in _values(families.get(FAILURES.name), "name", "exception").items():
            failures[name][exception] += int(count)
        oldest = _values(families.get(OLDEST.name), "name", "state")
        return cls(
            workers=snapshot.workers,
            tallies=snapshot.tallies,
            task_count=snapshot.task_count,
            oldest={(name, state): age for (name, state), age in oldest.items()},
            failures=dict(failures),
            last_success=_of_types(families.get(LAST_SUCCESS.name)),
            last_failure=_of_types(families.get(LAST_FAILURE.name)),
            interval=_of_types(families.get(INTERVAL.name)),
            waiting={queue: count for (queue,), count in _values(families.get(LENGTH.name), "queue").items()},
            left_out=frozenset(
                extra for (extra,), success in _values(families.get(SUCCESS.name), "extra").items() if not success
            ),
        )

    @property
    def live(self) -> int:
        """How many workers' heartbeats are seen."""
        return sum(self.workers.values())

    def count(self, *states: str, name: str | None = None) -> int:
        """How many tasks are in one of these states."""
        return sum(
            tally.count
            for (task_type, state), tally in self.tallies.items()
            if state in states and name in (None, task_type)
        )

    def mean_runtime(self, name: str) -> float | None:
        """The mean runtime of the type's successes in seconds, None without any."""
        tally = self.tallies.get((name, "SUCCESS"))
        return tally.seconds / tally.count if tally and tally.count else None


def is_a_type(name: str) -> bool:
    """Whether the name is that of one task type."""
    return name not in _NO_TYPES


def _of_types(family: Metric | None) -> dict[str, float]:
    return {name: value for (name,), value in _values(family, "name").items() if is_a_type(name)}


def _values(family: Metric | None, *labels: str) -> dict[tuple[str, ...], float]:
    samples: Iterable[tuple[dict[str, str], float]] = (
        ((sample.labels, sample.value) for sample in family.samples) if family else ()
    )
    return {tuple(found[label] for label in labels): value for found, value in samples}
