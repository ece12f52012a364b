"""Full scrape: read every task of a Flower exactly once.

The tasks are read in pages, while the list moves.

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
front is read again, until a single page is enough, because a single page is
the list at one point in time.

Step 3, leave out what was forgotten. If tasks entered while pages were read,
Flower may have forgotten tasks at the end of its list. The end is read again,
and what is gone is not counted. If tasks came after step 2, they are not
counted. The same number of gone tasks is still counted instead.

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
from dataclasses import dataclass

from push_job import log
from push_job.flower.api import Flower
from push_job.flower.descent import Descent, FrontDescent, PagesAreNotEnoughError, PagesDoNotJoinError, overlap
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.page_reader import PageReader
from push_job.flower.table import TaskTable

_SMALLEST_FRONT = 500
_ANY_SIZE = 10**9

#: Attempts: of the whole scrape in pages, of reading the front, of finding the end, and of pages without progress.
_SCRAPE_ATTEMPTS = 2
_FRONT_ATTEMPTS = 4
_END_ATTEMPTS = 5
_STALL_LIMIT = 5


def scrape_all_tasks(
    flower: Flower, page_size: int | None, until: float, progress: Callable[[int], None] = lambda _: None
) -> TaskTable:
    """Read all tasks; see `FullScrape`."""
    return FullScrape(flower, page_size, until, progress).complete()


@dataclass(frozen=True)
class PagesRead:
    """The part of the list that a full scrape has read before its time ran out.

    Attributes:
        tasks: the tasks, in the order of the list.
        end: the place after the last page.
        page_count: number of pages.
        page_size: tasks per page.
        entered: number of tasks that entered this part without having been read.
    """

    tasks: TaskTable
    end: int
    page_count: int
    page_size: int
    entered: int


class FullScrape:
    """A full scrape in pages.

    If its time runs out, another one can go on after the pages that it has read. Tasks keep their places between two
    pages however long that takes, so the steps stay the same.

    Args:
        flower: the Flower.
        page_size: tasks per request; None to choose a size that suits Flower.
        until: deadline on the clock of ``time.monotonic()``.
        progress: called with the number of tasks read so far.
        earlier: what another scrape has read; None to begin at the front.

    Attributes:
        needed_one_request: whether pages were not enough.
    """

    def __init__(
        self,
        flower: Flower,
        page_size: int | None,
        until: float,
        progress: Callable[[int], None],
        earlier: PagesRead | None = None,
    ) -> None:
        self.needed_one_request = False
        self._reader = PageReader(flower, page_size, until, progress)
        self._down: Descent | None = None
        self._attempts = 0
        if earlier:
            self._reader.size = earlier.page_size
            self._down = Descent(self._reader, earlier.tasks)
            self._down.go_on_after(earlier.end, earlier.page_count, earlier.entered)

    @property
    def pages_read(self) -> PagesRead | None:
        """What has been read, if another scrape can go on after it."""
        down = self._down
        if down is None or not down.page_count:
            return None
        return PagesRead(down.tasks, down.end, down.page_count, self._reader.size, down.entered)

    def complete(self) -> TaskTable:
        """Read all tasks, or those that have not been read earlier.

        Raises:
            FlowerError: if it cannot be done by the deadline.
        """
        flower, reason = self._reader.flower, ""
        address = flower.client.endpoint.address
        while self._attempts < _SCRAPE_ATTEMPTS:
            try:
                tasks = self._read_pages()
            except PagesDoNotJoinError as error:
                reason = str(error)
                self._down, self._attempts = None, self._attempts + 1
                log.event(logging.WARNING, "list moved while pages were read", flower=address, reason=reason)
            except PagesAreNotEnoughError as error:
                reason = str(error)
                self._down, self._attempts = None, _SCRAPE_ATTEMPTS
            else:
                self._down = None  # frees the memory of the pages
                return tasks
        log.event(logging.WARNING, "reading all tasks in one request", flower=address, reason=reason)
        self.needed_one_request = True
        return scrape_in_one_request(flower, self._reader.until)

    def _read_pages(self) -> TaskTable:
        reader = self._reader
        # Step 1: read down.
        down = self._down = self._down or Descent(reader, TaskTable(SharedIndex()))
        while not down.at_end:
            down.read_page()
            if down.stalled:
                _check_stall(reader, down)
            if down.page_count == 1 and reader.flower.is_sorted and down.page.is_by_stamp():
                reader.enlarge()  # this Flower sorts all its tasks for every page
        if down.page_count == 1:
            return down.tasks
        # Steps 2 and 3. After an interruption, both are repeated from the start.
        reader.restore()
        tasks = down.tasks.copy()
        _read_front_again(reader, tasks, down)
        return tasks


def scrape_in_one_request(flower: Flower, until: float) -> TaskTable:
    """Read all tasks in one request.

    The result is always exact. During the request Flower answers nothing else.

    Raises:
        FlowerError: if it cannot be done by the deadline, on the clock of ``time.monotonic()``.
    """
    tasks = TaskTable(SharedIndex())
    tasks.merge(flower.client.retrying(lambda: flower.all_tasks(tasks.shared, until), until))
    return tasks


def _read_front_again(reader: PageReader, tasks: TaskTable, down: Descent) -> None:
    """Step 2: add the tasks that moved during `down`.

    Afterwards `tasks` is the list at the time when `down` ended.
    """
    missing, entered = down.entered, 0
    vanished = down.vanished
    for _ in range(_FRONT_ATTEMPTS):
        front = FrontDescent(reader, tasks, first_page=max(_SMALLEST_FRONT, 4 * missing))
        while not front.at_end and not (front.settled and front.moved >= entered):
            front.read_page()
            if front.page_count > 2 * down.page_count:
                raise PagesDoNotJoinError("its front changes faster than it can be read")
        vanished = [task_id for task_id in (*vanished, *front.vanished) if task_id not in front.seen]
        if front.page_count == 1 and front.at_end:
            tasks.replace_by(front.page)
            return
        if front.new < missing:
            # Some entered elsewhere than at the front, and may have moved since.
            raise PagesAreNotEnoughError(f"{missing} tasks entered the list, but {front.new} are new at its front")
        if front.page_count == 1:
            if len(tasks) != down.end:
                _leave_out_forgotten(reader, tasks, down.end, vanished)
            elif vanished:
                raise PagesAreNotEnoughError(f"{len(vanished)} tasks moved up in the list, but not to its front")
            return
        # More tasks moved while these pages were read. They are now before their former places.
        missing, entered = 0, front.entered
    raise PagesDoNotJoinError("its front changes faster than it can be read")


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
        raise PagesDoNotJoinError("the end of the list has moved")
    gone = [*dict.fromkeys((*(task_id for task_id in vanished if task_id not in page.rows), *missing))]
    listed = start + len(page)
    came_since = listed - (len(tasks) - len(gone))
    if came_since < 0:
        raise PagesAreNotEnoughError(f"it lists {listed} tasks, but {len(tasks)} were read and {len(gone)} are gone")
    tasks.drop(gone[: max(0, len(gone) - came_since)])


def _read_end(reader: PageReader, tasks: TaskTable, end: int) -> tuple[TaskPage, int]:
    """Return the page that reaches the end of the list, and its offset."""
    start = max(0, end - min(_SMALLEST_FRONT, reader.size // 2))
    for _ in range(_END_ATTEMPTS):
        page, limit = reader.read(tasks, start, _ANY_SIZE)
        if 0 < len(page) < limit:
            return page, start
        start = max(0, start + limit - overlap(limit) if page else start - limit // 2)
    raise PagesDoNotJoinError("the end of the list has moved")


def _check_stall(reader: PageReader, down: Descent) -> None:
    """Raise an error if pages stop making progress.

    Raises PagesAreNotEnoughError if the server ignores offsets. Raises PagesDoNotJoinError if the front has grown by a
    page too often.
    """
    if down.stalls == 1 and reader.ignores_offset(down.tasks):
        raise PagesAreNotEnoughError("it answers every page with its first one")
    if down.stalls > _STALL_LIMIT:
        raise PagesDoNotJoinError("its front grows faster than it can be read")
