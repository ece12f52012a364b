"""Step 7 of the proof: the tasks that were read show every event that Flower counted, by event and task type.

This check needs no order of the list and no clock. A task ends once, and is
sent and received once, plus once per retry. So the changed tasks show how many events of
these types happened, and Flower's counters say how many did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from push_job.flower.incremental.event_counts import EventCounts, EventKind
from push_job.flower.incremental.senders import field_of
from push_job.flower.incremental.state import NotProvenError, ScrapeState
from push_job.flower.page import TaskPage
from push_job.flower.task import STATES, EventFields, received_of, sent_at, stamp_of

#: Events that end a task; each task shows the time of each of them.
_ENDS = ("succeeded", "failed", "revoked", "rejected")
_RECEIVED = "received"
_SENT = "sent"
_COUNTED = frozenset({*_ENDS, _RECEIVED, _SENT})
_EVENT_STATES = frozenset({*STATES, "REJECTED"})
_ALL = (*_ENDS, _RECEIVED, "sent", "started", "retried")

#: Retries of one task that are believed.
_RETRY_LIMIT = 1000


def shown_events(state: ScrapeState, taken: Mapping[str, TaskPage]) -> Counter[EventKind]:
    """Return how many events of each kind may have happened to the tasks since the last scrape, at most.

    Args:
        state: what was known before.
        taken: the page of each new or changed task, by id.
    """
    shown: Counter[EventKind] = Counter()
    tasks = state.tasks
    for task_id, page in taken.items():
        task, known_stamp = field_of(page, task_id), tasks.stamp_of(task_id)
        name = str(task.name) if task.name else ""
        for end in _ENDS:
            at = getattr(task, end)
            # An end that was the task's newest event at the last scrape is not new.
            if at is not None and (known_stamp is None or stamp_of(at) != known_stamp):
                shown[EventKind(end, name)] += 1
        shown[EventKind(_RECEIVED, name)] += _attempts(task, received_of(task), tasks.value_of(received_of, task_id))
        shown[EventKind(_SENT, name)] += _attempts(task, sent_at(task), tasks.value_of(sent_at, task_id))
    return shown


def events_of(tasks: Mapping[str, TaskPage]) -> Counter[EventKind]:
    """Return how many events of each kind have happened to tasks since they came into being, at least."""
    shown: Counter[EventKind] = Counter()
    for task_id, page in tasks.items():
        task = field_of(page, task_id)
        name = str(task.name) if task.name else ""
        shown.update(EventKind(event, name) for event in _ALL if getattr(task, event) is not None)
        if isinstance(task.state, str) and task.state not in _EVENT_STATES:
            shown[EventKind(task.state.lower(), name)] += 1  # Celery makes the state of a custom event's type
    return shown


def _attempts(task: EventFields, at: float, known: float | None) -> int:
    """Return how often the task may have been sent or received since.

    Args:
        task: the task.
        at: when it was sent or received last.
        known: the same at the last scrape.
    """
    if not at > 0 or at == known:
        return 0
    retries = task.retries if type(task.retries) is int and 0 <= task.retries <= _RETRY_LIMIT else 0
    was_known = known is not None and known > 0
    return max(1, retries) if was_known else 1 + retries


def check_balance(
    state: ScrapeState, base: EventCounts, before: EventCounts, last: EventCounts, shown: Counter[EventKind]
) -> Counter[EventKind]:
    """Compare the events that the tasks show with those that Flower counted; return the new surplus.

    Args:
        state: what was known before.
        base: the counters of the last scrape.
        before: the counters before this scrape's pages. The pages have to show all events up to these.
        last: the counters after the pages. Pages may show events up to these.
        shown: the result of `shown_events`.

    Raises:
        NotProvenError: if an event was counted that no task shows.
    """
    counted = before.kinds_since(base)
    available = state.surplus + shown
    # Flower counts the end of a task without a name under no name, and the task may have learnt its name since.
    without_names = {kind.type for kind in counted if not kind.task_type}
    for kind in counted:
        if kind.type not in _COUNTED:
            continue
        by_type = kind.type in without_names
        expected = _total(counted, kind.type) if by_type else counted[kind]
        found = _total(available, kind.type) if by_type else available[kind]
        if found < expected:
            of_type = "" if by_type else f" of {kind.task_type}"
            raise NotProvenError(f"Flower counted {expected} events task-{kind.type}{of_type}, but tasks show {found}")
    window = last.kinds_since(before)
    rest = available - counted
    return Counter({kind: min(rest[kind], count) for kind, count in window.items() if rest[kind] > 0})


def _total(counts: Counter[EventKind], event_type: str) -> int:
    return sum(count for kind, count in counts.items() if kind.type == event_type)
