"""The incremental scrape: the steps of README.md, in order.

Arguments called `until` are deadlines on the clock of ``time.monotonic()``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice

from push_job.flower.api import Flower, FlowerError
from push_job.flower.incremental.event_balance import (
    check_balance,
    hidden_renamings,
    shown_events,
    surplus_events,
)
from push_job.flower.incremental.event_counts import EventCounts, EventKind, Sender, read_event_counts
from push_job.flower.incremental.forgotten import Membership, MoreIsGoneError, membership
from push_job.flower.incremental.list_order import possibly_moved, tasks_at_front
from push_job.flower.incremental.senders import counted_senders, has_unnamed, note_clients, unsettled_senders
from push_job.flower.incremental.state import SMALLEST_END, SMALLEST_FRONT, NotProvenError, ScrapeState, count_left_out
from push_job.flower.incremental.worker_pages import read_worker_pages
from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable

#: How much more of the front is requested than was needed last time.
_FRONT_MARGIN = 1.5

_FRONT_ATTEMPTS = 6
_END_ATTEMPTS = 3
_COUNTER_ATTEMPTS = 5

#: Looking again for events that came after a page ends when it has taken this number of seconds of Flower's CPU time,
#: or when more events come than a later page could catch up with.
_LOOK_CPU = 0.1
_LOOK_EVENTS = 50

_MAY_BE_HIDDEN = "an event that renames a task may be hidden among those that came meanwhile"

#: Senders whose own pages are requested.
_SENDER_LIMIT = 8

#: Pages that the table may hold before it is compacted.
_PAGE_LIMIT = 24


def read_changes(flower: Flower, state: ScrapeState, page_size: int, until: float) -> None:
    """Bring `state` up to date with Flower.

    Raises:
        NotProvenError: if it cannot be proven what changed. No task of the state has been changed then.
        FlowerError: if Flower does not answer; the same holds.
    """
    try:
        _read_changes(flower, state, page_size, until)
    except MoreIsGoneError:
        longest = page_size * 3 // 4
        if state.end >= longest:
            raise
        state.end = min(4 * state.end, longest)
        _read_changes(flower, state, page_size, until)


def _read_changes(flower: Flower, state: ScrapeState, page_size: int, until: float) -> None:
    count_left_out(state)
    base = state.counts
    # Step 1: the counters before the pages.
    before = _read_counters(flower, until)
    if before is None or base is None or not before.follows(base):
        raise NotProvenError("its event counters do not continue those of the last scrape")
    # Step 2: without any event, nothing has changed.
    if state.changes_by_events_alone and before.is_unchanged_since(base):
        state.tasks.now, state.counts = flower.now, before
        return
    # Step 3: the end of the list.
    end, listed = _read_end(flower, state, page_size, until)
    # Steps 4 and 5: the front of the list, and the counters after it.
    front = _read_front(flower, state, base, before, end, page_size, until)
    # Step 6: the tasks of workers that the front does not settle.
    pages, last = [front.page], front.counts
    if front.unsettled:
        pages += read_worker_pages(flower, state, base, front.unsettled, front.page, end, page_size, until)
        last = _counters_after(flower, before, until)
        _check_renamings(flower, state, base, front, pages, end, last, until)
    if not state.order.is_kept((*pages, end)):
        raise NotProvenError("its list is in another order than before")
    # Step 8: what belongs to the list. (It comes first, because it may require a longer end page.)
    came, came_from = last.kinds_since(before), last.senders_since(before)
    found = membership(state, pages, end, listed, came, came_from)
    # Step 7: the balance of events.
    available = state.surplus + _shown(state, pages, end)
    check_balance(front.counts_before.kinds_since(base), available)
    surplus = surplus_events(before.kinds_since(base), available, came)
    # Step 9: the new state. Nothing below can fail.
    changed = {*state.tasks.changed(front.page.rows, front.page)}
    depth = max((place for place, task_id in enumerate(front.page.fields, 1) if task_id in changed), default=0)
    state.front = max(SMALLEST_FRONT, round(_FRONT_MARGIN * depth))
    state.end = max(SMALLEST_END, 2 * found.end_depth)
    state.counts, state.surplus = before, surplus
    state.has_room = found.has_room
    _keep_client_times(state, front.page)
    _update_tasks(state, pages, end, found)


def _shown(state: ScrapeState, pages: list[TaskPage], end: TaskPage) -> Counter[EventKind]:
    """Return how many events of each kind the pages show; see `shown_events`."""
    return shown_events(state, _news(state, pages, end))


def _news(state: ScrapeState, pages: list[TaskPage], end: TaskPage) -> dict[str, TaskPage]:
    """Return the page of each new or changed task, by id."""
    # By logical clock, tasks that nobody has received yet stand at the end.
    news = {task_id: end for task_id in end.rows if task_id not in state.tasks}
    return news | {task_id: page for page in pages for task_id in possibly_moved(state.tasks, page)}


@dataclass(frozen=True)
class _Front:
    """The front of the list.

    Attributes:
        page: the front page.
        counts_before: the counters before it.
        counts: the counters after it.
        unsettled: the senders that it does not settle.
        hidden: the result of `hidden_renamings` that all pages of the front have in common.
    """

    page: TaskPage
    counts_before: EventCounts
    counts: EventCounts
    unsettled: list[Sender]
    hidden: set[EventKind]


def _read_counters(flower: Flower, until: float) -> EventCounts | None:
    try:
        return read_event_counts(flower, until)
    except FlowerError as error:
        raise NotProvenError(f"its event counters could not be read: {error}") from error


def _counters_after(flower: Flower, earlier: EventCounts, until: float) -> EventCounts:
    """Read counters that are certainly newer than what Flower has answered since `earlier`.

    An answer out of a cache shows no more CPU time than before. A fresh one does after a few attempts, because each
    answer takes CPU time and the clock has a resolution of 10 ms.
    """
    for _ in range(_COUNTER_ATTEMPTS):
        counts = _read_counters(flower, until)
        if counts is not None and counts.follows(earlier):
            return counts
        if counts is None or counts.started != earlier.started:
            break
    raise NotProvenError("its event counters do not continue those before its tasks were read")


def _read_end(flower: Flower, state: ScrapeState, page_size: int, until: float) -> tuple[TaskPage, int]:
    """Step 3: return the page that reaches the end of the list, and the number of tasks in the list."""
    tasks = state.tasks
    start = len(tasks) - min(state.end, page_size * 3 // 4)
    for _ in range(_END_ATTEMPTS):
        place = max(0, start)
        page = flower.page_with_fields(tasks.shared, place, page_size, until)
        if 0 < len(page) < page_size:
            return page, place + len(page)
        start = place + page_size // 2 if len(page) else place - page_size // 2
    raise NotProvenError("the end of its list has moved")


def _read_front(
    flower: Flower,
    state: ScrapeState,
    base: EventCounts,
    before: EventCounts,
    end: TaskPage,
    page_size: int,
    until: float,
) -> _Front:
    """Steps 4 and 5: read the front, and longer pages of it while senders are unsettled.

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
        earlier, counts = counts, _counters_after(flower, counts, until)
        active, active_before = counts.senders_since(base), earlier.senders_since(base)
        unsettled = unsettled_senders(state, page, active, active_before)
        unsettled -= counted_senders(state, [page], end, unsettled, active)
        hidden = _still_hidden(hidden, state, base, counts, [page], end)
        if not unsettled:
            first = first or counts
            if not hidden or counts.cpu - first.cpu >= _LOOK_CPU or counts.kinds_since(earlier).total() > _LOOK_EVENTS:
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
    return _Front(page, earlier, counts, sorted(unsettled), hidden or set())


