"""The tasks of one answer of Flower as columns of numbers."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from operator import eq
from typing import Any

from push_job.flower.bulk_columns import IN_BULK
from push_job.flower.task import (
    CENTURY,
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

#: The task type and the custom state under which the rest is counted if there are too many of them.
OTHER_TYPES = "other"
OTHER_STATES = "OTHER"

#: The text under which the rest of a text column is counted, and how many different texts are kept.
OTHER_TEXTS = "other"
_TEXT_LIMIT = 10_000

#: Different pairs of task type and state that are kept while reading, to bound their memory.
_KIND_LIMIT = 60_000


class _KindNumbers(dict[tuple[Any, Any], int]):
    """Numbers of kinds; a new kind gets the next one, up to _KIND_LIMIT kinds."""

    def __init__(self, kinds: list[tuple[str, str]]) -> None:
        super().__init__((kind, number) for number, kind in enumerate(kinds))
        self._kinds = kinds

    def __missing__(self, kind: tuple[Any, Any]) -> int:
        """Return the number of a kind that is new or needs conversion to valid labels."""
        labels = label_text(kind[0], UNKNOWN_TYPE), label_text(kind[1], UNKNOWN_STATE)
        if labels not in self and len(self._kinds) >= _KIND_LIMIT:
            labels = OTHER_TYPES, labels[1] if labels[1] in STATES else OTHER_STATES
        if labels not in self:
            self[labels] = len(self._kinds)
            self._kinds.append(labels)
        return self[labels]


class _TextNumbers(dict[str, float]):
    """Numbers of texts; a new text gets the next one, up to _TEXT_LIMIT texts."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__((text, float(number)) for number, text in enumerate(texts))
        self._texts = texts

    def __missing__(self, text: str) -> float:
        if len(self._texts) >= _TEXT_LIMIT and text != OTHER_TEXTS:
            return self[OTHER_TEXTS]
        self[text] = number = float(len(self._texts))
        self._texts.append(text)
        return number


class SharedIndex:
    """Values that the pages of one scrape share, so that each is held once.

    A kind is a pair of task type and state. Kinds are numbered in order of
    appearance, and so are the texts of text columns.

    Attributes:
        rows: the integers from 0 on, one object each, to be used as row numbers.
        kinds: the kind of each number.
        texts: the text of each number.
    """

    def __init__(self, kinds: Iterable[tuple[str, str]] = (), texts: Iterable[str] = ()) -> None:
        self.rows: list[int] = []
        self.kinds = list(kinds)
        self._kind_numbers = _KindNumbers(self.kinds)
        self.texts = list(texts)
        self._text_numbers = _TextNumbers(self.texts)

    def kinds_of(self, tasks: Collection[TaskFields]) -> list[int]:
        """Return the number of each task's kind; name and state may be of any JSON type."""
        numbers = self._kind_numbers
        try:
            return [numbers[task.name, task.state] for task in tasks]
        except TypeError:  # a list or an object, which cannot be hashed
            return [numbers.__missing__((task.name, task.state)) for task in tasks]

    def values_of(self, column: Column, tasks: Collection[TaskFields]) -> list[float]:
        """Return the column's number of each task."""
        if isinstance(column, TextColumn):
            numbers, of, state = self._text_numbers, column.of, column.state
            if state is None:
                texts = column.of_many(tasks) if column.of_many else map(of, tasks)
                return [numbers[text] for text in texts]
            return [numbers[of(task)] if task.state == state else NOT_REPORTED for task in tasks]
        return IN_BULK[column](tasks) if column in IN_BULK else list(map(column, tasks))


class TaskPage:
    """The tasks of one answer, in Flower's order.

    Attributes:
        now: Flower's Unix time of the answer.
        rows: the row of each task in the columns, by task id.
        kinds: the number of each row's kind.
        seconds: the result of `seconds_of` for each row.
        stamps: Unix time of the event that Flower sorts the task by; 0.0 where there is none.
        columns: further values of each row.
        fields: the tasks as they were decoded, if `keep_fields`.
    """

    def __init__(
        self, shared: SharedIndex, columns: Iterable[Column] = (), now: float = 0.0, *, keep_fields: bool = False
    ) -> None:
        self._shared = shared
        self._keep_fields = keep_fields
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
        """Append decoded tasks."""
        if self._keep_fields:
            self.fields.update(tasks)
        first_row, shared = len(self), self._shared
        shared.rows.extend(range(len(shared.rows), first_row + len(tasks)))
        self.rows.update(zip(tasks, shared.rows[first_row : first_row + len(tasks)], strict=True))
        fields = tasks.values()
        self.kinds.fromlist(shared.kinds_of(fields))
        # Nearly every task is a success with a runtime. Calling a function for each would cost more than all the rest.
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
            values.fromlist(shared.values_of(column, fields))

    def append(self, page: TaskPage) -> None:
        """Append the remaining tasks of another page."""
        rows, first_row = list(page.rows.values()), len(self)
        self._shared.rows.extend(range(len(self._shared.rows), first_row + len(rows)))
        self.rows.update(zip(page.rows, self._shared.rows[first_row : first_row + len(rows)], strict=True))
        runs = _runs(rows)
        _extend(self.kinds, page.kinds, runs)
        _extend(self.seconds, page.seconds, runs)
        _extend(self.stamps, page.stamps, runs)
        for column, values in self.columns.items():
            _extend(values, page.columns[column], runs)

    def split(self, task_ids: Iterable[str]) -> TaskPage:
        """Move tasks into a page of their own, which shares the columns, and return it."""
        return self._with_rows({task_id: self.rows.pop(task_id) for task_id in task_ids})

    def copy(self) -> TaskPage:
        """Return a page with the same tasks, which shares the columns."""
        return self._with_rows(dict(self.rows))

    def _with_rows(self, rows: dict[str, int]) -> TaskPage:
        page = TaskPage(self._shared, (), self.now)
        page.kinds, page.seconds, page.stamps, page.columns = self.kinds, self.seconds, self.stamps, self.columns
        page.rows = rows
        return page

    def is_compact(self) -> bool:
        """Return whether each row has a task, and their order is that of the list."""
        return len(self.rows) == len(self) and all(map(eq, self.rows.values(), range(len(self))))

    def is_by_stamp(self) -> bool:
        """Return whether the tasks are sorted by (stamp, id), descending."""
        ids, stamps = list(self.rows), list(map(self.stamps.__getitem__, self.rows.values()))
        pairs = zip(stamps, stamps[1:], ids, ids[1:], strict=False)
        return all(stamp > later or (stamp == later and one > other) for stamp, later, one, other in pairs)


def _runs(rows: list[int]) -> list[slice]:
    """Return the rows as slices of neighbours.

    There are few slices. Copying a slice is much cheaper than copying rows.
    """
    ends = [place for place, (row, following) in enumerate(pairwise(rows), 1) if following != row + 1]
    return [slice(rows[first], rows[last - 1] + 1) for first, last in pairwise([0, *ends, len(rows)])] if rows else []


def _extend(values: array[Any], others: array[Any], runs: Iterable[slice]) -> None:
    for run in runs:
        values.extend(others[run])
