"""Columns of many tasks at once.

The numbers are the same as those of the functions for a single task.

The common cases are written inline, because a function call per task would take as
long as decoding the task. Comparisons of three values are not chained, because
Python evaluates chained ones more slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import cast

from push_job.flower.task import (
    LATEST,
    NOT_REPORTED,
    Column,
    EventFields,
    TaskFields,
    came_at,
    ended_at,
    ends_of,
    last_end_of,
    queue_wait_of,
    received_of,
    wait_of,
)


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


def _last_ends_of(tasks: Collection[TaskFields]) -> list[float]:
    return [
        ended
        if type(ended := task.succeeded) is float
        and task.failed is None
        and task.revoked is None
        and task.rejected is None
        and ended > 0.0
        and ended <= LATEST
        else last_end_of(task)
        for task in cast("Collection[EventFields]", tasks)
    ]


def _ends_of(tasks: Collection[TaskFields]) -> list[float]:
    return [
        1.0
        if type(ended := task.succeeded) is float
        and task.failed is None
        and task.revoked is None
        and task.rejected is None
        and ended > 0.0
        and ended <= LATEST
        else ends_of(task)
        for task in cast("Collection[EventFields]", tasks)
    ]


#: The functions that compute a column for many tasks at once.
IN_BULK: dict[Column, Callable[[Collection[TaskFields]], list[float]]] = {
    received_of: _received_of,
    wait_of: _waits_of,
    queue_wait_of: _queue_waits_of,
    came_at: _came_at,
    ended_at: _ended_at,
    last_end_of: _last_ends_of,
    ends_of: _ends_of,
}
