"""One way down Flower's list, page by joined page.

`full_scrape` explains the steps.
"""

from __future__ import annotations

from itertools import islice

from push_job.flower.api import TASK_LIMIT, too_many_tasks
from push_job.flower.page import TaskPage
from push_job.flower.page_reader import PageReader
from push_job.flower.table import TaskTable

_LARGEST_OVERLAP = 100
_ANY_SIZE = 10**9


class PagesDoNotJoinError(Exception):
    """The list moved in a way that pages cannot follow; another attempt may succeed."""


class PagesAreNotEnoughError(Exception):
    """The server ignores offsets, or events move tasks to other places than the front."""


class Descent:
    """One way down the list from its front, page by joined page, into `tasks`.

    Attributes:
        end: the place after the last page.
        page: the last page.
        page_count: number of pages read.
        new: number of tasks read that were not known before.
        entered: number of tasks that entered the part already read, without having been read.
        at_end: whether the last page reached the end of the list.
        stalled: whether the last page ended among tasks that had been read.
        stalls: how often that happened.
        vanished: tasks that were read near the end of the list and are not there any more: forgotten or moved.
    """

    def __init__(self, reader: PageReader, tasks: TaskTable, first_page: int = _ANY_SIZE) -> None:
        self._reader = reader
        self._first_page = first_page
        self.tasks = tasks
        self._tail: dict[str, int] = {}
        self.end = 0
        self.page = TaskPage(tasks.shared)
        self.page_count = 0
        self.new = 0
        self.entered = 0
        self.stalled = False
        self.stalls = 0
        self.at_end = False
        self.vanished: list[str] = []

    def go_on_after(self, end: int, page_count: int, entered: int) -> None:
        """Continue another way down, which has read pages into `tasks`.

        Args:
            end: the place after the last of these pages.
            page_count: the number of these pages.
            entered: number of tasks that entered this part of the list without having been read.
        """
        self.end, self.page_count, self.entered = end, page_count, entered
        self._note_tail(self.tasks.compact(), self._reader.size)

    def read_page(self) -> None:
        """Read one more page.

        Raises:
            FlowerError: if the page cannot be read by the deadline, or if the list has too many tasks.
            PagesDoNotJoinError: if the page does not join the last one.
        """
        page, start, limit = self._joined_page() if self.page_count else self._page_at(0, self._first_page)
        ends_among_known = self.page_count > 0 and len(page) > 0 and next(reversed(page.rows)) in self.tasks
        self._inspect(page, start)
        # A first answer that is longer than requested comes from a server that ignores limits: it is the whole list.
        at_end = len(page) < limit or (self.page_count == 0 and len(page) > limit)
        if at_end and self.page_count:
            self.vanished = self.tasks.missing_at_end(page) or []
        self.new += self.tasks.merge(page, self._place_of_page())
        self._reader.progress(len(self.tasks))
        if len(self.tasks) > TASK_LIMIT:
            raise too_many_tasks()
        self.page = page
        self.page_count += 1
        self.at_end = at_end
        self.stalled = ends_among_known and not self.at_end
        self.stalls += self.stalled
        self.end = start + len(page)
        self._note_tail(page, limit)

    def _note_tail(self, page: TaskPage, limit: int) -> None:
        last_ids = islice(reversed(page.rows), overlap(limit))
        self._tail = {task_id: self.end - 1 - index for index, task_id in enumerate(last_ids)}

    def _place_of_page(self) -> int | None:
        """Return where the next page belongs among all pages: after them."""
        return None

    def _page_at(self, start: int, limit: int = _ANY_SIZE) -> tuple[TaskPage, int, int]:
        page, limit = self._reader.read(self.tasks, start, limit)
        return page, start, limit

    def _joined_page(self) -> tuple[TaskPage, int, int]:
        """Return the next page that has an anchor, its offset and its limit."""
        size = self._reader.size
        for offset in (self.end - overlap(size), self.end - size):
            page, start, limit = self._page_at(max(0, offset))
            if self._is_anchored(page):
                return page, start, limit
        raise PagesDoNotJoinError("a page has none of the tasks that ended the page before it")

    def _is_anchored(self, page: TaskPage) -> bool:
        """Return whether the page has an unchanged task.

        If unchanged tasks are from the tail of the last page, they must stand in the same order as there.
        """
        if places := self._places(page):
            former = [place for _, place in places]
            return former == sorted(former)
        return any(self.tasks.is_unchanged(task_id, page) for task_id in page.rows)

    def _places(self, page: TaskPage) -> list[tuple[int, int]]:
        """Return the places of the unchanged tasks of the last page's tail.

        Each item is the index of a task on this page and its former place in the list. The items are sorted by index.
        """
        return sorted(
            (page.rows[task_id], former)
            for task_id, former in self._tail.items()
            if task_id in page.rows and self.tasks.is_unchanged(task_id, page)
        )

    def _inspect(self, page: TaskPage, start: int) -> None:
        """Count the tasks that entered before the reader's position.

        The page must not have been merged yet.
        """
        if not (places := self._places(page)):
            return
        # The last unchanged task shows by how much the list was shifted. Tasks that moved to the front from before it
        # had been read, so they did not enter unread. The same holds for tasks from after it that are now before it.
        index, former = places[-1]
        strangers = sum(task_id not in self.tasks for task_id in islice(page.rows, index))
        after = (task_id for task_id, place in self._tail.items() if place > former)
        moved = sum(page.rows.get(task_id, -1) < index for task_id in after)
        self.entered += start + index - former - strangers - moved


class FrontDescent(Descent):
    """Another way down from the front, after `tasks` was read once.

    Attributes:
        seen: the tasks that it has read.
        moved: number of them that are new or changed.
        settled: whether it met a run of unchanged tasks.
    """

    def __init__(self, reader: PageReader, tasks: TaskTable, first_page: int) -> None:
        super().__init__(reader, tasks, first_page)
        self.seen: set[str] = set()
        self.moved = 0
        self.settled = False

    def _place_of_page(self) -> int | None:
        """Return where the next page belongs among all pages.

        It belongs after the pages of this descent and before all earlier ones.
        """
        return self.page_count

    def _is_anchored(self, page: TaskPage) -> bool:
        """Return whether the page has an anchor that this descent has read.

        A task that was only read earlier is no anchor, because it may stand after others that moved.
        """
        if self._places(page):
            return super()._is_anchored(page)
        return any(task_id in self.seen and self.tasks.is_unchanged(task_id, page) for task_id in page.rows)

    def _inspect(self, page: TaskPage, start: int) -> None:
        """Also look for the run of unchanged tasks that ends step 2."""
        super()._inspect(page, start)
        run, longest = 0, overlap(self._reader.size)
        for task_id in page.rows:
            unchanged = self.tasks.is_unchanged(task_id, page)
            self.moved += not unchanged
            # A task that this descent has read was unchanged since the last page only.
            run = run + 1 if unchanged and task_id not in self.seen else 0
            self.settled = self.settled or run >= longest
        self.seen.update(page.rows)


def overlap(page_size: int) -> int:
    """Return the number of tasks by which pages overlap."""
    return max(2, min(_LARGEST_OVERLAP, page_size // 4))
