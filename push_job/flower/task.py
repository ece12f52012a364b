"""One task as Flower tells it: the fields that are read, and what they mean in labels and seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import filterfalse
from typing import Any

import msgspec

#: The states that every task type has a sample for.
STATES = ("FAILURE", "PENDING", "RECEIVED", "RETRY", "REVOKED", "STARTED", "SUCCESS")

#: States, in addition to those, that Celery gives a task that has ended.
OTHER_FINAL_STATES = frozenset({"REJECTED", "IGNORED"})

#: What stands for a task type or state that Flower never learnt, or that is no text.
UNKNOWN_TYPE = "unknown"
UNKNOWN_STATE = "UNKNOWN"

#: The field with the time of the event that put a task into a state that is not its end.
SINCE = {"PENDING": "sent", "RECEIVED": "received", "STARTED": "started", "RETRY": "retried"}

#: Seconds in a century: a longer "duration" is a mistake of whoever reported it.
CENTURY = 3.2e9

#: The last Unix time that is taken for one.
LATEST = 2 * CENTURY

#: A label is cut here (in characters), so that a stack trace for a name cannot fill the Pushgateway.
_LABEL_LENGTH = 200

#: A duration that was not reported: counted as nothing in sums, and not observed by a histogram.
NOT_REPORTED = math.nan


class TaskFields(msgspec.Struct, gc=False):
    """The fields of a task in ``/api/tasks`` that are read; the others are skipped undecoded.

    All are Any, because a custom event may put anything into them and one odd task must not cost the others.
    """

    # In the order of Flower's JSON, which the decoder looks for first.
    name: Any = None
    state: Any = None
    received: Any = None
    sent: Any = None
    started: Any = None
    succeeded: Any = None
    failed: Any = None
    retried: Any = None
    eta: Any = None
    exception: Any = None
    timestamp: Any = None
    runtime: Any = None
    traceback: Any = None
    clock: Any = None


@dataclass(frozen=True)
class TextColumn:
    """A column of texts of which there are few, one of each task in this state; the store holds a number for each."""

    of: Callable[[TaskFields], str]
    state: str


class EventFields(TaskFields, gc=False):
    """What tells, beside those, which events a task has had, and whose the newest one is."""

    succeeded: Any = None
    failed: Any = None
    revoked: Any = None
    rejected: Any = None
    worker: Any = None
    client: Any = None
    retries: Any = None


#: What an extra reads of each task beside its type, state and seconds: a number, or NOT_REPORTED. It is none of "now",
#: for a task that is not read again keeps it.
Column = Callable[[TaskFields], float] | TextColumn


def reported(seconds: Iterable[float]) -> Iterator[float]:
    """Those that are not NOT_REPORTED."""
    return filterfalse(math.isnan, seconds)


def label_text(value: Any, otherwise: str) -> str:
    """A label value that Prometheus takes: valid UTF-8, not empty and of sane length."""
    if not isinstance(value, str) or not value:
        return otherwise
    text = value.encode("utf-8", "replace").decode()
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 1] + "…"


def seconds_of(task: TaskFields) -> float:
    """A finished task's seconds; of an unfinished one, the Unix time from which its age counts (see `age_at`).

    A custom state may have tasks of both kinds, so the time of its unfinished ones is negative.
    """
    if type(task.state) is str and task.state in SINCE:
        return since_of(task)
    return -since_of(task) if is_unfinished_in_custom_state(task) else _duration(task.runtime)


def is_unfinished_in_custom_state(task: TaskFields) -> bool:
    """Whether a task in a custom state, as of ``send_event("task-progress")``, has started and not ended."""
    if type(task.state) is not str or task.state in STATES or task.state in OTHER_FINAL_STATES:
        return False
    started = time_of(task.started)
    return started is not None and not any(
        (time_of(ended) or 0.0) >= started for ended in (task.succeeded, task.failed)
    )


def _duration(value: Any) -> float:
    """Seconds, or NOT_REPORTED for what is no duration."""
    if (type(value) is float or type(value) is int) and 0 <= value <= CENTURY:
        return float(value)
    return NOT_REPORTED


def time_of(value: Any) -> float | None:
    """The value if it is a Unix time in seconds, or None."""
    return float(value) if type(value) in (int, float) and 0 < value <= LATEST else None


def stamp_of(value: Any) -> float:
    """The time stamp of an event, which Flower orders tasks by; 0.0 where there is none."""
    return float(value) if type(value) is float or (type(value) is int and abs(value) < 10**15) else 0.0


def _eta(value: Any) -> float | None:
    """The Unix time of Celery's ETA, an ISO 8601 string; one without a zone is in UTC, as Celery's are."""
    if not isinstance(value, str):
        return None
    try:
        moment = msgspec.convert(value, datetime)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None


def since_of(task: TaskFields) -> float:
    """Since when an unfinished task is in its state: the event that put it there, or its ETA if later; Unix time."""
    field = SINCE.get(task.state) if type(task.state) is str else None
    if field is not None:
        start = time_of(getattr(task, field)) or time_of(task.timestamp)
    else:
        start = time_of(task.timestamp) if is_unfinished_in_custom_state(task) else None
    if start is None:
        return NOT_REPORTED
    return max(start, _eta_or_zero(task))


def age_at(now: float, since: float) -> float:
    """Seconds from `since` to `now`, never below none; NOT_REPORTED if that is."""
    return max(now - since, 0.0)  # in this order, which keeps a NaN


def clock_of(task: TaskFields) -> float:
    """The logical clock of the task's newest event; 0.0 where there is none."""
    return float(task.clock) if type(task.clock) is int and 0 < task.clock < 2**53 else 0.0


