"""The result of a scrape, and the folding of too many task types and states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.metrics_core import Metric

from push_job.flower.page import OTHER_STATES, OTHER_TYPES
from push_job.flower.task import STATES
from push_job.flower.tasks_by_kind import Tally

#: Number of custom states after folding, including the one for the rest. A custom event with a number in its name makes
#: a state of each number.
_CUSTOM_STATES = 100


@dataclass
class Snapshot:
    """One complete scrape of one Flower.

    Attributes:
        workers: whether Flower sees each worker's heartbeats, by node name.
        tallies: number and seconds of the tasks by (task type, state).
        task_count: number of tasks.
        task_families: the families of the tasks.
        extras: the families of the extras.
        tasks_read: number of tasks transferred.
    """

    workers: dict[str, bool]
    tallies: dict[tuple[str, str], Tally]
    task_count: int
    task_families: list[Metric]
    extras: list[Metric] = field(default_factory=list)
    tasks_read: int = 0


class Folding:
    """Choice of the task types and custom states that keep their names.

    The most frequent names are kept. The other tallies are summed. This protects the Pushgateway from programs that use
    one name per task.

    Args:
        tallies: the tallies to be folded.
        type_limit: number of task types after folding, including the one for the rest.
    """

    def __init__(self, tallies: Mapping[tuple[str, str], Tally], type_limit: int) -> None:
        types: Counter[str] = Counter()
        states: Counter[str] = Counter()
        for (name, state), tally in tallies.items():
            types[name] += tally.count
            if state not in STATES:
                states[state] += tally.count
        self._types = most_frequent(types, type_limit, OTHER_TYPES)
        self._states = most_frequent(states, _CUSTOM_STATES, OTHER_STATES) | set(STATES)
        self.folded_types = len(types) - len(self._types)
        self.folded_states = len(states.keys() - self._states)

    def type_label(self, name: str) -> str:
        """Return the name under which a task type is counted.

        A type without tasks is folded only if others are.
        """
        return name if name in self._types or not self.folded_types else OTHER_TYPES

    def fold(self, tallies: Mapping[tuple[str, str], Tally]) -> dict[tuple[str, str], Tally]:
        """Sum the tallies by the names that they are counted under."""
        folded: dict[tuple[str, str], Tally] = {}
        for (name, state), tally in tallies.items():
            label = self.type_label(name), state if state in self._states else OTHER_STATES
            total = folded.setdefault(label, Tally())
            total.count += tally.count
            total.seconds += tally.seconds
        return folded


def most_frequent(counts: Counter[str], limit: int, other: str) -> set[str]:
    """Return the most frequent names, which are kept.

    At most `limit` names remain, including `other` for the rest.
    """
    if len(counts) <= limit:
        return set(counts)
    by_count = sorted(counts, key=lambda name: (-counts[name], name))
    return set([name for name in by_count if name != other][: limit - 1])
