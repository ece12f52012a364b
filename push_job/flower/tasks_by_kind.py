"""The tasks of one scrape by kind, which is a pair of task type and state."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

from push_job.flower.page import TaskPage
from push_job.flower.task import NOT_REPORTED, SINCE, STATES, Column, TextColumn, age_at

#: A column's bytes where nothing was reported.
_NOTHING = array("d", [NOT_REPORTED]).tobytes()


@dataclass(slots=True)
class Tally:
    """The number of tasks of one kind, and their seconds.

    Attributes:
        count: the number of tasks.
        seconds: the sum of their seconds.
        longest: the highest of their seconds; None if none was reported, or if several kinds were summed.
    """

    count: int = 0
    seconds: float = 0.0
    longest: float | None = None


class _Part(NamedTuple):
    """The tasks of one kind in one page.

    Attributes:
        page: the page.
        size: the number of these tasks.
        pick: picks their values out of a column.
    """

    page: TaskPage
    size: int
    pick: Callable[[array[float]], Sequence[float]]


class TasksByKind:
    """Tasks by kind. The tasks must not change while this is used.

    Args:
        pages: the pages with the tasks.
        kinds: the kind of each number in the pages.
        texts: the text of each number in the pages' text columns.
        now: Unix time from which ages count.
    """

    def __init__(self, pages: Iterable[TaskPage], kinds: Sequence[tuple[str, str]], texts: Sequence[str], now: float):
        self._pages = tuple(pages)
        self._texts = texts
        self._now = now
        # Rows are sorted into kinds once. Doing it for every column would take as long as all the rest.
        self._parts: dict[tuple[str, str], list[_Part]] = defaultdict(list)
        for page in self._pages:
            numbers, rows = page.kinds, defaultdict[int, list[int]](list)
            for row in page.rows.values():
                rows[numbers[row]].append(row)
            for number, of_kind in rows.items():
                self._parts[kinds[number]].append(_Part(page, len(of_kind), _picker(of_kind)))
        self._newest: dict[tuple[Column, str], dict[str, float]] = {}
        self._kinds_of_type: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for kind in self._parts:
            self._kinds_of_type[kind[0]].append(kind)

    @cached_property
    def tallies(self) -> dict[tuple[str, str], Tally]:
        """The number of tasks and their seconds by kind."""
        tallies = {}
        for kind, parts in self._parts.items():
            seconds = self._seconds([kind])
            if kind[1] in SINCE:
                seconds = [age_at(self._now, start) for start in seconds]
            elif kind[1] not in STATES:
                seconds = [age_at(self._now, -number) if number < 0 else number for number in seconds]
            count = sum(part.size for part in parts)
            tallies[kind] = Tally(count, math.fsum(seconds), max(seconds, default=None))
        return tallies

    @property
    def types(self) -> Iterable[str]:
        """The task types that have tasks."""
        return self._kinds_of_type

    def runtimes(self, task_type: str) -> list[float]:
        """Return the reported runtimes of a task type, in seconds."""
        finished = self._seconds(kind for kind in self._kinds_of_type.get(task_type, ()) if kind[1] not in SINCE)
        has_custom = any(kind[1] not in STATES for kind in self._kinds_of_type.get(task_type, ()))
        return [seconds for seconds in finished if seconds >= 0] if has_custom else finished

    def oldest_starts(self) -> dict[tuple[str, str], float]:
        """Return the earliest Unix time from which an age counts, by kind.

        Only unfinished tasks have an age.
        """
        return {kind: min(starts) for kind in self._parts if (starts := self._starts(kind))}

    def _starts(self, kind: tuple[str, str]) -> list[float]:
        """Return the Unix times from which the ages of a kind's tasks count.

        Only unfinished tasks have an age; see `seconds_of`.
        """
        if kind[1] in SINCE:
            return self._seconds([kind])
        return [] if kind[1] in STATES else [-number for number in self._seconds([kind]) if number < 0]

    def states_of(self, task_type: str) -> list[str]:
        """Return the states of a task type's tasks."""
        return [state for _, state in self._kinds_of_type.get(task_type, ())]

    def count(self, task_type: str, state: str) -> int:
        """Return the number of tasks of a task type in one state."""
        return sum(part.size for part in self._parts.get((task_type, state), ()))

    def has(self, column: Column) -> bool:
        """Return whether any task has a value in a column."""
        return self._common_value(column) != _NOTHING

    def _common_value(self, column: Column) -> bytes | None:
        """Return the bytes of the value that all tasks have in a column, or None.

        Without tasks, it is that of NOT_REPORTED.
        """
        columns = [values for page in self._pages if (values := page.columns[column])]
        first = columns[0][:1].tobytes() if columns else _NOTHING
        return first if all(values.tobytes() == first * len(values) for values in columns) else None

    def values_of(self, column: Column, task_type: str) -> list[float]:
        """Return the reported values of a task type in a column."""
        return self._reported(self._kinds_of_type.get(task_type, ()), lambda page: page.columns[column])

    def values_in(self, column: Column, task_type: str, state: str) -> list[float]:
        """Return the reported values of a task type's tasks in one state in a column."""
        return self._reported([(task_type, state)], lambda page: page.columns[column])

    def newest(self, column: Column, state: str) -> dict[str, float]:
        """Return the highest reported value of a column in `state`, by task type."""
        if (column, state) not in self._newest:
            self._newest[column, state] = {
                name: max(values)
                for name, its_state in self._parts
                if its_state == state and (values := self.values_in(column, name, state))
            }
        return self._newest[column, state]

    def texts_of(self, column: TextColumn) -> dict[str, Counter[str]]:
        """Count the tasks by each text of a text column, by task type."""
        return {
            name: Counter({self._texts[int(number)]: count for number, count in Counter(values).items()})
            for name, state in self._parts
            if state == column.state and (values := self.values_in(column, name, state))
        }

    def texts_by_state(self, column: TextColumn) -> dict[str, Counter[str]]:
        """Count the tasks by each text of a text column of all states, by state."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        # Most systems send no task-sent events. Then all tasks have the same text in the column of routing keys.
        common = array("d", self._common_value(column) or _NOTHING)[0]
        for name, state in self._parts:
            if math.isnan(common):
                numbers = Counter(self.values_in(column, name, state))
            else:
                numbers = Counter({common: self.count(name, state)})
            found[state].update({self._texts[int(number)]: count for number, count in numbers.items()})
        return found

    def _seconds(self, kinds: Iterable[tuple[str, str]]) -> list[float]:
        return self._reported(kinds, lambda page: page.seconds)

    def _reported(self, kinds: Iterable[tuple[str, str]], column_of: Callable[[TaskPage], array[float]]) -> list[float]:
        """Return the values of these kinds that were reported."""
        reported: list[float] = []
        for kind in kinds:
            for part in self._parts.get(kind, ()):
                values = part.pick(column_of(part.page))
                # Usually all are reported. Their sum shows it in a tenth of the time of looking at each.
                reported += [value for value in values if value <= math.inf] if math.isnan(sum(values)) else values
        return reported


def _picker(rows: list[int]) -> Callable[[array[float]], Sequence[float]]:
    """Return a function that picks these rows out of a column with one call."""
    if len(rows) > 1:
        return itemgetter(*rows)
    return lambda column: [column[row] for row in rows]
