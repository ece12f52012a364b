"""Steps 4 and 5 of the proof: the front of the list, and the counters after it.

Arguments called `until` are deadlines on the clock of ``time.monotonic()``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice

from push_job.flower.api import Flower, FlowerError
from push_job.flower.incremental.event_balance import events_on_pages, hidden_renamings
from push_job.flower.incremental.event_counts import EventCounts, EventKind, Sender, read_event_counts
from push_job.flower.incremental.senders import counted_senders, has_unnamed, note_clients, unsettled_senders
from push_job.flower.incremental.state import NotProvenError, ScrapeState
from push_job.flower.page import TaskPage

_FRONT_ATTEMPTS = 6
_COUNTER_ATTEMPTS = 5

#: Limits for reading the front again, to find events that came after the page: seconds of Flower's CPU time, and events
#: per page, because a busier Flower stays ahead of each new page.
_REREAD_CPU = 0.1
_REREAD_EVENTS = 50

_MAY_BE_HIDDEN = "an event that renames a task may be hidden among those that came meanwhile"

#: Senders whose own pages are requested.
_SENDER_LIMIT = 8


@dataclass(frozen=True)
class Front:
    """The front of the list.

    Attributes:
        page: the front page.
        counts_before: the counters before it.
        counts: the counters after it.
        shown: the result of `events_on_pages` for it.
        unsettled: the senders that it does not settle.
        hidden: the result of `hidden_renamings` that all pages of the front have in common.
    """

    page: TaskPage
    counts_before: EventCounts
    counts: EventCounts
    shown: Counter[EventKind]
    unsettled: list[Sender]
    hidden: set[EventKind]


def read_counters(flower: Flower, until: float) -> EventCounts | None:
    """Read the counters, or return None if Flower does not export them.

    Raises:
        NotProvenError: if the counters cannot be read.
    """
    try:
        return read_event_counts(flower, until)
    except FlowerError as error:
        raise NotProvenError(f"its event counters could not be read: {error}") from error


def counters_after(flower: Flower, earlier: EventCounts, until: float) -> EventCounts:
    """Read counters that are certainly newer than Flower's answers since `earlier`.

    An answer out of a cache shows no more CPU time than before. A fresh one does after a few attempts, because each
    answer takes CPU time and the clock has a resolution of 10 ms.
    """
    for _ in range(_COUNTER_ATTEMPTS):
        counts = read_counters(flower, until)
        if counts is not None and counts.follows(earlier):
            return counts
        if counts is None or counts.started != earlier.started:
            break
    raise NotProvenError("its event counters do not continue those before its tasks were read")


def read_front(
    flower: Flower,
    state: ScrapeState,
    base: EventCounts,
    before: EventCounts,
    end: TaskPage,
    page_size: int,
    until: float,
) -> Front:
    """Steps 4 and 5: read the front of the list.

    Read it again, with a longer page if needed, while senders are unsettled or events may be hidden.

    Raises:
        NotProvenError: if too many senders stay unsettled, or if an event that renames a task may still be hidden.
    """
    limit, counts, first = min(page_size, state.front), before, None
    hidden: set[EventKind] | None = None
    for _ in range(_FRONT_ATTEMPTS):
        page = flower.page_with_fields(state.tasks.shared, 0, limit, until)
        if len(page) != limit:
            raise NotProvenError("its list is shorter than before")
        note_clients(state, page)
        earlier, counts = counts, counters_after(flower, counts, until)
        active, active_before = counts.senders_since(base), earlier.senders_since(base)
        unsettled = unsettled_senders(state, page, active, active_before)
        unsettled -= counted_senders(state, [page], end, unsettled, active)
        shown = events_on_pages(state, [page], end)
        hidden = _still_hidden(hidden, state, base, counts, shown)
        if not unsettled:
            first = first or counts
            if not hidden or _is_enough_for_renamings(first, earlier, counts):
                break
        # Senders that were silent until the first page was requested need a later page, not a longer one.
        elif earlier is not before or not unsettled.isdisjoint(active_before):
            if _is_enough(state, page, unsettled, limit, page_size):
                break
            limit = min(page_size, 4 * limit)
    else:
        if hidden and not unsettled:  # this Flower answers quickly, so a full scrape costs little
            raise NotProvenError(_MAY_BE_HIDDEN)
    if len(unsettled) > _SENDER_LIMIT:
        raise NotProvenError(f"events of {len(unsettled)} senders were not found at the front of its list")
    return Front(page, earlier, counts, shown, sorted(unsettled), hidden or set())


def _is_enough_for_renamings(first: EventCounts, earlier: EventCounts, counts: EventCounts) -> bool:
    """Return whether a later page would cost too much, or hardly show more.

    Args:
        first: the counters after the first page that left no sender unsettled.
        earlier: the counters before the last page.
        counts: the counters after it.
    """
    return counts.cpu - first.cpu >= _REREAD_CPU or counts.kinds_since(earlier).total() > _REREAD_EVENTS


def _is_enough(state: ScrapeState, page: TaskPage, unsettled: set[Sender], limit: int, page_size: int) -> bool:
    """Return whether a longer page would hardly settle more senders.

    That holds for the longest page. It also holds if few senders are unsettled, and the last quarter of the page has no
    news.
    """
    few = len(unsettled) <= _SENDER_LIMIT // 2
    last_quarter = set(islice(reversed(page.rows), len(page) // 4))
    return limit == page_size or (few and last_quarter.isdisjoint(state.tasks.changed(page)))


def _still_hidden(
    hidden: set[EventKind] | None,
    state: ScrapeState,
    base: EventCounts,
    counts: EventCounts,
    shown: Counter[EventKind],
) -> set[EventKind]:
    """Return the kinds of renaming events that no pages so far show completely.

    Each set of pages is compared with the counters that were read after it.

    Args:
        hidden: the result for the earlier pages; None if there are none.
        state: what is known.
        base: the counters of the last scrape.
        counts: the counters after the pages.
        shown: the result of `events_on_pages` for the pages.
    """
    if hidden is not None and not hidden:
        return hidden
    found = hidden_renamings(counts.kinds_since(base), state.surplus + shown)
    return found if hidden is None else hidden & found


def check_renamings(
    flower: Flower,
    state: ScrapeState,
    base: EventCounts,
    front: Front,
    pages: list[TaskPage],
    end: TaskPage,
    shown: Counter[EventKind],
    last: EventCounts,
    until: float,
) -> None:
    """Read the front again while an event that renames a task may be hidden.

    Such an event renames the task in place: the task does not move in the list.

    Args:
        flower: the Flower.
        state: what is known.
        base: the counters of the last scrape.
        front: the front.
        pages: the pages with news, the front first.
        end: the page at the end of the list.
        shown: the result of `events_on_pages` for these pages.
        last: the counters after the pages.
        until: deadline on the clock of ``time.monotonic()``.

    Raises:
        NotProvenError: if it may still be hidden, and either few events came or a task may owe its name to it.
    """
    hidden, counts = _still_hidden(front.hidden, state, base, last, shown), last
    while hidden and counts.cpu - last.cpu < _REREAD_CPU:
        page = flower.page_with_fields(state.tasks.shared, 0, len(front.page), until)
        counts = counters_after(flower, counts, until)
        hidden = _still_hidden(hidden, state, base, counts, events_on_pages(state, [page, *pages[1:]], end))
    came = last.kinds_since(front.counts_before).total()
    unnamed = any(kind.type == "sent" for kind in hidden) and has_unnamed(state.tasks, front.page)
    if hidden and (came <= _REREAD_EVENTS or unnamed):
        raise NotProvenError(_MAY_BE_HIDDEN)
