"""The tasks of one reading by task type and state: counted, summed, and what was read of them beside that."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from push_job.flower.page import TaskPage
from push_job.flower.task import NOT_REPORTED, SINCE, STATES, Column, TextColumn, age_at

#: What a column holds where nothing was reported.
_NONE = array("d", [NOT_REPORTED]).tobytes()

#: Every number is at most this; a NaN is not.
_ANY = math.inf


@dataclass(slots=True)
class Tally:
    """The tasks of one type in one state: how many, and their seconds summed."""

    count: int = 0
    seconds: float = 0.0


class _Part(NamedTuple):
    """The tasks of one kind that are in one batch: how many, and what picks theirs out of a column."""

    batch: TaskPage
    size: int
    pick: Callable[[array[float]], Sequence[float]]


class TasksByKind:
    """Tasks by kind, a pair of task type and state.

    `kinds` and `texts` are what the batches' numbers stand for; `now` is the Unix time from which ages count. None of
    the tasks may change as long as this is used.
    """

    def __init__(self, batches: Iterable[TaskPage], kinds: Sequence[tuple[str, str]], texts: Sequence[str], now: float):
        self._batches = tuple(batches)
        self._texts = texts
        self._now = now
        # Each task's row is put to its kind once: every column would need as long for that as for all else.
        self._parts: dict[tuple[str, str], list[_Part]] = defaultdict(list)
        for batch in self._batches:
            numbers, rows = batch.kinds, defaultdict[int, list[int]](list)
            for row in batch.rows.values():
                rows[numbers[row]].append(row)
            for number, of_kind in rows.items():
                self._parts[kinds[number]].append(_Part(batch, len(of_kind), _picker(of_kind)))
        self._kinds: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for kind in self._parts:
            self._kinds[kind[0]].append(kind)

    def tally(self) -> dict[tuple[str, str], Tally]:
        """How many tasks there are, and their seconds summed."""
        tallies = {}
        for kind, parts in self._parts.items():
            seconds = self._seconds([kind])
            if kind[1] in SINCE:
                seconds = [age_at(self._now, start) for start in seconds]
            elif kind[1] not in STATES:
                seconds = [age_at(self._now, -number) if number < 0 else number for number in seconds]
            tallies[kind] = Tally(sum(part.size for part in parts), math.fsum(seconds))
        return tallies

    @property
    def types(self) -> Iterable[str]:
        """The task types that there are tasks of."""
        return self._kinds

    def runtimes(self, task_type: str) -> list[float]:
        """The runtimes that were reported of a type, in seconds."""
        finished = self._seconds(kind for kind in self._kinds[task_type] if kind[1] not in SINCE)
        custom = any(kind[1] not in STATES for kind in self._kinds[task_type])
        return [seconds for seconds in finished if seconds >= 0] if custom else finished

    def runtimes_in(self, task_type: str, state: str) -> list[float]:
        """The runtimes that were reported of a type's tasks in one finished state, in seconds."""
        return self._seconds([(task_type, state)])

    def oldest_starts(self) -> dict[tuple[str, str], float]:
        """The first Unix time from which the age of an unfinished task counts, by kind."""
        return {kind: min(starts) for kind in self._parts if (starts := self._starts(kind))}

    def _starts(self, kind: tuple[str, str]) -> list[float]:
        """The Unix times from which the ages of a kind's unfinished tasks count; see `seconds_of`."""
        if kind[1] in SINCE:
            return self._seconds([kind])
        return [] if kind[1] in STATES else [-number for number in self._seconds([kind]) if number < 0]

    def states_of(self, task_type: str) -> list[str]:
        """The states that tasks of a type are in."""
        return [state for _, state in self._kinds[task_type]]

    def count(self, task_type: str, state: str) -> int:
        """How many tasks of a type are in a state."""
        return sum(part.size for part in self._parts.get((task_type, state), ()))

    def has(self, column: Column) -> bool:
        """Whether a column that was read has any value."""
        columns = (batch.columns[column] for batch in self._batches)
        return any(values.tobytes() != _NONE * len(values) for values in columns)

    def values_of(self, column: Column, task_type: str) -> list[float]:
        """The values of a column that was read, those that were reported, of a type."""
        return self._known(self._kinds[task_type], lambda batch: batch.columns[column])

    def values_in(self, column: Column, task_type: str, state: str) -> list[float]:
        """The values of a column that was read, those that were reported, of a type's tasks in one state."""
        return self._known([(task_type, state)], lambda batch: batch.columns[column])

    def newest(self, column: Column, state: str) -> dict[str, float]:
        """The highest value of a column that was reported of tasks in this state, by task type."""
        return {
            name: max(known)
            for name, its_state in self._parts
            if its_state == state and (known := self._known([(name, state)], lambda batch: batch.columns[column]))
        }

    def texts_of(self, column: TextColumn) -> dict[str, Counter[str]]:
        """How many tasks have each text of a column that was read, by task type."""
        return {
            name: Counter({self._texts[int(number)]: count for number, count in Counter(known).items()})
            for name, state in self._parts
            if state == column.state and (known := self._known([(name, state)], lambda batch: batch.columns[column]))
        }

    def _seconds(self, kinds: Iterable[tuple[str, str]]) -> list[float]:
        """The seconds, or the starts, that are known."""
        return self._known(kinds, lambda batch: batch.seconds)

    def _known(self, kinds: Iterable[tuple[str, str]], column_of: Callable[[TaskPage], array[float]]) -> list[float]:
        """What was reported in a column of the tasks of these kinds."""
        known: list[float] = []
        for kind in kinds:
            for part in self._parts.get(kind, ()):
                values = part.pick(column_of(part.batch))
                # Mostly all are reported, and a sum tells that in a tenth of the time that it takes to look at each.
                known += [value for value in values if value <= _ANY] if math.isnan(sum(values)) else values
        return known


def _picker(rows: list[int]) -> Callable[[array[float]], Sequence[float]]:
    """What picks these rows out of a column, by one call: one for each would take twice as long."""
    if len(rows) > 1:
        return itemgetter(*rows)
    return lambda column: [column[row] for row in rows]
