"""The tasks of one scan, each held once.

A hundred thousand tasks are held by their ids with a few columns of numbers, about 150 bytes each, so that a
task that is read twice (it moved while pages were read) replaces what was read of it before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.task import Column
from push_job.flower.tasks_by_kind import Tally, TasksByKind


class Content(NamedTuple):
    """What is held of a task: its time stamp, its type and state, and its seconds or the start of its age."""

    stamp: float
    labels: tuple[str, str]
    seconds: float

    def counts_as(self, other: Content) -> bool:
        """Whether both come to the same samples."""
        both = self.seconds, other.seconds
        return self.labels == other.labels and (both[0] == both[1] or all(map(math.isnan, both)))


class TaskTable:
    """The tasks of a Flower, each once, as they were when they were last read.

    Each task is in one batch: a batch that has it again takes it out of the earlier one. `now` is Flower's Unix time of
    the one that was taken last, from which all ages count.
    """

    def __init__(self, shared: SharedIndex) -> None:
        self.shared = shared
        self.now = 0.0
        self._batches: list[TaskPage] = []

    def __len__(self) -> int:
        return sum(len(batch.rows) for batch in self._batches)

    def __iter__(self) -> Iterator[str]:
        """Their ids, in the list's order."""
        for batch in self._batches:
            yield from batch.rows

    def __contains__(self, task_id: object) -> bool:
        return any(task_id in batch.rows for batch in self._batches)

    def has_unchanged(self, task_id: str, batch: TaskPage) -> bool:
        """Whether the task was read before, and was then just as `batch` has it now."""
        row = batch.rows[task_id]
        for earlier in self._batches:
            former = earlier.rows.get(task_id)
            if former is not None:
                return earlier.stamps[former] == batch.stamps[row] and earlier.kinds[former] == batch.kinds[row]
        return False

    def content(self) -> dict[str, Content]:
        """What is held of each task, by its id."""
        return {
            task_id: Content(batch.stamps[row], self.shared.kinds[batch.kinds[row]], batch.seconds[row])
            for batch in self._batches
            for task_id, row in batch.rows.items()
        }

    def labels_of(self, task_id: str) -> tuple[str, str]:
        """A task's type and state. Raises KeyError."""
        batch = next((batch for batch in self._batches if task_id in batch.rows), None)
        if batch is None:
            raise KeyError(task_id)
        return self.shared.kinds[batch.kinds[batch.rows[task_id]]]

    def merge(self, batch: TaskPage, place: int | None = None) -> int:
        """Take a batch; what it says of a task replaces what was read before. Returns how many were new.

        `place` is how many of the batches stand in front of it in Flower's list; None for all of them.
        """
        self.now = batch.now
        again: set[str] = set()
        if self._batches:
            ids = set(batch.rows)  # quicker to look up in than a dict, which does not keep the hashes of strings
            again = {task_id for earlier in self._batches for task_id in earlier.rows.keys() & ids}
            self.drop(again)
        self._batches.insert(len(self._batches) if place is None else place, batch)
        return len(batch.rows) - len(again)

    def drop(self, task_ids: Iterable[str]) -> None:
        """Forget tasks."""
        for task_id in task_ids:
            for batch in self._batches:
                if batch.rows.pop(task_id, None) is not None:
                    break

    def missing_at_the_end(self, page: TaskPage, unplaced: Container[str] = ()) -> list[str] | None:
        """Which tasks are gone from the list's end, the last one first, if `page` holds it.

        They stood behind the first task on the page that is as it was, and none of the `unplaced` ones. None if there
        is no such task.
        """
        first = next((it for it in page.rows if it not in unplaced and self.has_unchanged(it, page)), None)
        if first is None:
            return None
        return [task_id for task_id in self._from_the_end_to(first) if task_id not in page.rows]

    def read_anew(self, task_ids: Iterable[str], batch: TaskPage) -> list[str]:
        """Those that are new in `batch` or not as they were."""
        return [task_id for task_id in task_ids if not self.has_unchanged(task_id, batch)]

    def value_of(self, column: Column, task_id: str) -> float | None:
        """The value of a column of one task, or None for one that is not known."""
        for batch in self._batches:
            row = batch.rows.get(task_id)
            if row is not None:
                return batch.columns[column][row]
        return None

    def stamp_of(self, task_id: str) -> float | None:
        """The time stamp of a task, a Unix time; None for one that is not known."""
        batch = next((batch for batch in self._batches if task_id in batch.rows), None)
        return None if batch is None else batch.stamps[batch.rows[task_id]]

    def are_by_stamp(self) -> bool:
        """Whether each batch is in the order of its time stamps and ids, as Flower 2.2 answers."""
        return all(batch.is_by_stamp() for batch in self._batches)

    def close_ranks(self) -> None:
        """Hold all in one batch, without what earlier ones still hold of tasks that were read again."""
        whole = TaskPage(self.shared, self._batches[0].columns if self._batches else ())
        for batch in self._batches:
            whole.take(batch)
        self._batches = [whole]

    def as_one_batch(self) -> tuple[list[str], TaskPage]:
        """Their ids, and the batch that holds them in the same order."""
        self.close_ranks()
        return list(self), self._batches[0]

    @property
    def batch_count(self) -> int:
        """How many batches they are in."""
        return len(self._batches)

    def are_in_order(self, page: TaskPage, unplaced: Container[str] = ()) -> bool:
        """Whether those on the page that are as they were stand in the order that they had, `unplaced` ones aside."""
        same = [task_id for task_id in page.rows if task_id not in unplaced and self.has_unchanged(task_id, page)]
        known = set(same)
        return not same or [it for it in self._from_the_end_to(same[0]) if it in known] == same[:0:-1]

    def depth_of(self, task_id: str, end: TaskPage) -> int:
        """How many tasks of the list's end stand behind this one."""
        return sum(other in end.rows for other in self._from_the_end_to(task_id))

    def rarest_state(self) -> str | None:
        """The state that the fewest are in."""
        states: Counter[str] = Counter()
        for batch in self._batches:
            for number, count in Counter(map(batch.kinds.__getitem__, batch.rows.values())).items():
                states[self.shared.kinds[number][1]] += count
        return min(states, key=states.__getitem__, default=None)

    def sort_by_stamp(self) -> None:
        """Put all in the order of `are_by_stamp`."""
        _, batch = self.as_one_batch()
        by_stamp = sorted(zip(map(batch.stamps.__getitem__, batch.rows.values()), batch.rows.items(), strict=True))
        batch.rows = {task_id: row for _, (task_id, row) in reversed(by_stamp)}

    def of_kinds(self, numbers: Container[int]) -> Iterator[str]:
        """The ids of those whose type and state have one of these numbers."""
        for batch in self._batches:
            yield from (task_id for task_id, row in batch.rows.items() if batch.kinds[row] in numbers)

    def _from_the_end_to(self, task_id: str) -> Iterator[str]:
        return takewhile(lambda other: other != task_id, self._from_the_end())

    def _from_the_end(self) -> Iterator[str]:
        for batch in reversed(self._batches):
            yield from reversed(batch.rows)

    def become(self, batch: TaskPage) -> None:
        """Be the tasks of this batch alone, which has been merged before."""
        self._batches = [batch]

    def by_kind(self) -> TasksByKind:
        """The tasks as they are now, to be counted and summed; they must not change meanwhile."""
        return TasksByKind(self._batches, self.shared.kinds, self.shared.texts, self.now)

    def tally(self) -> dict[tuple[str, str], Tally]:
        """Count the tasks and sum their seconds by (task type, state)."""
        return self.by_kind().tally()
