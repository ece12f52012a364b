"""The fields of a task in Flower's API, and the values that follow from them.

These values are labels, times and durations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import filterfalse
from typing import Any

import msgspec

#: The states for which every task type has a sample.
STATES = ("FAILURE", "PENDING", "RECEIVED", "RETRY", "REVOKED", "STARTED", "SUCCESS")

#: Further states of a task that has ended.
OTHER_FINAL_STATES = frozenset({"REJECTED", "IGNORED"})

#: Labels for a task type or state that Flower never received, or that is not a string.
UNKNOWN_TYPE = "unknown"
UNKNOWN_STATE = "UNKNOWN"

#: The field with the time of the event that led to an unfinished state, by state.
SINCE = {"PENDING": "sent", "RECEIVED": "received", "STARTED": "started", "RETRY": "retried"}

#: The states that end a task, by the event that leads to each.
END_STATES = {"succeeded": "SUCCESS", "failed": "FAILURE", "revoked": "REVOKED", "rejected": "REJECTED"}

#: The states of a task that has ended.
FINAL_STATES = OTHER_FINAL_STATES | {*END_STATES.values()}

#: Seconds in a century. A longer duration is not valid.
CENTURY = 3.2e9

#: The latest valid Unix time.
LATEST = 2 * CENTURY

#: Maximum length of a label value in characters, so that a name with, e.g., a stack trace cannot fill the Pushgateway.
_LABEL_LENGTH = 200

#: Retries of one task that are believed.
_RETRY_LIMIT = 1000

#: Value of a missing duration or time. Sums and histograms leave it out.
NOT_REPORTED = math.nan


class TaskFields(msgspec.Struct, gc=False):
    """The fields of a task in ``/api/tasks`` that are read.

    Other fields are skipped without decoding. All fields here have the type Any, because a custom event may set them to
    any value, and one invalid task must not prevent the decoding of the others.
    """

    # In the order of Flower's JSON: the decoder is fastest if each field follows the previous one.
    name: Any = None
    state: Any = None
    received: Any = None
    sent: Any = None
    started: Any = None
    succeeded: Any = None
    failed: Any = None
    retried: Any = None
    eta: Any = None
    retries: Any = None
    exception: Any = None
    timestamp: Any = None
    runtime: Any = None
    traceback: Any = None
    exchange: Any = None
    routing_key: Any = None
    clock: Any = None


@dataclass(frozen=True)
class TextColumn:
    """A column with a text for each task in one state.

    There must be few different texts, because the store numbers them.

    Attributes:
        of: returns the text of a task.
        state: the state; None for all.
        of_many: returns the texts of many tasks faster than `of`, for a column of all states.
    """

    of: Callable[[TaskFields], str]
    state: str | None = None
    of_many: Callable[[Collection[TaskFields]], list[str]] | None = None


class EventFields(TaskFields, gc=False):
    """TaskFields and the fields that show a task's events.

    They show which events the task has had, and the sender of the newest one.
    """

    succeeded: Any = None
    failed: Any = None
    revoked: Any = None
    rejected: Any = None
    worker: Any = None
    client: Any = None


#: A value that an extra reads of each task in addition to type, state and seconds: a number, NOT_REPORTED or a text. It
#: must not depend on the current time, because an incremental scrape keeps it for tasks that it does not read again.
Column = Callable[[TaskFields], float] | TextColumn


def reported(seconds: Iterable[float]) -> Iterator[float]:
    """Yield the values that are not NOT_REPORTED."""
    return filterfalse(math.isnan, seconds)


def label_text(value: Any, otherwise: str) -> str:
    """Return a valid label value: UTF-8, not empty, at most _LABEL_LENGTH characters.

    Args:
        value: the value from Flower.
        otherwise: the result if the value is not a string or is empty.
    """
    if not isinstance(value, str) or not value:
        return otherwise
    text = value.encode("utf-8", "replace").decode()
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 1] + "…"


def seconds_of(task: TaskFields) -> float:
    """Return the runtime of a task, or the start of its age.

    For a finished task the result is its runtime in seconds. For an unfinished task it is the Unix time from which its
    age counts.

    A custom state may have finished and unfinished tasks. To distinguish them, the time of an unfinished task in a
    custom state is negative. See `age_at` for the age.
    """
    if type(task.state) is str and task.state in SINCE:
        return since_of(task)
    return -since_of(task) if is_unfinished_in_custom_state(task) else _duration(task.runtime)


def is_unfinished_in_custom_state(task: TaskFields) -> bool:
    """Return whether a task in a custom state has started but not ended.

    For example, ``send_event("task-progress")`` leads to a custom state.
    """
    if type(task.state) is not str or task.state in STATES or task.state in OTHER_FINAL_STATES:
        return False
    started = time_of(task.started)
    return started is not None and not any(
        (time_of(ended) or 0.0) >= started for ended in (task.succeeded, task.failed)
    )


def _duration(value: Any) -> float:
    """Return the value in seconds, or NOT_REPORTED if it is not a valid duration."""
    if (type(value) is float or type(value) is int) and 0 <= value <= CENTURY:
        return float(value)
    return NOT_REPORTED


def time_of(value: Any) -> float | None:
    """Return the value if it is a valid Unix time in seconds, else None."""
    return float(value) if type(value) in (int, float) and 0 < value <= LATEST else None


def stamp_of(value: Any) -> float:
    """Return the time stamp of an event, or 0.0 if there is none.

    Flower sorts tasks by this time stamp.
    """
    return float(value) if type(value) is float or (type(value) is int and abs(value) < 10**15) else 0.0


def _eta(value: Any) -> float | None:
    """Return the Unix time of an ETA, or None if it is missing or invalid.

    The ETA is an ISO 8601 string. Without a time zone it is in UTC, as in Celery.
    """
    if not isinstance(value, str):
        return None
    try:
        eta = msgspec.convert(value, datetime)
        return (eta if eta.tzinfo else eta.replace(tzinfo=timezone.utc)).timestamp()
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None


def since_of(task: TaskFields) -> float:
    """Return the Unix time since which an unfinished task is in its state.

    If its ETA is later, return the ETA.
    """
    field = SINCE.get(task.state) if type(task.state) is str else None
    if field is not None:
        start = time_of(getattr(task, field)) or time_of(task.timestamp)
    else:
        start = time_of(task.timestamp) if is_unfinished_in_custom_state(task) else None
    if start is None:
        return NOT_REPORTED
    return max(start, _eta_or_zero(task))


def age_at(now: float, since: float) -> float:
    """Return the seconds from `since` to `now`, at least 0.

    Return NOT_REPORTED if `since` is NOT_REPORTED.
    """
    return max(now - since, 0.0)  # this order of the arguments preserves a NaN


def clock_of(task: TaskFields) -> float:
    """Return Celery's logical clock of the task's newest event; 0.0 if there is none."""
    return float(task.clock) if type(task.clock) is int and 0 < task.clock < 2**53 else 0.0


def retries_of(task: TaskFields) -> float:
    """Return the number of retries of the task, or 0.0 if it is unknown.

    The newest ``task-sent`` or ``task-received`` has this number.
    """
    return float(task.retries) if type(task.retries) is int and 0 <= task.retries <= _RETRY_LIMIT else 0.0


def received_of(task: TaskFields) -> float:
    """Return the Unix time at which a worker last received the task, or NOT_REPORTED."""
    return stamp_of(task.received) or NOT_REPORTED


def wait_of(task: TaskFields) -> float:
    """Return the seconds that the task waited for its start, or NOT_REPORTED.

    The wait begins at the latest of sent, received and ETA.
    """
    return _wait_since(task, max(time_of(task.received) or 0.0, time_of(task.sent) or 0.0, _eta_or_zero(task)))


def queue_wait_of(task: TaskFields) -> float:
    """Return the seconds that the task waited after it was sent, or NOT_REPORTED.

    The time counts from the later of sent and ETA to the start. It is NOT_REPORTED without a task-sent event.
    """
    sent = time_of(task.sent)
    return NOT_REPORTED if sent is None else _wait_since(task, max(sent, _eta_or_zero(task)))


def _eta_or_zero(task: TaskFields) -> float:
    return 0.0 if task.eta is None else _eta(task.eta) or 0.0


def _wait_since(task: TaskFields, arrived: float) -> float:
    """Return the seconds from `arrived` to the start, or NOT_REPORTED.

    `arrived` is 0.0 if it is not known.
    """
    started = time_of(task.started)
    if started is None or not arrived:
        return NOT_REPORTED
    if started < (time_of(task.received) or 0.0) or (started < arrived and task.retried is not None):
        return NOT_REPORTED  # it was retried or delivered again and waits again; the start is that of an earlier run
    # The clocks of sender and worker may differ, so the difference may be negative.
    return max(0.0, started - arrived)


def came_at(task: TaskFields) -> float:
    """Return the Unix time at which the task came, or NOT_REPORTED.

    It is the time of the first known event of sent, received and started.
    """
    return time_of(task.sent) or time_of(task.received) or time_of(task.started) or NOT_REPORTED


def sent_at(task: TaskFields) -> float:
    """Return the Unix time at which the task was sent, or NOT_REPORTED.

    It is NOT_REPORTED if there is no task-sent event.
    """
    return time_of(task.sent) or NOT_REPORTED


def ended_at(task: TaskFields) -> float:
    """Return the Unix time at which a task ended. It must be in SUCCESS or FAILURE."""
    ended = task.succeeded if task.state == "SUCCESS" else task.failed
    return time_of(ended) or time_of(task.timestamp) or NOT_REPORTED


def last_end_of(task: TaskFields) -> float:
    """Return the Unix time of the newest event that ended the task, or 0.0.

    It is 0.0 if no event ended it. The task must have EventFields.
    """
    return max(_end_times(task))


def ends_of(task: TaskFields) -> float:
    """Return the events that have ended the task, as a number.

    See `new_ends` for the number. The task must have EventFields.
    """
    times = _end_times(task)
    return float(sum(1 << bit for bit, at in enumerate(times) if at) + (times.index(max(times)) << len(END_STATES)))


def _end_times(task: TaskFields) -> list[float]:
    return [time_of(getattr(task, end)) or 0.0 for end in END_STATES]


def new_ends(last: float, ends: float, former_last: float = 0.0, former_ends: float = 0.0) -> list[str]:
    """Return the states in which a task has ended since it was last read.

    An end is new if the task did not show one in this state before, or if it is the newest end and later than before.
    The newest end is earlier than before if Flower restarted with an older saved state.

    Args:
        last: the result of `last_end_of`.
        ends: the result of `ends_of`. It has a bit for each state in END_STATES, and above them the index of the state
            of the newest end.
        former_last: the former result of `last_end_of`.
        former_ends: the former result of `ends_of`.
    """
    count = len(END_STATES)
    seen, new = int(former_ends), int(ends)
    is_new = (new & ~seen) | (1 << (new >> count) if last > former_last else 0)
    return [state for bit, state in enumerate(END_STATES.values()) if is_new & 1 << bit]


#: The columns that need EventFields.
OF_EVENTS: frozenset[Column] = frozenset({last_end_of, ends_of})
