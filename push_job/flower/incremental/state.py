"""What is kept of one Flower from one scrape to the next."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from push_job.flower.full_scrape import PagesRead
from push_job.flower.incremental.backoff import Backoff
from push_job.flower.incremental.event_counts import EventCounts, EventKind
from push_job.flower.incremental.list_order import ListOrder, order_of
from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import Column, clock_of, received_of, retries_of, sent_at
from push_job.flower.totals import Totals

#: The fewest tasks that are read of the front and of the end of the list.
SMALLEST_FRONT = 300
SMALLEST_END = 300

#: Columns that incremental scrapes need of each task.
COLUMNS: tuple[Column, ...] = (received_of, sent_at, retries_of, clock_of)


@dataclass(frozen=True)
class UnfinishedScrape:
    """An interrupted full scrape, which the next cycle continues.

    Attributes:
        pages: what it has read.
        before: Flower's event counters before its first page.
        at: our Unix time at which it was interrupted.
    """

    pages: PagesRead
    before: EventCounts
    at: float


class NotProvenError(Exception):
    """It cannot be proven what changed; the message says why."""


@dataclass
class ScrapeState:
    """What is known of a Flower after a scrape.

    Attributes:
        tasks: the tasks.
        counts: the event counters, read before the tasks were; None if Flower does not export them.
        order: the order of Flower's list.
        full_at: our Unix time of the last full scrape.
        front: number of tasks to read of the front of the list.
        end: number of tasks to read of its end.
        surplus: number of events by kind that the tasks may already show although `counts` do not have them.
        left_out: tasks that came too late to be counted in the last scrape; they are counted from the next one on.
        sent_at: Unix time, by its own clock, at which each client is known to have sent a task.
        noted_sent_at: the same, noted during the current scrape and valid once that is complete.
        kept: numbers that extras keep by name and task type, for tasks that Flower may forget.
        has_room: whether Flower is known to remember more tasks without forgetting one.
        changes_by_events_alone: whether the list changes with events only (Flower 2.1 and later).
        unplaced: tasks whose place in the list is not known.
        incremental: when incremental scrapes are attempted.
        pages: when full scrapes attempt to read pages, and not all tasks in one request.
        totals: the totals, which have counted what `tasks` show; None if they are not wanted.
    """

    tasks: TaskTable
    counts: EventCounts | None
    order: ListOrder
    full_at: float
    front: int = SMALLEST_FRONT
    end: int = SMALLEST_END
    surplus: Counter[EventKind] = field(default_factory=Counter)
    left_out: list[TaskPage] = field(default_factory=list)
    sent_at: dict[str, float] = field(default_factory=dict)
    noted_sent_at: dict[str, float] = field(default_factory=dict)
    kept: dict[str, dict[str, float]] = field(default_factory=dict)
    has_room: bool = False
    changes_by_events_alone: bool = False
    unplaced: set[str] = field(default_factory=set)
    incremental: Backoff = field(default_factory=Backoff)
    pages: Backoff = field(default_factory=Backoff)
    totals: Totals | None = None


def merge_left_out(state: ScrapeState) -> None:
    """Add the tasks that were left out of the last scrape to the others."""
    for page in reversed(state.left_out):
        state.tasks.merge(page, 0)
        # Others that changed after them stood above them already.
        if not state.order.is_by_stamp:
            state.unplaced.update(page.rows)
    state.left_out = []


def new_state(
    tasks: TaskTable, before: EventCounts | None, after: EventCounts | None, former: ScrapeState | None
) -> ScrapeState:
    """Return the state after a full scrape.

    Args:
        tasks: the tasks that it read.
        before: the counters before it.
        after: the counters after it.
        former: the state before it.
    """
    order = order_of(tasks)
    tasks.compact()
    counts = before if before and after and after.follows(before) else None
    state = ScrapeState(tasks, counts, order, time.time())
    if counts and after:
        state.surplus = after.kinds_since(counts)
    if former:
        state.kept, state.incremental, state.totals = former.kept, former.incremental, former.totals
    if former and is_same_process(former, counts):
        state.sent_at = {**former.sent_at, **former.noted_sent_at}
    return state


def is_same_process(state: ScrapeState, counts: EventCounts | None) -> bool:
    """Return whether the counters are of the Flower process that the state is of."""
    return state.counts is not None and counts is not None and state.counts.started == counts.started
