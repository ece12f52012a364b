"""The clock skew of a worker, from its task events."""

from __future__ import annotations

import math
from collections.abc import Iterable

from push_job.explain.model import Task, Worker

#: Seconds by which a heartbeat may be older than a task event: two heartbeat intervals, plus rounding.
HEARTBEAT_LAG = 10

#: Seconds by which a worker's clock may differ from Flower's.
MAX_SKEW = 60


def skew_of(worker: Worker, tasks: Iterable[Task], now: float) -> float:
    """Return the number of seconds by which a live worker's clock is fast.

    A negative number means that it is slow.

    The result is a lower limit, which follows from its task events:

    - Fast: an event has a time stamp in the future.
    - Slow: a worker's logical clock ticks at each heartbeat. So the number of ticks since an event, times the heartbeat
      interval, is an upper limit of the event's real age. If its time stamp says that it is older, the clock is slow.
      This is checked only for tasks that the worker holds now, because an earlier process of the same name had
      another logical clock.
    """
    own = [task for task in tasks if task.worker == worker.name and task.stamp is not None]
    fast = max((0.0, *((task.stamp or now) - now for task in own)))
    slow = 0.0 if fast > MAX_SKEW else max((0.0, *(_slow_by(worker, task, now) for task in own)))
    return -slow if slow > MAX_SKEW else fast


def _slow_by(worker: Worker, task: Task, now: float) -> float:
    """Return the least number of seconds by which the worker's clock is slow.

    The number follows from one task. It is 0 or less if the task does not show that the clock is slow.
    """
    answer = worker.answer
    # The logical clock of a solo pool does not tick while it runs a task.
    if worker.clock is None or "solo" in worker.pool:
        return 0.0
    if task.id not in (answer.running or frozenset()) | (answer.held or frozenset()):
        return 0.0
    at, passed = task.stamp, answer.uptime or math.inf
    if task.stamp == task.sent:
        # The newest event is the sender's, which has the sender's clocks. But this process has received the task.
        at = max(task.received or 0.0, task.started or 0.0)
    elif (task.clock or 0) > worker.clock:
        return 0.0
    else:
        ticks = worker.clock - (task.clock or 0) + 2
        passed = min(ticks * max(worker.interval, 2.0), passed)
    return now - (at or now) - passed - HEARTBEAT_LAG
