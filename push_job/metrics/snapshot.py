"""The result of a scrape: workers, and tasks tallied by type and state.

Also which task types and states keep their names when there are too many of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.metrics_core import Metric

from push_job.flower.page import OTHER_STATES, OTHER_TYPES
from push_job.flower.task import STATES
from push_job.flower.tasks_by_kind import Tally

#: The most custom states that are told apart; a custom event with a number in its name makes a state of each number.
_CUSTOM_STATES = 100


@dataclass
class Snapshot:
    """A whole reading of one Flower.

    `workers` maps a node name to whether its heartbeats are seen; `tallies` maps (task type, state) to its tally;
    `of_tasks` are the families of the tasks, `extras` those of what ``--with`` asked for, and
    `tasks_read` is how many tasks were transferred.
    """

    workers: dict[str, bool]
    tallies: dict[tuple[str, str], Tally]
    task_count: int
    of_tasks: list[Metric]
    extras: list[Metric] = field(default_factory=list)
    tasks_read: int = 0


class Folding:
    """Which task types and custom states keep their names, and which are summed as others.

    Guards the Pushgateway against one name per task: the most frequent ones stay, so that there are no more than
    `most_types` types, the one for others too.
    """

    def __init__(self, tallies: Mapping[tuple[str, str], Tally], most_types: int) -> None:
        types: Counter[str] = Counter()
        states: Counter[str] = Counter()
        for (name, state), tally in tallies.items():
            types[name] += tally.count
            states[state] += 0 if state in STATES else tally.count
        self._types = most_frequent(types, most_types, OTHER_TYPES)
        self._states = most_frequent(states, len(STATES) + _CUSTOM_STATES, OTHER_STATES) | set(STATES)
        self.folded_types = len(types) - len(self._types)
        self.folded_states = len(states.keys() - self._states)

    def type_label(self, name: str) -> str:
        """What a task type is counted under; one that there is no task of by its name too, unless types are folded."""
        return name if name in self._types or not self.folded_types else OTHER_TYPES

    def fold(self, tallies: Mapping[tuple[str, str], Tally]) -> dict[tuple[str, str], Tally]:
        """Sum what is counted under one label."""
        folded: dict[tuple[str, str], Tally] = {}
        for (name, state), tally in tallies.items():
            label = self.type_label(name), state if state in self._states else OTHER_STATES
            into = folded.setdefault(label, Tally())
            into.count += tally.count
            into.seconds += tally.seconds
        return folded


def most_frequent(counts: Counter[str], most: int, other: str) -> set[str]:
    """Which names to keep so that there are no more than `most`, the one called `other` for the rest among them."""
    if len(counts) <= most:
        return set(counts)
    by_count = sorted(counts, key=lambda name: (-counts[name], name))
    return set([name for name in by_count if name != other][: most - 1])
