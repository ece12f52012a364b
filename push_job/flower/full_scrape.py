"""Full scrape: read every task of a Flower exactly once, in pages, while the list moves.

Flower has one thread, and an answer with all tasks stalls it for seconds.
Therefore a large list is read in pages. Each page is the list at one point in
time, but different pages are of different times.

Facts used: The list is sorted by each task's newest event, newest first. A task
without a new event keeps its place relative to the others without one. A task
with a new event moves to the front, and new tasks enter at the front. A full
Flower forgets the tasks that it has known longest.

Step 1, read down. Each page starts a little before the end of the last one. It
is accepted only if it holds an *anchor*: a task that was read before and is
unchanged. Everything from the anchor to the end of the page is then on the page,
so pages joined by anchors leave no gap between tasks that did not move. Without
an anchor the list has moved up, because tasks were forgotten before the reader's
position. The reader then goes back by one page; if that page has no anchor
either, the scrape starts again.

Step 2, read the front again. A task that had an event during step 1 now stands
before all tasks that had none. So the front is read again, down to a run of
unchanged tasks as long as the overlap of two pages. Only tasks from before this
reading count for the run, and as anchors. If that took more than one page, the
front is read once more, until a single page is enough, because a single page is
the list at one point in time.

Step 3, leave out what was forgotten. If tasks entered while pages were read,
Flower may have forgotten tasks at the end of its list. The end is read again,
and what is gone is not counted. If tasks came after step 2, as many of the gone
tasks are still counted as new ones are not.

Tasks are kept by id, and a later version replaces an earlier one, so none is
counted twice. The result is the list at the end of the scrape.

Limits: Flower up to 2.0.1 sorts by Celery's logical clock, later versions by the
workers' time. If the clocks of workers differ, an event can move a task to a
place behind the front. The scrape notices this if fewer new tasks are found at
the front than entered, fewer in total than the list holds, or if tasks left the
end of the list and are neither at the front nor forgotten. Then all tasks are
read in one request, which is always exact. Such a task is missed only if an
equal number of tasks is forgotten or arrives at the same time; its state is then
a few seconds old.

A Flower up to 0.9.5 ignores ``offset``, so all its tasks are read in one request
too. Each such request is logged. The scrape always ends: every page makes
progress or uses up one of a fixed number of attempts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice

from push_job import log
from push_job.flower.api import TASK_LIMIT, Flower, too_many_tasks
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.page_reader import PageReader
from push_job.flower.table import TaskTable

_LARGEST_OVERLAP = 100
_SMALLEST_FRONT = 500
_ANY_SIZE = 10**9

#: Attempts: of the whole scrape in pages, of reading the front, of finding the end, and of pages without progress.
_SCRAPE_ATTEMPTS = 2
_FRONT_ATTEMPTS = 4
_END_ATTEMPTS = 5
_STALL_LIMIT = 5


class _PagesDoNotJoinError(Exception):
    """The list moved in a way that pages cannot follow; another attempt may succeed."""


class _PagesAreNotEnoughError(Exception):
    """The server ignores offsets, or events move tasks to other places than the front."""


def scrape_all_tasks(
    flower: Flower, page_size: int | None, until: float, progress: Callable[[int], None] = lambda _: None
) -> TaskTable:
    """Read all tasks.

    Args:
        flower: the Flower.
        page_size: tasks per request; None to choose a size that suits Flower.
        until: deadline on the clock of ``time.monotonic()``.
        progress: called with the number of tasks read so far.

    Raises:
        FlowerError: if it cannot be done by the deadline.
    """
    reader = PageReader(flower, page_size, until, progress)
    address, reason = flower.client.endpoint.address, ""
    for _ in range(_SCRAPE_ATTEMPTS):
        try:
            return _scrape_in_pages(reader)
        except _PagesDoNotJoinError as error:
            reason = str(error)
            log.event(logging.WARNING, "list moved while read; reading pages again", flower=address, reason=reason)
        except _PagesAreNotEnoughError as error:
            reason = str(error)
            break
    log.event(logging.WARNING, "reading all tasks in one request", flower=address, reason=reason)
    tasks = TaskTable(SharedIndex())
    tasks.merge(flower.client.retrying(lambda: flower.all_tasks(tasks.shared, until), until))
    return tasks


def _scrape_in_pages(reader: PageReader) -> TaskTable:
    tasks = TaskTable(SharedIndex())
    # Step 1: read down.
    down = _Descent(reader, tasks)
    while not down.at_end:
        down.read_page()
        if down.stalled:
            _check_stall(reader, down)
        if down.page_count == 1 and reader.flower.is_sorted and down.page.is_by_stamp():
            reader.enlarge()  # this Flower sorts all its tasks for every page
    if down.page_count > 1:
        reader.restore()
        _read_front_again(reader, tasks, down)
    return tasks


def _read_front_again(reader: PageReader, tasks: TaskTable, down: _Descent) -> None:
    """Step 2: add what moved during `down`; then `tasks` is the list at the time when `down` ended."""
    missing, entered = down.entered, 0
    vanished = down.vanished
    for _ in range(_FRONT_ATTEMPTS):
        front = _FrontDescent(reader, tasks, first_page=max(_SMALLEST_FRONT, 4 * missing))
        while not front.at_end and not (front.settled and front.moved >= entered):
            front.read_page()
            if front.page_count > 2 * down.page_count:
                raise _PagesDoNotJoinError("its front changes faster than it can be read")
        vanished = [task_id for task_id in (*vanished, *front.vanished) if task_id not in front.seen]
        if front.page_count == 1 and front.at_end:
            tasks.replace_by(front.page)
            return
        if front.new < missing:
            # Some entered elsewhere than at the front, and may have moved since.
            raise _PagesAreNotEnoughError(f"{missing} tasks entered the list, but {front.new} are new at its front")
        if front.page_count == 1:
            if len(tasks) != down.end:
                _leave_out_forgotten(reader, tasks, down.end, vanished)
            elif vanished:
                raise _PagesAreNotEnoughError(f"{len(vanished)} tasks moved up in the list, but not to its front")
            return
        # More tasks moved while these pages were read. They are now before their former places.
        missing, entered = 0, front.entered
    raise _PagesDoNotJoinError("its front changes faster than it can be read")


def _leave_out_forgotten(reader: PageReader, tasks: TaskTable, end: int, vanished: Iterable[str]) -> None:
    """Step 3: leave out what Flower has forgotten.

    Args:
        reader: reads the end of the list.
        tasks: the table to change.
        end: the place where the list ended before.
        vanished: tasks that were gone from there by then and were not found at the front.
    """
    page, start = _read_end(reader, tasks, end)
    missing = tasks.missing_at_end(page)
    if missing is None:
        raise _PagesDoNotJoinError("the end of the list has moved")
    gone = [*dict.fromkeys((*(task_id for task_id in vanished if task_id not in page.rows), *missing))]
    listed = start + len(page)
    came_since = listed - (len(tasks) - len(gone))
    if came_since < 0:
        raise _PagesAreNotEnoughError(f"it lists {listed} tasks, but {len(tasks)} were read and {len(gone)} are gone")
    tasks.drop(gone[: max(0, len(gone) - came_since)])


def _read_end(reader: PageReader, tasks: TaskTable, end: int) -> tuple[TaskPage, int]:
    """Return the page that reaches the end of the list, and its offset."""
    start = max(0, end - min(_SMALLEST_FRONT, reader.size // 2))
    for _ in range(_END_ATTEMPTS):
        page, limit = reader.read(tasks, start, _ANY_SIZE)
        if 0 < len(page) < limit:
            return page, start
        start = max(0, start + limit - _overlap(limit) if page else start - limit // 2)
    raise _PagesDoNotJoinError("the end of the list has moved")


def _check_stall(reader: PageReader, down: _Descent) -> None:
    """Raise if pages stop making progress: the front grew by a page, or the server ignores offsets."""
    if down.stalls == 1 and reader.ignores_offset(down.tasks):
        raise _PagesAreNotEnoughError("it answers every page with its first one")
    if down.stalls > _STALL_LIMIT:
        raise _PagesDoNotJoinError("its front grows faster than it can be read")


class _Descent:
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

    def read_page(self) -> None:
        """Read one more page. Raises FlowerError, _PagesDoNotJoinError or _PagesAreNotEnoughError."""
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
        last_ids = islice(reversed(page.rows), _overlap(limit))
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
        for offset in (self.end - _overlap(size), self.end - size):
            page, start, limit = self._page_at(max(0, offset))
            if self._is_anchored(page):
                return page, start, limit
        raise _PagesDoNotJoinError("a page has none of the tasks that ended the page before it")

    def _is_anchored(self, page: TaskPage) -> bool:
        """Return whether the page has unchanged tasks; those of the last page must stand in the same order."""
        if places := self._places(page):
            former = [place for _, place in places]
            return former == sorted(former)
        return any(self.tasks.is_unchanged(task_id, page) for task_id in page.rows)

    def _places(self, page: TaskPage) -> list[tuple[int, int]]:
        """Return the index on this page and the former place of each unchanged task of the last page's tail."""
        return sorted(
            (page.rows[task_id], former)
            for task_id, former in self._tail.items()
            if task_id in page.rows and self.tasks.is_unchanged(task_id, page)
        )

    def _inspect(self, page: TaskPage, start: int) -> None:
        """Count the tasks that entered before the reader's position, before the page is merged."""
        if not (places := self._places(page)):
            return
        # The last unchanged task shows by how much the list was shifted. Tasks that moved to the front from before it
        # had been read, so they did not enter unread. The same holds for tasks from after it that are now before it.
        index, former = places[-1]
        strangers = sum(task_id not in self.tasks for task_id in islice(page.rows, index))
        after = (task_id for task_id, place in self._tail.items() if place > former)
        moved = sum(page.rows.get(task_id, -1) < index for task_id in after)
        self.entered += start + index - former - strangers - moved


class _FrontDescent(_Descent):
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
        """Return where the next page belongs: after this descent's pages, before all earlier ones."""
        return self.page_count

    def _is_anchored(self, page: TaskPage) -> bool:
        """Accept only anchors that this descent has read: an earlier task may stand after others that moved."""
        if self._places(page):
            return super()._is_anchored(page)
        return any(task_id in self.seen and self.tasks.is_unchanged(task_id, page) for task_id in page.rows)

    def _inspect(self, page: TaskPage, start: int) -> None:
        """Also look for the run of unchanged tasks that ends step 2."""
        super()._inspect(page, start)
        run, longest = 0, _overlap(self._reader.size)
        for task_id in page.rows:
            unchanged = self.tasks.is_unchanged(task_id, page)
            self.moved += not unchanged
            # A task that this descent has read was unchanged since the last page only.
            run = run + 1 if unchanged and task_id not in self.seen else 0
            self.settled = self.settled or run >= longest
        self.seen.update(page.rows)


def _overlap(page_size: int) -> int:
    """Return the number of tasks by which pages overlap."""
    return max(2, min(_LARGEST_OVERLAP, page_size // 4))
