"""Scrape the tasks of one Flower, incrementally where that can be proven complete."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from push_job import log
from push_job.flower import totals
from push_job.flower.api import Flower, FlowerError, optional_deadline
from push_job.flower.full_scrape import FullScrape, scrape_all_tasks, scrape_in_one_request
from push_job.flower.incremental.attempt import attempt
from push_job.flower.incremental.backoff import Backoff
from push_job.flower.incremental.counting import (
    compare_totals,
    continues_comparison,
    count_changes,
    count_full_scrape,
    start_totals,
)
from push_job.flower.incremental.differences import log_differences
from push_job.flower.incremental.event_balance import surplus_of_full_scrape
from push_job.flower.incremental.event_counts import EventCounts, read_event_counts
from push_job.flower.incremental.state import (
    COLUMNS,
    ScrapeState,
    UnfinishedScrape,
    is_same_process,
    merge_left_out,
    new_state,
)
from push_job.flower.incremental.state_file import StateFile
from push_job.flower.incremental.state_format import Saved
from push_job.flower.table import TaskTable
from push_job.flower.task import STATES
from push_job.flower.totals import COUNTED, Totals
from push_job.settings import PAGE_SIZE

#: With this number of tasks or fewer, a full scrape is one small page and costs no more than an incremental one.
FEW_TASKS = 1000


@dataclass(frozen=True)
class ScrapedTasks:
    """The result of scraping the tasks of a Flower.

    Attributes:
        tasks: all tasks.
        full: whether all of them were transferred.
        tasks_read: number of tasks that were transferred.
        totals: the totals, if they are wanted and the state could be used.
    """

    tasks: TaskTable
    full: bool
    tasks_read: int
    totals: Totals | None = None


class TaskScraper:
    """Scrapes one Flower cycle after cycle and keeps state.

    Args:
        full_every: interval in seconds between full scrapes; 0 keeps no state.
        file: where the state is kept between runs.
        buckets: upper bounds of the buckets of runtimes in seconds, if totals are counted; None if they are not.
    """

    def __init__(
        self, full_every: float, file: StateFile | None = None, buckets: tuple[float, ...] | None = None
    ) -> None:
        self._full_every = full_every
        self._file = file
        self._buckets = buckets
        self._is_loaded = False
        self._state: ScrapeState | None = None
        self._unfinished: UnfinishedScrape | None = None
        self._lock = threading.Lock()

    @property
    def keeps_state(self) -> bool:
        """Whether scrapes may be incremental."""
        return self._full_every > 0

    @property
    def kept(self) -> dict[str, dict[str, float]]:
        """Numbers that extras keep between cycles, by name and task type.

        Extras choose the names and may change the numbers.
        """
        return self._state.kept if self._state else {}

    def save(self) -> None:
        """Write the state file, if there is one."""
        if self._lock.acquire(blocking=False):
            try:
                self._save()
            finally:
                self._lock.release()

    def _save(self) -> None:
        if not self._file or not (self._state or self._unfinished):
            return
        if self._state:
            merge_left_out(self._state)
            count_changes(self._state)
        self._file.save(Saved(self._state, self._unfinished))

    def scrape(
        self, flower: Flower, page_size: int | None, until: float, progress: Callable[[int], None] = lambda _: None
    ) -> ScrapedTasks:
        """Scrape the tasks.

        Args:
            flower: the Flower.
            page_size: tasks per request; None to choose a size that suits Flower.
            until: deadline on the clock of ``time.monotonic()``.
            progress: called with the number of tasks read so far.

        Raises:
            FlowerError: if it cannot be done by the deadline.
        """
        # A scrape that was left behind at its deadline may still hold the state.
        if not self._full_every or not self._lock.acquire(blocking=False):
            return ScrapedTasks(scrape_all_tasks(flower, page_size, until, progress), True, flower.tasks_read)
        try:
            wanted = COLUMNS if self._buckets is None else (*COLUMNS, *totals.COLUMNS)
            flower.columns = tuple(dict.fromkeys((*flower.columns, *wanted)))
            if self._file and not self._is_loaded:
                (self._state, self._unfinished), self._is_loaded = self._file.load(flower.columns), True
                self._go_on_with_totals()
            read_before = flower.tasks_read
            full = self._unfinished is not None or not self._scrape_changes(flower, page_size or PAGE_SIZE, until)
            state = self._scrape_all(flower, page_size, until, progress) if full else self._known_state()
            return ScrapedTasks(state.tasks, full, flower.tasks_read - read_before, state.totals)
        finally:
            self._lock.release()

    def _known_state(self) -> ScrapeState:
        assert self._state is not None  # noqa: S101 - an incremental scrape has changed it
        count_changes(self._state)
        compare_totals(self._state, self._state, self._state.counts, None)
        return self._state

    def _go_on_with_totals(self) -> None:
        if self._state and self._state.totals and self._buckets is not None:
            self._state.totals.use_bounds(self._buckets)
            self._state.tasks.watch(COUNTED)

    def _scrape_changes(self, flower: Flower, page_size: int, until: float) -> bool:
        """Try an incremental scrape; return whether it succeeded. Raises FlowerError."""
        state = self._state
        if (
            state is None
            or state.counts is None
            or self._has_few_tasks(page_size)
            or not self._is_recent(state.full_at)
        ):
            return False
        if not state.incremental.allows_attempt():
            return False
        failure = attempt(flower, state, page_size, until)
        # A failed attempt costs Flower up to as much as the full scrape that follows.
        state.incremental.note(failure and failure.reason)
        if failure is None:
            return True
        log.event(
            failure.level,
            "incremental scrape not possible; reading all tasks",
            flower=flower.client.endpoint.address,
            reason=failure.reason,
            full_scrapes=1 + state.incremental.pause,
        )
        return False

    def _scrape_all(
        self, flower: Flower, page_size: int | None, until: float, progress: Callable[[int], None]
    ) -> ScrapeState:
        """Do a full scrape and make a new state of it. Raises FlowerError."""
        former = self._state
        few = self._has_few_tasks(page_size or PAGE_SIZE)
        before = None if few and self._buckets is None else self._counters(flower, until)
        pages, unfinished = former.pages if former else Backoff(), self._take_unfinished(before)
        if pages.allows_attempt():
            before = unfinished.before if unfinished else before
            scrape = FullScrape(flower, page_size, until, progress, unfinished.pages if unfinished else None)
            tasks = self._complete(flower, scrape, before)
            pages.note("pages are not enough" if scrape.needed_one_request else None)
        else:
            tasks, unfinished = scrape_in_one_request(flower, until), None
        after = self._counters(flower, until) if before and not (few and continues_comparison(former, before)) else None
        self._state = state = new_state(tasks, before, after, former)
        self._count_full_scrape(flower, former, state, before)
        state.pages = pages
        state.changes_by_events_alone = state.counts is not None and _changes_by_events_alone(flower, state, until)
        _compare(flower, former, state, after)
        self._follow_up(flower, state, page_size or PAGE_SIZE, until, goes_on=unfinished is not None)
        count_changes(state)
        compare_totals(former, state, before, after)
        return state

    def _count_full_scrape(
        self, flower: Flower, former: ScrapeState | None, state: ScrapeState, before: EventCounts | None
    ) -> None:
        if self._buckets is None:
            return
        count_full_scrape(former, state, before)
        if state.totals is None:
            reason = self._file.reason if self._file else "no state is kept between runs"
            start_totals(state, self._buckets, flower.client.endpoint.address, reason)

    def _follow_up(self, flower: Flower, state: ScrapeState, page_size: int, until: float, *, goes_on: bool) -> None:
        """Read the changes that happened during a full scrape.

        See `_prove` about a scrape that goes on from an earlier cycle.
        """
        if goes_on:
            self._prove(flower, state, page_size, until)
        elif state.counts and state.surplus and not state.incremental.pause:
            # Events came during the scrape. It is not known which of them the tasks show, so the balance of the next
            # scrape could not find a missed one among them. The one that follows here has far fewer events to consider.
            with contextlib.suppress(FlowerError):
                attempt(flower, state, page_size, until)

    def _prove(self, flower: Flower, state: ScrapeState, page_size: int, until: float) -> None:
        """Prove that a scrape of several cycles has seen every event since its first page.

        A task that a full scrape misses because clocks differ has a state that is a few seconds old. Here it would be
        as old as the first cycle.

        Raises:
            FlowerError: if that is not possible. The next cycle tries again.
        """
        if state.counts:
            state.incremental = Backoff()
            failure = attempt(flower, state, page_size, until)
            if failure is None:
                return
            reason = failure.reason
        else:
            reason = "its event counters could not be read again"
        raise FlowerError(f"it was read in several cycles, and something may have been missed: {reason}")

    def _take_unfinished(self, counts: EventCounts | None) -> UnfinishedScrape | None:
        """Return the full scrape of an earlier cycle, if it can be continued.

        That takes recent counters of the same process of Flower.
        """
        unfinished, self._unfinished = self._unfinished, None
        is_usable = unfinished and counts and counts.follows(unfinished.before) and self._is_recent(unfinished.at)
        return unfinished if is_usable else None

    def _complete(self, flower: Flower, scrape: FullScrape, before: EventCounts | None) -> TaskTable:
        """Read the tasks that remain.

        If that fails, keep the pages read so far for the next cycle. Raises FlowerError.
        """
        try:
            return scrape.complete()
        except FlowerError:
            pages = scrape.pages_read
            if before and before.started and pages:
                self._unfinished = UnfinishedScrape(pages, before, time.time())
                self._save()
                address = flower.client.endpoint.address
                log.event(logging.INFO, "full scrape interrupted; the next cycle continues it", flower=address)
            raise

    def _has_few_tasks(self, page_size: int) -> bool:
        return self._state is not None and len(self._state.tasks) <= min(FEW_TASKS, page_size)

    def _is_recent(self, at: float) -> bool:
        return 0 <= time.time() - at < self._full_every

    def _counters(self, flower: Flower, until: float) -> EventCounts | None:
        """Return the event counters, or None if they cannot be read.

        Without them the next scrape is full too.
        """
        try:
            return read_event_counts(flower, until)
        except FlowerError as error:
            address = flower.client.endpoint.address
            log.event(
                logging.DEBUG, "event counters not readable; the next scrape is full", flower=address, error=str(error)
            )
            return None


def _compare(flower: Flower, former: ScrapeState | None, state: ScrapeState, after: EventCounts | None) -> None:
    """Compare a full scrape with the state before it, if it is of the same process."""
    if former is None or former.counts is None or state.counts is None or not is_same_process(former, state.counts):
        return
    log_differences(flower, former, state, after)
    merge_left_out(former)
    came = state.counts.kinds_since(former.counts)
    state.surplus = surplus_of_full_scrape(former, state.tasks, came, state.surplus)


def _changes_by_events_alone(flower: Flower, state: ScrapeState, until: float) -> bool:
    """Return whether the list changes with events only (Flower 2.1 and later).

    These versions have an index of tasks. It ignores case, so a state in lower case is found. Older versions return no
    task for it, and their lists lose tasks whenever Python's garbage collector runs.
    """
    rarest = state.tasks.rarest_state()
    if not state.order.is_by_stamp or rarest not in STATES:
        return False
    try:
        return flower.has_task_in(rarest.lower(), optional_deadline(until))
    except FlowerError:
        return False