def received_of(task: TaskFields) -> float:
    """When a worker received the task last, or NOT_REPORTED."""
    return stamp_of(task.received) or NOT_REPORTED


def wait_of(task: TaskFields) -> float:
    """From received (or sent, or its ETA, whichever is latest) to started, or NOT_REPORTED."""
    return _wait_since(task, max(time_of(task.received) or 0.0, time_of(task.sent) or 0.0, _eta_or_zero(task)))


def queue_wait_of(task: TaskFields) -> float:
    """From sent (or its ETA, whichever is later) to started, or NOT_REPORTED, as where no event told of the sending."""
    sent = time_of(task.sent)
    return NOT_REPORTED if sent is None else _wait_since(task, max(sent, _eta_or_zero(task)))


def _eta_or_zero(task: TaskFields) -> float:
    return 0.0 if task.eta is None else _eta(task.eta) or 0.0


def _wait_since(task: TaskFields, arrived: float) -> float:
    """From `arrived`, which is 0.0 if it is not known, to started."""
    started = time_of(task.started)
    if started is None or not arrived:
        return NOT_REPORTED
    if started < (time_of(task.received) or 0.0) or (started < arrived and task.retried is not None):
        return NOT_REPORTED  # it waits once more, and was started an earlier time: retried, or delivered again
    # Who sends and who starts it have clocks of their own: a short wait may come out below none.
    return max(0.0, started - arrived)


def came_at(task: TaskFields) -> float:
    """When the task came into being, as far as Flower knows: sent, or else received, or started; Unix time."""
    return time_of(task.sent) or time_of(task.received) or time_of(task.started) or NOT_REPORTED


def sent_at(task: TaskFields) -> float:
    """When the task was sent, if its sender sent an event; Unix time."""
    return time_of(task.sent) or NOT_REPORTED


def ended_at(task: TaskFields) -> float:
    """When a task that is in SUCCESS or FAILURE came to its end; Unix time. Of others it says nothing."""
    ended = task.succeeded if task.state == "SUCCESS" else task.failed
    return time_of(ended) or time_of(task.timestamp) or NOT_REPORTED


# What follows gives the same numbers for many tasks: what is usual of them is written out, for a call for each task
# would cost as much as to read it. No comparisons are chained where there are three, which Python takes longer for.


def _received_of(tasks: Collection[TaskFields]) -> list[float]:
    return [received if type(received := task.received) is float and received else received_of(task) for task in tasks]


def _waits_of(tasks: Collection[TaskFields]) -> list[float]:
    return [
        NOT_REPORTED
        if (started := task.started) is None
        else started - received
        if type(received := task.received) is float
        and type(started) is float
        and received > 0.0
        and task.eta is None
        and received <= started
        and ((sent := task.sent) is None or (type(sent) is float and sent <= received))
        and started <= LATEST
        else wait_of(task)
        for task in tasks
    ]


def _queue_waits_of(tasks: Collection[TaskFields]) -> list[float]:
    return [
        NOT_REPORTED
        if (sent := task.sent) is None
        else started - sent
        if type(sent) is float
        and type(received := task.received) is float
        and type(started := task.started) is float
        and received > 0.0
        and sent <= started
        and task.eta is None
        and received <= started
        and sent > 0.0
        and started <= LATEST
        else queue_wait_of(task)
        for task in tasks
    ]


def _came_at(tasks: Collection[TaskFields]) -> list[float]:
    return [
        came
        if type(came := task.received if task.sent is None else task.sent) is float and 0.0 < came <= LATEST
        else came_at(task)
        for task in tasks
    ]


def _ended_at(tasks: Collection[TaskFields]) -> list[float]:
    return [
        ended
        if type(ended := task.succeeded if task.state == "SUCCESS" else task.failed) is float and 0.0 < ended <= LATEST
        else ended_at(task)
        for task in tasks
    ]


#: The columns of many tasks at once.
IN_BULK: dict[Column, Callable[[Collection[TaskFields]], list[float]]] = {
    received_of: _received_of,
    wait_of: _waits_of,
    queue_wait_of: _queue_waits_of,
    came_at: _came_at,
    ended_at: _ended_at,
}
