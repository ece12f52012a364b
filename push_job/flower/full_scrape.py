"""Reads every task of a Flower exactly once, page by page, while Flower's list moves under the reader.

Flower is one thread: an answer with everything stalls it for seconds, so a large list is read in pages. The
pages are of different moments. How the count is exact all the same:

*What is known.* Each answer is one moment of the list. The list is ordered by each task's newest event, newest
first. A task without an event keeps its place among the others without one; a task with one moves to the
front; new tasks enter at the front. A full Flower forgets the tasks that it has known longest.

*Nothing is missed on the way down.* Each page begins a little before the end of the last one, and counts only if
it holds an *anchor*, a task that was read before and is just as it was. All that lies behind the anchor up
to the page's end is then on the page, so pages joined by anchors leave no gap between tasks that did not
move. Without an anchor the list has moved up (tasks were forgotten in front of the reader), so the reader
steps back a page; if that does not join either, the scan begins anew.

*Nothing is missed that moved.* What had an event during the scan lies in front of all that had none. So at the
end the front is read again, down to a run of tasks that are just as they were when an earlier reading passed them:
whatever moved there is counted in its newer state. What this reading itself has just read is no such task, and only
such a one is an anchor of its pages. If it took more than one page, it is done again, until one page, which is one
moment, suffices.

*Nothing is counted twice.* Tasks are kept by id; a later reading replaces an earlier one.

*It is the count of one moment*, the end of the scan. What Flower forgets meanwhile stood at the list's end: if anything
entered while pages were read, the end is read last, and what it does not hold any more is not counted. Each task that
is forgotten by then for one that came after the front was read is counted still, and that other one is not.

*Limits.* Where workers' clocks disagree (Flower up to 2.0 orders by Celery's logical clock, later ones by the
workers' time), an event can move a task not quite to the front. The run of unchanged tasks has to be
as long as the overlap; and if fewer new tasks are found at the front than are known to have entered in front of the
reader, or fewer in all than the list holds, or if tasks have left the list's end but neither for the front nor to be
forgotten, all is read again in one request. So such a task is missed only if as many are forgotten in front of the
reader, or as many new ones arrive at the front while that and the end are read again; its state may be the one it
had when the scan passed it, a few seconds ago.

A list that keeps to none of this (no Flower is known to) is read in one request, which is always exact; so is
that of a Flower up to 0.9.5, which ignores ``offset``. Each such request is a line in the log. The scan cannot go on
forever: each page gets on, or is one of a bounded number of tries, and there is a limit to the tasks and the time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice

from push_job import log
from push_job.flower.api import TASK_LIMIT, Flower, too_many_tasks
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.page_reader import Pages
from push_job.flower.table import TaskTable

_LARGEST_OVERLAP = 100
_SMALLEST_FRONT = 500
_ANY_SIZE = 10**9
_PAGED_TRIES = 2
_FRONT_TRIES = 4
_END_TRIES = 5
_STALLED_TRIES = 5


class _PagesDoNotJoinError(Exception):
    """The list moved in a way that pages cannot follow."""


class _PagesAreNotEnoughError(Exception):
    """The server ignores offsets, or events move its tasks to other places than the front."""


def scrape_all_tasks(
    flower: Flower, page_size: int | None, until: float, progress: Callable[[int], None] = lambda _: None
) -> TaskTable:
    """Read all tasks, `page_size` at a time, None for what suits Flower; `progress` is told how many were read so far.

    Raises FlowerError when it cannot be done by `until`, a moment of ``time.monotonic()``.
    """
    pages = Pages(flower, page_size, until, progress)
    address, reason = flower.client.endpoint.address, ""
    for _ in range(_PAGED_TRIES):
        try:
            return _scan_pages(pages)
        except _PagesDoNotJoinError as error:
            reason = str(error)
            log.event(logging.WARNING, "what was read in pages is read again", flower=address, reason=reason)
        except _PagesAreNotEnoughError as error:
            reason = str(error)
            break
    log.event(logging.WARNING, "all tasks are asked for in one request", flower=address, reason=reason)
    tasks = TaskTable(SharedIndex())
    tasks.merge(flower.client.retrying(lambda: flower.all_tasks(tasks.shared, until), until))
    return tasks


def _scan_pages(pages: Pages) -> TaskTable:
    tasks = TaskTable(SharedIndex())
    down = _Reading(pages, tasks)
    while not down.at_end:
        down.read_on()
        if down.stalled:
            _check_stall(pages, down)
        if down.page_count == 1 and pages.flower.is_new and down.page.is_by_stamp():
            pages.enlarge()  # it has sorted all its tasks for this page
    if down.page_count == 1:
        return tasks
    pages.restore()
    _read_front_again(pages, tasks, down)
    return tasks


def _read_front_again(pages: Pages, tasks: TaskTable, down: _Reading) -> None:
    """Count what moved while `down` was read; then the tasks are those that the list held when `down` ended."""
    missing, entered = down.entered, 0
    vanished = down.vanished
    for _ in range(_FRONT_TRIES):
        front = _FrontReading(pages, tasks, first_page=max(_SMALLEST_FRONT, 4 * missing))
        while not front.at_end and not (front.settled and front.moved >= entered):
            front.read_on()
            if front.page_count > 2 * down.page_count:
                raise _PagesDoNotJoinError("its front changes faster than it can be read")
        vanished = [task_id for task_id in (*vanished, *front.vanished) if task_id not in front.seen]
        if front.page_count == 1 and front.at_end:
            tasks.become(front.page)
            return
        if front.new < missing:
            # Some entered elsewhere than at the front, and may have moved on since.
            raise _PagesAreNotEnoughError(f"{missing} tasks entered the list, but {front.new} are new at its front")
        if front.page_count == 1:
            if len(tasks) != down.end:
                _leave_out_forgotten(pages, tasks, down.end, vanished)
            elif vanished:
                raise _PagesAreNotEnoughError(f"{len(vanished)} tasks moved up in the list, but not to its front")
            return
        # While those pages were read, more moved: they are in front of where they were read, new or not as they were.
        missing, entered = 0, front.entered
    raise _PagesDoNotJoinError("its front changes faster than it can be read")


def _leave_out_forgotten(pages: Pages, tasks: TaskTable, end: int, vanished: Iterable[str]) -> None:
    """Leave out what Flower has forgotten, by the end of its list, which was near the place `end` before.

    The `vanished` ones had gone from there by then, and were not found at the front.
    """
    page, start = _read_end(pages, tasks, end)
    missing = tasks.missing_at_the_end(page)
    if missing is None:
        raise _PagesDoNotJoinError("the list's end is not where it was")
    gone = [*dict.fromkeys((*(task_id for task_id in vanished if task_id not in page.rows), *missing))]
    held = start + len(page)
    came_since = held - (len(tasks) - len(gone))
    if came_since < 0:
        raise _PagesAreNotEnoughError(f"it lists {held} tasks, but {len(tasks)} were read and {len(gone)} are gone")
    tasks.drop(gone[: max(0, len(gone) - came_since)])


def _read_end(pages: Pages, tasks: TaskTable, end: int) -> tuple[TaskPage, int]:
    """The page that reaches the list's end, and the place where it begins."""
    start = max(0, end - min(_SMALLEST_FRONT, pages.size // 2))
    for _ in range(_END_TRIES):
        page, limit = pages.read(tasks, start, _ANY_SIZE)
        if 0 < len(page) < limit:
            return page, start
        start = max(0, start + limit - _overlap(limit) if page else start - limit // 2)
    raise _PagesDoNotJoinError("the list's end is not where it was")


def _check_stall(pages: Pages, down: _Reading) -> None:
    """A page ended among tasks that had been read: the front grew by a page, or the server ignores offsets."""
    if down.stalls == 1 and pages.offset_is_ignored(down.tasks):
        raise _PagesAreNotEnoughError("it answers every page with its first one")
    if down.stalls > _STALLED_TRIES:
        raise _PagesDoNotJoinError("its front grows faster than it can be read")


class _Reading:
    """One way down the list from its front, page by joined page, into `tasks`.

    `entered` is how many tasks came into the part already read without having been read themselves; `new` is how
    many tasks were read that were not known before; `end` is the place behind the last page, and `page` the last page
    itself; `stalled` is whether the last page ended where others had been, and
    `stalls` how often one did; `vanished` are those that had been read where the list's end then was, and were not
    there any more: forgotten, or moved.
    """

    def __init__(self, pages: Pages, tasks: TaskTable, first_page: int = _ANY_SIZE) -> None:
        self._pages = pages
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

    def read_on(self) -> None:
        """Read one more page. Raises FlowerError, or one of the two errors above."""
        page, start, limit = self._joined_page() if self.page_count else self._page_at(0, self._first_page)
        ends_among_known = self.page_count > 0 and len(page) > 0 and next(reversed(page.rows)) in self.tasks
        self._look_before_merging(page, start)
        # A first answer longer than asked for comes from a server that ignores limits: it is the whole list.
        at_end = len(page) < limit or (self.page_count == 0 and len(page) > limit)
        if at_end and self.page_count:
            self.vanished = self.tasks.missing_at_the_end(page) or []
        self.new += self.tasks.merge(page, self._place_of_page())
        self._pages.progress(len(self.tasks))
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
        """Where among all that was read the next page stands: below everything."""
        return None

    def _is_as_it_was(self, task_id: str, page: TaskPage) -> bool:
        return task_id in page.rows and self.tasks.has_unchanged(task_id, page)

    def _page_at(self, start: int, most: int = _ANY_SIZE) -> tuple[TaskPage, int, int]:
        page, limit = self._pages.read(self.tasks, start, most)
        return page, start, limit

    def _joined_page(self) -> tuple[TaskPage, int, int]:
        """The next page that has an anchor, and its offset and limit."""
        size = self._pages.size
        for offset in (self.end - _overlap(size), self.end - size):
            page, start, limit = self._page_at(max(0, offset))
            if self._is_anchored(page):
                return page, start, limit
        raise _PagesDoNotJoinError("a page holds none of the tasks that the page before it ended with")

    def _is_anchored(self, page: TaskPage) -> bool:
        """Whether tasks on the page are as they were before; the last page's must be in the order they had."""
        if places := self._places(page):
            former = [place for _, place in places]
            return former == sorted(former)
        return any(self.tasks.has_unchanged(task_id, page) for task_id in page.rows)

    def _places(self, page: TaskPage) -> list[tuple[int, int]]:
        """Where the unchanged tasks of the last page's tail are: index on this page, former place in the list."""
        return sorted(
            (page.rows[task_id], former) for task_id, former in self._tail.items() if self._is_as_it_was(task_id, page)
        )

    def _look_before_merging(self, page: TaskPage, start: int) -> list[tuple[int, int]]:
        """Count who entered in front of the reader; returns what `_places` does."""
        if places := self._places(page):
            # By the last one: what moved to the front from before it had been read, and so has not entered unread;
            # nor has what stood behind it at the last page's end, and does not now.
            index, former = places[-1]
            strangers = sum(task_id not in self.tasks for task_id in islice(page.rows, index))
            behind = (task_id for task_id, place in self._tail.items() if place > former)
            moved = sum(page.rows.get(task_id, -1) < index for task_id in behind)
            self.entered += start + index - former - strangers - moved
        return places


class _FrontReading(_Reading):
    """A way down from the front once more.

    `moved` is how many tasks were read that are new or not as they were; `settled` is whether a run of tasks that are
    as they were was met.
    """

    def __init__(self, pages: Pages, tasks: TaskTable, first_page: int) -> None:
        super().__init__(pages, tasks, first_page)
        self.seen: set[str] = set()
        self.moved = 0
        self.settled = False

    def _place_of_page(self) -> int | None:
        """Above all that was read before this reading."""
        return self.page_count

    def _is_anchored(self, page: TaskPage) -> bool:
        """As ever, but by what this reading has read: a task of an earlier one may lie behind others that moved."""
        if self._places(page):
            return super()._is_anchored(page)
        return any(task_id in self.seen and self.tasks.has_unchanged(task_id, page) for task_id in page.rows)

    def _look_before_merging(self, page: TaskPage, start: int) -> list[tuple[int, int]]:
        places = super()._look_before_merging(page, start)
        run, longest = 0, _overlap(self._pages.size)
        for task_id in page.rows:
            unchanged = self.tasks.has_unchanged(task_id, page)
            self.moved += not unchanged
            # What this reading has read is as it was a page ago, which says nothing about before.
            run = run + 1 if unchanged and task_id not in self.seen else 0
            self.settled = self.settled or run >= longest
        self.seen.update(page.rows)
        return places


def _overlap(page_size: int) -> int:
    """By how many tasks a page overlaps the last one."""
    return max(2, min(_LARGEST_OVERLAP, page_size // 4))
