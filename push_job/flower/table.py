"""The tasks of one Flower in columns, each task once.

A hundred thousand tasks are held by their ids and a few columns of numbers,
about 150 bytes each. A task that is read twice, because it moved while pages
were read, replaces its earlier version.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import takewhile

from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.table_values import Change, Content
from push_job.flower.task import FINAL_STATES, Column, TextColumn
from push_job.flower.tasks_by_kind import Tally, TasksByKind


class TaskTable:
    """The tasks of a Flower as they were last read, in the order of Flower's list.

    Each task is in one page. A page that is merged takes its tasks out of the
    earlier pages.

    Attributes:
        shared: values that the pages share.
        now: Flower's Unix time of the page that was merged last; ages count from it.
    """

    def __init__(self, shared: SharedIndex) -> None:
        self.shared = shared
        self.now = 0.0
        self._pages: list[TaskPage] = []
        self._watched: tuple[Column, ...] = ()
        self._former: dict[str, tuple[float, ...] | None] = {}

    def __len__(self) -> int:
        return sum(len(page.rows) for page in self._pages)

    def __iter__(self) -> Iterator[str]:
        """Yield the ids in list order."""
        for page in self._pages:
            yield from page.rows

    def __contains__(self, task_id: object) -> bool:
        return any(task_id in page.rows for page in self._pages)

    @property
    def page_count(self) -> int:
        """Number of pages that hold the tasks."""
        return len(self._pages)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that each task has."""
        return tuple(self._pages[0].columns) if self._pages else ()

    # Changing the table

    def merge(self, page: TaskPage, place: int | None = None) -> int:
        """Add a page, and return the number of its new tasks.

        The other tasks of the page replace their earlier versions.

        Args:
            page: the page.
            place: number of pages that stand before it in Flower's list; None for all.
        """
        self.now = page.now
        known: set[str] = set()
        if self._pages:
            ids = set(page.rows)  # a set keeps the hashes of its strings, which makes lookups faster
            known = {task_id for earlier in self._pages for task_id in earlier.rows.keys() & ids}
            if self._watched:
                self._keep_former(page, known)
            self.drop(known)
        self._pages.insert(len(self._pages) if place is None else place, page)
        return len(page.rows) - len(known)

    def copy(self) -> TaskTable:
        """Return a table with the same tasks that can be changed independently."""
        table = TaskTable(self.shared)
        table.now, table._pages = self.now, [page.copy() for page in self._pages]
        return table

    def drop(self, task_ids: Iterable[str]) -> None:
        """Remove tasks."""
        for task_id in task_ids:
            for page in self._pages:
                if page.rows.pop(task_id, None) is not None:
                    break

    def replace_by(self, page: TaskPage) -> None:
        """Keep the tasks of this page only; it has been merged before."""
        self._pages = [page]

    def compact(self) -> TaskPage:
        """Move all tasks into one page with a row for each, in list order, and return it."""
        if len(self._pages) == 1 and self._pages[0].is_compact():
            return self._pages[0]
        whole = TaskPage(self.shared, self.columns)
        while self._pages:
            whole.append(self._pages.pop(0))  # the memory of each page is free before the next one is copied
        self._pages = [whole]
        return whole

    def sort_by_stamp(self) -> None:
        """Sort all tasks by (stamp, id), descending, like Flower 2.2."""
        page = self.compact()
        rows, ids = page.rows, sorted(page.rows, reverse=True)
        ids.sort(key=lambda task_id: page.stamps[rows[task_id]], reverse=True)  # keeps the order of equal stamps
        page.rows = {task_id: rows[task_id] for task_id in ids}

    # Finding changes

    def watch(self, columns: tuple[Column, ...]) -> None:
        """Keep the former values of these columns of each merged task.

        They are kept until `take_changes` is called.
        """
        self._watched = columns

    def take_changes(self, text: TextColumn) -> list[Change]:
        """Return the tasks that have changed since the last call.

        These were merged since then, are still there, and have other values than then.
        """
        former, self._former = self._former, {}
        return self._changes(former, text)

    def changes_since(self, earlier: TaskTable, columns: tuple[Column, ...], text: TextColumn) -> list[Change]:
        """Watch these columns, and return the changes since an earlier table.

        Return the tasks that are new or have other values than in the earlier table. Tasks that were merged into that
        table since its last `take_changes` count as they were before.
        """
        self.watch(columns)
        earlier.compact()  # so that a task is found at once
        changed = earlier.changed(self.compact(), columns)
        former = {task_id: earlier._values_of(task_id, columns) for task_id in changed}
        return self._changes({**former, **earlier._former}, text)

    def values_of_missing(self, later: TaskTable) -> dict[str, tuple[float, ...]]:
        """Return the watched values of each task that a later table does not have.

        The values are those at the last `take_changes`.
        """
        missing = self.compact().rows.keys() - later.compact().rows.keys()
        former = {task_id: self._former.get(task_id, self._values_of(task_id, self._watched)) for task_id in missing}
        return {task_id: values for task_id, values in former.items() if values is not None}

    def _keep_former(self, page: TaskPage, known: set[str]) -> None:
        former = self._former
        for task_id in page.rows:
            if task_id not in former:
                former[task_id] = self._values_of(task_id, self._watched) if task_id in known else None

    def _values_of(self, task_id: str, columns: Iterable[Column]) -> tuple[float, ...] | None:
        found = self.find(task_id)
        return None if found is None else tuple(found[0].columns[column][found[1]] for column in columns)

    def _changes(self, former: Mapping[str, tuple[float, ...] | None], text: TextColumn) -> list[Change]:
        changes = []
        for task_id, known in former.items():
            found, values = self.find(task_id), self._values_of(task_id, self._watched)
            if found is not None and values is not None and values != known:
                page, row = found
                number = page.columns[text][row]
                name = "" if math.isnan(number) else self.shared.texts[int(number)]
                kind, stamp, seconds = self.shared.kinds[page.kinds[row]], page.stamps[row], page.seconds[row]
                changes.append(Change(task_id, kind, stamp, seconds, name, values, known))
        return changes

    # Looking up tasks

    def is_unchanged(self, task_id: str, page: TaskPage) -> bool:
        """Return whether the table has the task just as `page` has it."""
        found = self.find(task_id)
        if found is None:
            return False
        (earlier, known), row = found, page.rows[task_id]
        return earlier.stamps[known] == page.stamps[row] and earlier.kinds[known] == page.kinds[row]

    def changed(self, page: TaskPage, columns: Iterable[Column] = ()) -> list[str]:
        """Return the tasks of `page` that are new or differ from the table.

        They differ in type, state, stamp or one of `columns`.
        """
        rows, same = page.rows, set[str]()
        for earlier in self._pages:
            known, kinds, stamps = earlier.rows, earlier.kinds, earlier.stamps
            alike = {
                it
                for it in known.keys() & rows.keys()
                if page.stamps[rows[it]] == stamps[known[it]] and page.kinds[rows[it]] == kinds[known[it]]
            }
            for column in columns:
                values, former = page.columns[column], earlier.columns[column]
                alike = {it for it in alike if _is_same(values[rows[it]], former[known[it]])}
            same |= alike
        return [task_id for task_id in rows if task_id not in same]

    def find(self, task_id: str) -> tuple[TaskPage, int] | None:
        """Return the page and the row of a task; None if the table does not have it."""
        for page in self._pages:
            row = page.rows.get(task_id)
            if row is not None:
                return page, row
        return None

    def stamp_of(self, task_id: str) -> float | None:
        """Return a task's stamp (Unix time); None if the task is not in the table."""
        found = self.find(task_id)
        return None if found is None else found[0].stamps[found[1]]

    def highest(self, column: Column, excluded: Container[str]) -> float:
        """Return the highest value in a column, or 0.0 without tasks.

        The tasks in `excluded` are left out.
        """
        return max(
            (page.columns[column][row] for page in self._pages for it, row in page.rows.items() if it not in excluded),
            default=0.0,
        )

    def labels_of(self, task_id: str) -> tuple[str, str]:
        """Return a task's type and state. Raises KeyError."""
        found = self.find(task_id)
        if found is None:
            raise KeyError(task_id)
        page, row = found
        return self.shared.kinds[page.kinds[row]]

    def contents(self) -> Iterator[tuple[str, Content]]:
        """Yield the id and the content of each task."""
        for page in self._pages:
            for task_id, row in page.rows.items():
                yield task_id, self._content(page, row)

    def content_of(self, task_id: str) -> Content | None:
        """Return the content of a task, or None if the table does not have it."""
        found = self.find(task_id)
        return None if found is None else self._content(*found)

    def _content(self, page: TaskPage, row: int) -> Content:
        return Content(page.stamps[row], self.shared.kinds[page.kinds[row]], page.seconds[row])

    def ids_of_kinds(self, numbers: Container[int]) -> Iterator[str]:
        """Yield the ids of the tasks whose kind has one of these numbers."""
        for page in self._pages:
            yield from (task_id for task_id, row in page.rows.items() if page.kinds[row] in numbers)

    def rarest_state(self) -> str | None:
        """Return the state that the fewest tasks are in; None without tasks."""
        states: Counter[str] = Counter()
        for page in self._pages:
            for number, count in Counter(map(page.kinds.__getitem__, page.rows.values())).items():
                states[self.shared.kinds[number][1]] += count
        return min(states, key=states.__getitem__, default=None)

    def last_end(self) -> float | None:
        """Return the stamp (Unix time) of the last finished task of the list, or None."""
        finished = {number for number, kind in enumerate(self.shared.kinds) if kind[1] in FINAL_STATES}
        for page in reversed(self._pages):
            for row in reversed(page.rows.values()):
                if page.kinds[row] in finished:
                    return page.stamps[row]
        return None

    # Comparing with the end of Flower's list

    def missing_at_end(self, end: TaskPage, unplaced: Container[str] = ()) -> list[str] | None:
        """Return the tasks that are gone from the end of the list, the last one first.

        These are the tasks that stood after the first unchanged task of the page `end`, and are not on the page.

        Args:
            end: the page that reaches the end of the list.
            unplaced: tasks whose place is not known; they serve as no reference.

        Returns:
            The ids; None if the page has no unchanged task.
        """
        first = next((it for it in end.rows if it not in unplaced and self.is_unchanged(it, end)), None)
        if first is None:
            return None
        return [task_id for task_id in self._from_end_to(first) if task_id not in end.rows]

    def keeps_order(self, page: TaskPage, unplaced: Container[str] = ()) -> bool:
        """Return whether the unchanged tasks of `page` are in the order of the table."""
        same = [task_id for task_id in page.rows if task_id not in unplaced and self.is_unchanged(task_id, page)]
        known = set(same)
        return not same or [it for it in self._from_end_to(same[0]) if it in known] == same[:0:-1]

    def depth_of(self, task_id: str, end: TaskPage) -> int:
        """Return how many tasks of the page `end` stood after this one."""
        return sum(other in end.rows for other in self._from_end_to(task_id))

    def is_by_stamp(self) -> bool:
        """Return whether each page is sorted by (stamp, id), descending.

        The list of Flower 2.2 has this order.
        """
        return all(page.is_by_stamp() for page in self._pages)

    def _from_end_to(self, task_id: str) -> Iterator[str]:
        return takewhile(lambda other: other != task_id, self._from_end())

    def _from_end(self) -> Iterator[str]:
        for page in reversed(self._pages):
            yield from reversed(page.rows)

    # Counting

    def by_kind(self) -> TasksByKind:
        """Return the tasks grouped for counting.

        The table must not change while the result is used.
        """
        return TasksByKind(self._pages, self.shared.kinds, self.shared.texts, self.now)

    def tally(self) -> dict[tuple[str, str], Tally]:
        """Count the tasks and sum their seconds by kind."""
        return self.by_kind().tallies


def _is_same(value: float, former: float) -> bool:
    return value == former or (math.isnan(value) and math.isnan(former))