def _is_enough(state: ScrapeState, page: TaskPage, unsettled: set[Sender], limit: int, page_size: int) -> bool:
    """Return whether a longer page would hardly settle more: it is the longest, or its last quarter has no news."""
    few = len(unsettled) <= _SENDER_LIMIT // 2
    return limit == page_size or (few and not state.tasks.changed(islice(reversed(page.rows), len(page) // 4), page))


def _still_hidden(
    hidden: set[EventKind] | None,
    state: ScrapeState,
    base: EventCounts,
    counts: EventCounts,
    pages: list[TaskPage],
    end: TaskPage,
) -> set[EventKind]:
    """Return the kinds of events of which neither these pages nor earlier ones show all that were counted after them.

    Args:
        hidden: the result for the earlier pages; None if there are none.
        state: what is known.
        base: the counters of the last scrape.
        counts: the counters after the pages.
        pages: the pages with news.
        end: the page at the end of the list.
    """
    if hidden is not None and not hidden:
        return hidden
    found = hidden_renamings(counts.kinds_since(base), state.surplus + _shown(state, pages, end))
    return found if hidden is None else hidden & found


def _check_renamings(
    flower: Flower,
    state: ScrapeState,
    base: EventCounts,
    front: _Front,
    pages: list[TaskPage],
    end: TaskPage,
    last: EventCounts,
    until: float,
) -> None:
    """Look at the front again while an event that renames a task in place may be hidden.

    Args:
        flower: the Flower.
        state: what is known.
        base: the counters of the last scrape.
        front: the front.
        pages: the pages with news, the front first.
        end: the page at the end of the list.
        last: the counters after the pages.
        until: deadline on the clock of ``time.monotonic()``.

    Raises:
        NotProvenError: if it still may be hidden, and few events came.
    """
    hidden, counts = _still_hidden(front.hidden, state, base, last, pages, end), last
    while hidden and counts.cpu - last.cpu < _LOOK_CPU:
        page = flower.page_with_fields(state.tasks.shared, 0, len(front.page), until)
        counts = _counters_after(flower, counts, until)
        hidden = _still_hidden(hidden, state, base, counts, [page, *pages[1:]], end)
    came = last.kinds_since(front.counts_before).total()
    unnamed = any(kind.type == "sent" for kind in hidden) and has_unnamed(state.tasks, front.page)
    if hidden and (came <= _LOOK_EVENTS or unnamed):
        raise NotProvenError(_MAY_BE_HIDDEN)


def _keep_client_times(state: ScrapeState, front: TaskPage) -> None:
    """Keep the sending times of clients as far as they are of use and certain."""
    bottom = state.order.bottom(front, state.tasks) if state.order.is_by_stamp else 0.0
    sent_at = {**state.sent_at, **state.noted_sent_at}
    state.sent_at = {client: sent for client, sent in sent_at.items() if sent > bottom}
    state.noted_sent_at = {}


def _update_tasks(state: ScrapeState, pages: list[TaskPage], end: TaskPage, found: Membership) -> None:
    """Put what was read into the table, in the order of the list as far as that is known."""
    tasks, front, others = state.tasks, pages[0], pages[1:]
    at_front = [] if state.order.is_by_stamp else tasks_at_front(front, others, found.left_out)
    _keep_newest(pages)
    state.left_out = [page.split([it for it in page.rows if it in found.left_out]) for page in pages]
    tasks.drop(found.gone)
    former, moved = _merge_worker_pages(tasks, others)
    if end_is_new := bool(others) or bool(tasks.changed(end.rows, end)):
        _merge_end(state, pages, end)
    tasks.merge(front, 0)
    if former:  # tasks of other pages stand between those of the front and of the end
        state.order.arrange(tasks, former, moved, at_front, list(end.rows))
    if not state.order.is_by_stamp:
        state.unplaced |= moved
        state.unplaced.difference_update(at_front, end.rows if end_is_new else ())
    # Pages were not merged in the order in which they were read.
    tasks.now = max(page.now for page in (*pages, end))
    if tasks.page_count > _PAGE_LIMIT:
        tasks.compact()


def _merge_worker_pages(tasks: TaskTable, pages: list[TaskPage]) -> tuple[list[str], set[str]]:
    """Merge pages of workers; return the former order of all tasks if it matters, and the tasks that may have moved."""
    former = list(tasks) if any(page.rows for page in pages) else []
    moved = {task_id for page in pages for task_id in possibly_moved(tasks, page)}
    for page in pages:
        tasks.merge(page)
    return former, moved


def _keep_newest(pages: list[TaskPage]) -> None:
    """Remove each task from all pages except the one that was read last."""
    for number, page in enumerate(pages):
        for task_id in (task_id for later in pages[number + 1 :] for task_id in later.rows):
            page.rows.pop(task_id, None)


def _merge_end(state: ScrapeState, pages: list[TaskPage], end: TaskPage) -> None:
    """Merge the end page, without tasks that a later page shows in a newer version."""
    newer = {task_id for page in pages for task_id in page.rows}
    for task_id in [it for it in end.rows if it in newer and not state.tasks.is_unchanged(it, end)]:
        del end.rows[task_id]
    state.tasks.merge(end)
