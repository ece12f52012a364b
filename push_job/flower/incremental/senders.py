"""Steps 4 and 5 of the proof: find the senders whose events have all been read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import cast

from push_job.flower.incremental.event_counts import Sender
from push_job.flower.incremental.state import ScrapeState
from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import UNKNOWN_TYPE, EventFields, stamp_of

#: Anchors that a sender must have. One may be an event of another worker, because a late ``task-received`` changes a
#: task's worker but not its time.
_ANCHORS = 2

#: States in which a late ``task-received`` that brings the task's name also moves the task.
_MOVED_BY_RECEIVED = frozenset({"PENDING", "RECEIVED", "RETRY", "REJECTED"})


def unsettled_senders(
    state: ScrapeState, front: TaskPage, senders: Iterable[Sender], before: Counter[Sender]
) -> set[Sender]:
    """Step 4: return the senders whose events may stand below the front page.

    Args:
        state: what is known.
        front: the page at the front of the list.
        senders: all senders that were active since the last scrape, by the counters after the page.
        before: those that were active by the counters before the page.
    """
    anchors, news = anchors_on(state, front), _news_on(state, [front])
    reached = _clients_reached(state, front)

    def is_settled(sender: Sender) -> bool:
        if sender in reached:
            return True
        # A sender that was silent until the page was requested may have sent its events after that.
        needs_news = sender in before or not state.order.settles_without_news()
        return anchors[sender] >= _ANCHORS and (news[sender] > 0 or not needs_news)

    return {sender for sender in senders if not is_settled(sender)}


def counted_senders(
    state: ScrapeState, pages: Iterable[TaskPage], end: TaskPage, senders: Iterable[Sender], active: Counter[Sender]
) -> set[Sender]:
    """Step 5: return the senders whose counted events are all on the pages.

    The pages show as many events of such a sender as Flower counted.

    Args:
        state: what is known.
        pages: the pages with news.
        end: the page at the end of the list. The logical clock of a client counts its own tasks only, so they stand
            here until they are received.
        senders: the senders in question.
        active: number of events of each sender since the last scrape, counted after the pages were read.
    """
    pages, senders = list(pages), set(senders)
    if not senders:
        return senders
    found = _news_on(state, pages)
    if not state.order.is_by_stamp:
        new_at_end = (
            sender_of(task)
            for task_id, task in fields_of(end)
            if task_id not in state.tasks and not any(task_id in page.rows for page in pages)
        )
        found.update(sender for sender in new_at_end if sender.is_client)
    return {sender for sender in senders if found[sender] >= max(1, active[sender])}


def anchors_on(state: ScrapeState, page: TaskPage) -> Counter[Sender]:
    """Count the anchors of each sender.

    An anchor is an unchanged task above the bottom of the page whose newest event the sender sent.
    """
    order = state.order
    bottom = order.bottom(page, state.tasks)
    return Counter(
        sender_of(task)
        for task_id, task in fields_of(page)
        if order.position(task) > bottom and state.tasks.is_unchanged(task_id, page)
    )


def note_clients(state: ScrapeState, page: TaskPage) -> None:
    """Note each client's newest sending time on the page.

    The times become valid when the scrape is proven.
    """
    for _, task in fields_of(page) if state.order.is_by_stamp else ():
        if isinstance(task.client, str):
            state.noted_sent_at[task.client] = max(state.noted_sent_at.get(task.client, 0.0), stamp_of(task.sent))


def sender_of(task: EventFields) -> Sender:
    """Return the sender of a task's newest event."""
    by_client = task.timestamp is not None and task.timestamp == task.sent
    name = task.client if by_client else task.worker
    return Sender(name if isinstance(name, str) else "", by_client)


def has_unnamed(tasks: TaskTable, front: TaskPage) -> bool:
    """Return whether a task that is not on the front page may learn its name.

    It may do so only in a state in which it does not move.
    """
    numbers = {
        number
        for number, (name, task_state) in enumerate(tasks.shared.kinds)
        if name == UNKNOWN_TYPE and task_state not in _MOVED_BY_RECEIVED
    }
    return bool(numbers) and any(task_id not in front.rows for task_id in tasks.ids_of_kinds(numbers))


def fields_of(page: TaskPage) -> Iterator[tuple[str, EventFields]]:
    """Yield id and fields of the tasks of a page that keeps fields, in list order."""
    return cast("Iterator[tuple[str, EventFields]]", iter(page.fields.items()))


def field_of(page: TaskPage, task_id: str) -> EventFields:
    """Return the fields of one task of a page that keeps fields."""
    return cast("EventFields", page.fields[task_id])


def _clients_reached(state: ScrapeState, page: TaskPage) -> set[Sender]:
    """Return the clients that are known to have sent a task after the bottom.

    The bottom is the time stamp of the last task of the page. All later tasks of such a client stand above it.
    """
    if not state.order.is_by_stamp:
        return set()
    bottom = state.order.bottom(page, state.tasks)
    return {Sender(client, True) for client, sent in state.sent_at.items() if sent > bottom}


def _news_on(state: ScrapeState, pages: Iterable[TaskPage]) -> Counter[Sender]:
    """Count the events of each sender that are certainly on the pages.

    A new or changed task counts once, for the sender of its newest event. A new task may count once more, for the
    client that sent it. A task that a late event changed does not count.
    """
    found: Counter[Sender] = Counter()
    changed = {task_id: page for page in pages for task_id in state.tasks.changed(page)}
    for task_id, page in changed.items():
        task = field_of(page, task_id)
        if state.tasks.stamp_of(task_id) == page.stamps[page.rows[task_id]]:
            continue  # the event that changed it came late, and is not its newest one
        newest = sender_of(task)
        found[newest] += 1
        # A new task whose newest event is a worker's also has a task-sent event. One that came late is the newest
        # event, and was counted above.
        was_sent = task.sent is not None and isinstance(task.client, str) and not newest.is_client
        if was_sent and task.state != "PENDING" and task_id not in state.tasks:
            found[Sender(task.client, True)] += 1
    return found
