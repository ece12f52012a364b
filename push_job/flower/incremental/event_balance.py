"""Step 7 of the proof: the tasks show every event that Flower counted.

The tasks that were read are compared with Flower's counters by event and task
type. This check needs no order of the list and no clock. A task ends once, and
is sent and received once, plus once per retry. So the changed tasks show how
many events of these types happened, and Flower's counters say how many did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from push_job.flower.incremental.event_counts import EventKind
from push_job.flower.incremental.list_order import possibly_moved
from push_job.flower.incremental.senders import field_of
from push_job.flower.incremental.state import NotProvenError, ScrapeState
from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import (
    NOT_REPORTED,
    STATES,
    UNKNOWN_TYPE,
    Column,
    label_text,
    received_of,
    retries_of,
    sent_at,
    stamp_of,
)

#: Events that end a task; each task shows the time of each of them.
_ENDS = ("succeeded", "failed", "revoked", "rejected")
_RECEIVED = "received"
_SENT = "sent"
_COUNTED = frozenset({*_ENDS, _RECEIVED, _SENT})
_EVENT_STATES = frozenset({*STATES, "REJECTED"})
_ATTEMPTS = {_RECEIVED: received_of, _SENT: sent_at}
_ALL = (*_ENDS, _RECEIVED, _SENT, "started", "retried")


def shown_events(state: ScrapeState, taken: Mapping[str, TaskPage]) -> Counter[EventKind]:
    """Return the maximum number of new events of the tasks, by kind.

    An event is new if it may have happened since the last scrape.

    Args:
        state: what was known before.
        taken: the page of each new or changed task, by id.
    """
    shown: Counter[EventKind] = Counter()
    for task_id, page in taken.items():
        task, row, known = field_of(page, task_id), page.rows[task_id], state.tasks.find(task_id)
        name = str(task.name) if task.name else ""
        for end in _ENDS:
            at = getattr(task, end)
            # An end that was the task's newest event at the last scrape is not new.
            if at is not None and (known is None or stamp_of(at) != known[0].stamps[known[1]]):
                shown[EventKind(end, name)] += 1
        for event, column in _ATTEMPTS.items():
            if count := _attempts(column, page, row, known):
                shown[EventKind(event, name)] += count
    return shown


def events_on_pages(state: ScrapeState, pages: list[TaskPage], end: TaskPage) -> Counter[EventKind]:
    """Return the maximum number of new events on these pages, by kind.

    `end` is the page at the end of the list. See `shown_events` for the numbers.
    """
    # By logical clock, tasks that nobody has received yet stand at the end.
    news = {task_id: end for task_id in end.rows if task_id not in state.tasks}
    return shown_events(
        state, news | {task_id: page for page in pages for task_id in possibly_moved(state.tasks, page)}
    )


def events_of(tasks: Mapping[str, TaskPage]) -> Counter[EventKind]:
    """Return the minimum number of events that the tasks have had, by kind.

    Events count from the time at which a task came into being.
    """
    shown: Counter[EventKind] = Counter()
    for task_id, page in tasks.items():
        task = field_of(page, task_id)
        name = str(task.name) if task.name else ""
        shown.update(EventKind(event, name) for event in _ALL if getattr(task, event) is not None)
        if isinstance(task.state, str) and task.state not in _EVENT_STATES:
            shown[EventKind(task.state.lower(), name)] += 1  # Celery makes the state of a custom event's type
    return shown


def _attempts(column: Column, page: TaskPage, row: int, known: tuple[TaskPage, int] | None) -> int:
    """Return how often a task may have been sent or received since the last scrape.

    Args:
        column: the column with the time at which it was sent or received last.
        page: the page that has the task now.
        row: its row.
        known: the page and the row that had it at the last scrape; None if it was not known.
    """
    at, former_at, retries = page.columns[column][row], NOT_REPORTED, page.columns[retries_of][row]
    if known is not None:
        former, former_row = known
        former_at = former.columns[column][former_row]
        retries -= former.columns[retries_of][former_row]
    if not at > 0 or at == former_at:
        return 0
    return max(1, int(retries)) if former_at > 0 else 1 + max(0, int(retries))


def missing_events(counted: Counter[EventKind], available: Counter[EventKind]) -> dict[EventKind, tuple[int, int]]:
    """Return the kinds of events of which the tasks show too few.

    Args:
        counted: number of events by kind that Flower counted.
        available: the same that the tasks show, as `shown_events` returns it, plus the surplus of the last scrape.

    Returns:
        The number that Flower counted and the lower number that the tasks show, by kind.
    """
    # Flower counts the end of a task without a name under no name, and the task may have learnt its name since.
    without_names = {kind.type for kind in counted if not kind.task_type}
    missing = {}
    for kind in counted:
        if kind.type not in _COUNTED:
            continue
        by_type = kind.type in without_names
        expected = _total(counted, kind.type) if by_type else counted[kind]
        found = _total(available, kind.type) if by_type else available[kind]
        if found < expected:
            missing[kind] = expected, found
    return missing


def check_balance(counted: Counter[EventKind], available: Counter[EventKind]) -> None:
    """Compare the events that Flower counted with those that the tasks show.

    See `missing_events` for the arguments.

    Raises:
        NotProvenError: if an event was counted that no task shows.
    """
    for kind, (expected, found) in missing_events(counted, available).items():
        name = kind.task_type or UNKNOWN_TYPE
        raise NotProvenError(f"Flower counted {expected} events task-{kind.type} of {name}, but tasks show {found}")


def surplus_events(
    counted: Counter[EventKind], available: Counter[EventKind], since: Counter[EventKind]
) -> Counter[EventKind]:
    """Return the maximum number of surplus events, by kind.

    The tasks may show a surplus event although Flower counted it later.

    Args:
        counted: number of events by kind that Flower counted before the pages were read.
        available: see `missing_events`.
        since: number of events that it counted while they were read.
    """
    rest = available - counted
    return Counter({kind: min(rest[kind], count) for kind, count in since.items() if rest[kind] > 0})


def surplus_of_full_scrape(
    former: ScrapeState, tasks: TaskTable, counted: Counter[EventKind], since: Counter[EventKind]
) -> Counter[EventKind]:
    """Return the maximum number of surplus events of a full scrape, by kind.

    The scrape may show a surplus event although Flower counted it later.

    Args:
        former: what was known of the same process of Flower before.
        tasks: the tasks that the scrape read.
        counted: number of events by kind that Flower counted since then, before the tasks were read.
        since: number of events that it counted while they were read.
    """
    if not any(kind.type in _ATTEMPTS for kind in since):
        return since
    available = former.surplus + _attempts_since(former.tasks.compact(), tasks.compact(), tasks.shared.kinds)
    exact = surplus_events(counted, available, since)
    return Counter({kind: exact[kind] if _is_countable_by_label(kind) else count for kind, count in since.items()})


def _is_countable_by_label(kind: EventKind) -> bool:
    """Return whether tasks show a kind's events under its own task type."""
    return kind.type in _ATTEMPTS and label_text(kind.task_type, "") == kind.task_type != ""


def _attempts_since(former: TaskPage, page: TaskPage, kinds: Sequence[tuple[str, str]]) -> Counter[EventKind]:
    """Return the maximum number of ``sent`` and ``received`` events, by kind.

    These are events of the tasks of `page` since the tasks of `former` were read.
    """
    shown: Counter[EventKind] = Counter()
    for event, column in _ATTEMPTS.items():
        times, former_times = page.columns[column], former.columns[column]
        for task_id, row in page.rows.items():
            known = former.rows.get(task_id)
            if known is not None and times[row] == former_times[known]:
                continue
            if count := _attempts(column, page, row, None if known is None else (former, known)):
                shown[EventKind(event, kinds[page.kinds[row]][0])] += count
    return shown


def hidden_renamings(counted: Counter[EventKind], available: Counter[EventKind]) -> set[EventKind]:
    """Return the kinds of renaming events that a page does not show completely.

    Args:
        counted: number of events by kind that Flower counted by the time after the page.
        available: see `missing_events`.
    """
    return {kind for kind in missing_events(counted, available) if kind.type in _ATTEMPTS}


def _total(counts: Counter[EventKind], event_type: str) -> int:
    return sum(count for kind, count in counts.items() if kind.type == event_type)
