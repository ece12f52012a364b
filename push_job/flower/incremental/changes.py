"""The incremental scrape: the steps of README.md, in order.

Arguments called `until` are deadlines on the clock of ``time.monotonic()``.
"""

from __future__ import annotations

from push_job.flower.api import Flower
from push_job.flower.incremental.event_balance import check_balance, events_on_pages, surplus_events
from push_job.flower.incremental.forgotten import EndPageTooShortError, Membership, membership
from push_job.flower.incremental.front import check_renamings, counters_after, read_counters, read_front
from push_job.flower.incremental.list_order import possibly_moved, tasks_at_front
from push_job.flower.incremental.state import SMALLEST_END, SMALLEST_FRONT, NotProvenError, ScrapeState, merge_left_out
from push_job.flower.incremental.worker_pages import read_worker_pages
from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable

#: How much more of the front is requested than was needed last time.
_FRONT_MARGIN = 1.5

_END_ATTEMPTS = 3

#: Pages that the table may hold before it is compacted.
_PAGE_LIMIT = 24


def read_changes(flower: Flower, state: ScrapeState, page_size: int, until: float) -> None:
    """Bring `state` up to date with Flower.

    Raises:
        NotProvenError: if it cannot be proven what changed. The state then still describes the last scrape.
        FlowerError: if Flower does not answer; the same holds.
    """
    try:
        _read_changes(flower, state, page_size, until)
    except EndPageTooShortError:
        longest = page_size * 3 // 4
        if state.end >= longest:
            raise
        state.end = min(4 * state.end, longest)
        _read_changes(flower, state, page_size, until)


def _read_changes(flower: Flower, state: ScrapeState, page_size: int, until: float) -> None:
    merge_left_out(state)
    base = state.counts
    # Step 1: the counters before the pages.
    before = read_counters(flower, until)
    if before is None or base is None or not before.follows(base):
        raise NotProvenError("its event counters do not continue those of the last scrape")
    # Step 2: without any event, nothing has changed.
    if state.changes_by_events_alone and before.is_unchanged_since(base):
        state.tasks.now, state.counts = flower.now, before
        return
    # Step 3: the end of the list.
    end, listed = _read_end(flower, state, page_size, until)
    # Steps 4 and 5: the front of the list, and the counters after it.
    front = read_front(flower, state, base, before, end, page_size, until)
    # Step 6: the tasks of workers that the front does not settle.
    pages, shown, last = [front.page], front.shown, front.counts
    if front.unsettled:
        pages += read_worker_pages(flower, state, base, front.unsettled, front.page, end, page_size, until)
        last = counters_after(flower, before, until)
        shown = events_on_pages(state, pages, end)
        check_renamings(flower, state, base, front, pages, end, shown, last, until)
    if not state.order.matches((*pages, end)):
        raise NotProvenError("its list is in another order than before")
    # Step 8: what belongs to the list. (It comes first, because it may require a longer end page.)
    came, came_from = last.kinds_since(before), last.senders_since(before)
    found = membership(state, pages, end, listed, came, came_from)
    # Step 7: the balance of events.
    available = state.surplus + shown
    check_balance(front.counts_before.kinds_since(base), available)
    surplus = surplus_events(before.kinds_since(base), available, came)
    # Step 9: the new state. Nothing below can fail.
    changed = {*state.tasks.changed(front.page)}
    depth = max((place for place, task_id in enumerate(front.page.fields, 1) if task_id in changed), default=0)
    state.front = max(SMALLEST_FRONT, round(_FRONT_MARGIN * depth))
    state.end = max(SMALLEST_END, 2 * found.end_depth)
    state.counts, state.surplus = before, surplus
    state.has_room = found.has_room
    _keep_client_times(state, front.page)
    _update_tasks(state, pages, end, found)


def _read_end(flower: Flower, state: ScrapeState, page_size: int, until: float) -> tuple[TaskPage, int]:
    """Step 3: return the page that reaches the end of the list.

    Also return the number of tasks in the list.
    """
    tasks = state.tasks
    start = len(tasks) - min(state.end, page_size * 3 // 4)
    for _ in range(_END_ATTEMPTS):
        place = max(0, start)
        page = flower.page_with_fields(tasks.shared, place, page_size, until)
        if 0 < len(page) < page_size:
            return page, place + len(page)
        start = place + page_size // 2 if len(page) else place - page_size // 2
    raise NotProvenError("the end of its list has moved")


def _keep_client_times(state: ScrapeState, front: TaskPage) -> None:
    """Keep the sending times of clients as far as they are of use and certain."""
    bottom = state.order.bottom(front, state.tasks) if state.order.is_by_stamp else 0.0
    sent_at = {**state.sent_at, **state.noted_sent_at}
    state.sent_at = {client: sent for client, sent in sent_at.items() if sent > bottom}
    state.noted_sent_at = {}


def _update_tasks(state: ScrapeState, pages: list[TaskPage], end: TaskPage, found: Membership) -> None:
    """Put the tasks that were read into the table.

    The table gets the order of the list, as far as that is known.
    """
    tasks, front, others = state.tasks, pages[0], pages[1:]
    at_front = [] if state.order.is_by_stamp else tasks_at_front(front, others, found.left_out)
    _keep_newest(pages)
    state.left_out = [page.split([it for it in page.rows if it in found.left_out]) for page in pages]
    tasks.drop(found.gone)
    former, moved = _merge_worker_pages(tasks, others)
    if end_is_new := bool(others) or bool(tasks.changed(end)):
        _merge_end(state, pages, end)
    tasks.merge(front, 0)
    if former:  # tasks of other pages stand between those of the front and of the end
        state.order.arrange(tasks, former, moved, at_front, list(end.rows))
    if not state.order.is_by_stamp:
        state.unplaced |= moved
        state.unplaced.difference_update(at_front, end.rows if end_is_new else ())
    # Pages were not merged in the order in which they were read.
    tasks.now = max(page.now for page in (*pages, end))
    for page in (*pages, end):
        page.fields.clear()  # which take more memory than the rows of all other tasks
    if tasks.page_count > _PAGE_LIMIT:
        tasks.compact()


def _merge_worker_pages(tasks: TaskTable, pages: list[TaskPage]) -> tuple[list[str], set[str]]:
    """Merge pages of workers into the table.

    Return the former order of all tasks, which is empty if it does not matter. Also return the tasks that may have
    moved.
    """
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
