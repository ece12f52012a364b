"""The tasks of one answer of Flower's as columns of numbers, and what the answers of a scan share."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import pairwise
from typing import Any

from push_job.flower.task import (
    CENTURY,
    IN_BULK,
    NOT_REPORTED,
    STATES,
    UNKNOWN_STATE,
    UNKNOWN_TYPE,
    Column,
    TaskFields,
    TextColumn,
    label_text,
    seconds_of,
    stamp_of,
)

#: Where task types, and custom states, are summed when there are too many of them.
OTHER_TYPES = "other"
OTHER_STATES = "OTHER"

#: What texts of a column beyond the number of those that are told apart are counted as.
OTHER_TEXTS = "other"
_MOST_TEXTS = 10_000

#: The most pairs of type and state that are told apart while reading, to bound the memory they take.
_MOST_KINDS = 60_000


class _Numbers(dict[tuple[Any, Any], int]):
    """Numbers by what they are of; those that are not there are looked up by `otherwise`."""

    def __init__(self, otherwise: Callable[[tuple[Any, Any]], int]) -> None:
        super().__init__()
        self._otherwise = otherwise

    def __missing__(self, kind: tuple[Any, Any]) -> int:
        return self._otherwise(kind)


class SharedIndex:
    """What the batches of one scan share, so that it is held once: numbers for rows and for kinds of task.

    A kind is a pair of task type and state, numbered in the order of appearance; so are the texts of columns.
    """

    def __init__(self, kinds: Iterable[tuple[str, str]] = (), texts: Iterable[str] = ()) -> None:
        self.rows: list[int] = []
        self.kinds = list(kinds)
        self._numbers = _Numbers(self._number_of_other)
        self._numbers.update({labels: number for number, labels in enumerate(self.kinds)})
        self.texts = list(texts)
        self._text_numbers = {text: float(number) for number, text in enumerate(self.texts)}

    def of_kinds(self, tasks: Collection[TaskFields]) -> list[int]:
        """The numbers of the tasks' kinds, of any JSON type; equal labels have equal numbers."""
        numbers = self._numbers
        try:
            return [numbers[task.name, task.state] for task in tasks]
        except TypeError:  # a list or an object, which has no hash
            return [self._number_of_other((task.name, task.state)) for task in tasks]

    def _number_of_other(self, kind: tuple[Any, Any]) -> int:
        """The number of a pair that may be new, or no label as it was read."""
        labels = label_text(kind[0], UNKNOWN_TYPE), label_text(kind[1], UNKNOWN_STATE)
        numbers = self._numbers
        if labels not in numbers and len(self.kinds) >= _MOST_KINDS:
            labels = OTHER_TYPES, labels[1] if labels[1] in STATES else OTHER_STATES
        if labels not in numbers:
            numbers[labels] = len(self.kinds)
            self.kinds.append(labels)
        return numbers[labels]

    def of_column(self, column: Column, tasks: Collection[TaskFields]) -> list[float]:
        """The numbers of the tasks that the column's array holds."""
        if isinstance(column, TextColumn):
            number, of, state = self._text_number, column.of, column.state
            return [number(of(task)) if task.state == state else NOT_REPORTED for task in tasks]
        return IN_BULK[column](tasks) if column in IN_BULK else list(map(column, tasks))

    def _text_number(self, text: str) -> float:
        if text not in self._text_numbers and len(self.texts) >= _MOST_TEXTS:
            text = OTHER_TEXTS
        if text not in self._text_numbers:
            self._text_numbers[text] = float(len(self.texts))
            self.texts.append(text)
        return self._text_numbers[text]


class TaskPage:
    """The tasks of one answer, in the server's order.

    `rows` has each task's row in the columns by its id; `stamps` are the Unix times of the events that the tasks are
    ordered by, 0.0 where there is none. `seconds` are those of `seconds_of`, and `now` is Flower's Unix time of the
    answer. `fields` has the tasks as they were read, if asked to keep them.
    """

    def __init__(
        self, shared: SharedIndex, columns: Iterable[Column] = (), now: float = 0.0, *, keep: bool = False
    ) -> None:
        self._interned = shared
        self._keep = keep
        self.now = now
        self.fields: dict[str, TaskFields] = {}
        self.rows: dict[str, int] = {}
        self.kinds = array("I")
        self.seconds = array("d")
        self.stamps = array("d")
        self.columns = {column: array("d") for column in columns}

    def __len__(self) -> int:
        return len(self.kinds)

    def add(self, tasks: Mapping[str, TaskFields]) -> None:
        """Take tasks by id."""
        if self._keep:
            self.fields.update(tasks)
        first_row, shared = len(self), self._interned
        shared.rows.extend(range(len(shared.rows), first_row + len(tasks)))
        self.rows.update(zip(tasks, shared.rows[first_row : first_row + len(tasks)], strict=True))
        fields = tasks.values()
        self.kinds.fromlist(shared.of_kinds(fields))
        # Nearly every task is a success with a runtime; a call for each would cost more than all the rest.
        self.seconds.fromlist(
            [
                runtime
                if type(runtime := task.runtime) is float
                and runtime >= 0.0
                and task.state == "SUCCESS"
                and runtime <= CENTURY
                else seconds_of(task)
                for task in fields
            ]
        )
        self.stamps.fromlist([stamp if type(stamp := task.timestamp) is float else stamp_of(stamp) for task in fields])
        for column, values in self.columns.items():
            values.fromlist(shared.of_column(column, fields))

    def take(self, batch: TaskPage) -> None:
        """Take all that another one still has, behind what there is."""
        rows, first_row = list(batch.rows.values()), len(self)
        self._interned.rows.extend(range(len(self._interned.rows), first_row + len(rows)))
        self.rows.update(zip(batch.rows, self._interned.rows[first_row : first_row + len(rows)], strict=True))
        runs = _runs(rows)
        _extend(self.kinds, batch.kinds, runs)
        _extend(self.seconds, batch.seconds, runs)
        _extend(self.stamps, batch.stamps, runs)
        for column, values in self.columns.items():
            _extend(values, batch.columns[column], runs)

    def is_by_stamp(self) -> bool:
        """Whether its tasks are in the order of their time stamps, those of one stamp by id, both descending."""
        ids, stamps = list(self.rows), list(map(self.stamps.__getitem__, self.rows.values()))
        pairs = zip(stamps, stamps[1:], ids, ids[1:], strict=False)
        return all(stamp > later or (stamp == later and one > other) for stamp, later, one, other in pairs)


def _runs(rows: list[int]) -> list[slice]:
    """The rows as slices of neighbours, which are few: a copy of each costs a tenth of one for each row."""
    ends = [place for place, (row, following) in enumerate(pairwise(rows), 1) if following != row + 1]
    return [slice(rows[first], rows[last - 1] + 1) for first, last in pairwise([0, *ends, len(rows)])] if rows else []


def _extend(values: array[Any], others: array[Any], runs: Iterable[slice]) -> None:
    for run in runs:
        values.extend(others[run])
