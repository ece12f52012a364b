"""The tasks of one reading by task type and state: counted, summed, and what was read of them beside that."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

from push_job.flower.task import SINCE, Column, TextColumn, age_at

#: Every number is at most this; a NaN is not.
_ANY = math.inf


@dataclass(slots=True)
class Tally:
    """The tasks of one type in one state: how many, and their seconds summed."""

    count: int = 0
    seconds: float = 0.0


class Held(Protocol):
    """Tasks that are held in columns (see ``tasks.Batch``)."""

    rows: dict[str, int]
    kinds: array[int]
    seconds: array[float]
    columns: dict[Column, array[float]]


class TasksByKind:
    """Tasks by kind, a pair of task type and state.

    `kinds` and `texts` are what the batches' numbers stand for; `now` is the Unix time from which ages count. None of
    the tasks may change as long as this is used.
    """

    def __init__(self, batches: Iterable[Held], kinds: Sequence[tuple[str, str]], texts: Sequence[str], now: float):
        self._texts = texts
        self._now = now
        # Each task's row is put to its kind once: every column would need as long for that as for all else.
        self._rows: dict[tuple[str, str], list[tuple[Held, list[int]]]] = defaultdict(list)
        for batch in batches:
            numbers, rows = batch.kinds, defaultdict[int, list[int]](list)
            for row in batch.rows.values():
                rows[numbers[row]].append(row)
            for number, of_kind in rows.items():
                self._rows[kinds[number]].append((batch, of_kind))
        self._kinds: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for kind in self._rows:
            self._kinds[kind[0]].append(kind)

    def tally(self) -> dict[tuple[str, str], Tally]:
        """How many tasks there are, and their seconds summed."""
        tallies = {}
        for kind, parts in self._rows.items():
            seconds = self._seconds([kind])
            if kind[1] in SINCE:
                seconds = [age_at(self._now, start) for start in seconds]
            tallies[kind] = Tally(sum(len(rows) for _, rows in parts), math.fsum(seconds))
        return tallies

    @property
    def types(self) -> Iterable[str]:
        """The task types that there are tasks of."""
        return self._kinds

    def runtimes(self, task_type: str) -> list[float]:
        """The runtimes that were reported of a type, in seconds."""
        return self._seconds(kind for kind in self._kinds[task_type] if kind[1] not in SINCE)

    def oldest_starts(self) -> dict[tuple[str, str], float]:
        """The first Unix time from which the age of an unfinished task counts."""
        return {kind: min(starts) for kind in self._rows if kind[1] in SINCE and (starts := self._seconds([kind]))}

    def values_of(self, column: Column, task_type: str) -> list[float]:
        """The values of a column that was read, those that were reported, of a type."""
        return self._known(self._kinds[task_type], lambda batch: batch.columns[column])

    def newest(self, column: Column, state: str) -> dict[str, float]:
        """The highest value of a column that was reported of tasks in this state, by task type."""
        return {
            name: max(known)
            for name, its_state in self._rows
            if its_state == state and (known := self._known([(name, state)], lambda batch: batch.columns[column]))
        }

    def texts_of(self, column: TextColumn) -> dict[str, Counter[str]]:
        """How many tasks have each text of a column that was read, by task type."""
        return {
            name: Counter({self._texts[int(number)]: count for number, count in Counter(known).items()})
            for name, state in self._rows
            if state == column.state and (known := self._known([(name, state)], lambda batch: batch.columns[column]))
        }

    def _seconds(self, kinds: Iterable[tuple[str, str]]) -> list[float]:
        """The seconds, or the starts, that are known."""
        return self._known(kinds, lambda batch: batch.seconds)

    def _known(self, kinds: Iterable[tuple[str, str]], column_of: Callable[[Held], array[float]]) -> list[float]:
        """What was reported in a column of the tasks of these kinds."""
        known: list[float] = []
        for kind in kinds:
            for batch, rows in self._rows[kind]:
                values = _values_in(column_of(batch), rows)
                # Mostly all are reported, and a sum tells that in a tenth of the time that it takes to look at each.
                known += [value for value in values if value <= _ANY] if math.isnan(sum(values)) else values
        return known


def _values_in(column: array[float], rows: list[int]) -> Sequence[float]:
    """The values in these rows, by one call: one for each would take twice as long."""
    return itemgetter(*rows)(column) if len(rows) > 1 else [column[row] for row in rows]
