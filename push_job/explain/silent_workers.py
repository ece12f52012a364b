"""Workers without heartbeats that may still be alive: a worker with ``--pool solo`` sends none during a task."""

from __future__ import annotations

import math
from collections.abc import Iterable

from push_job.explain.facts import Facts
from push_job.explain.model import Task, Worker

#: Seconds for which a task may have waited in its queue before a worker fetched it whose pool is not known.
FETCHED_WITHIN = 60


def pool_of(facts: Facts, worker: Worker) -> str:
    """Return the pool of a worker: its own if known, otherwise that of all live workers if it is the same."""
    pools = {other.pool for other in facts.live}
    return worker.pool or (pools.pop() if len(pools) == 1 else "")


def fetched_silently(facts: Facts, lost: Iterable[Worker]) -> bool:
    """Return whether each of `lost` may have fetched a PENDING task just before it stopped sending heartbeats.

    A worker with a pool of processes or threads reports a task as soon as it has fetched it. With ``--pool solo``
    the events are sent after the task.
    """
    fetched = [task for task in facts.tasks_in("PENDING") if task.sent and _has_left(facts, task)]
    return all(any(_may_hold(facts, worker, task) for task in fetched) for worker in lost)


def is_at_silent_worker(facts: Facts, task: Task) -> bool:
    """Return whether a worker may have fetched a PENDING task just before it stopped sending heartbeats."""
    return any(_may_hold(facts, worker, task) for worker in facts.gone)


def _may_hold(facts: Facts, worker: Worker, task: Task) -> bool:
    last = worker.last_heartbeat
    if last is None or worker.shut_down_cleanly:
        return False
    # A task may have waited for a long time in the queue of a solo worker.
    within = math.inf if "solo" in pool_of(facts, worker) else FETCHED_WITHIN
    return -within <= (task.sent or 0.0) - last <= 2 * worker.interval


def _has_left(facts: Facts, task: Task) -> bool:
    """Return whether the queue that is named like a task's routing key has fewer messages than PENDING tasks."""
    ready = next((queue.ready for queue in facts.queues.known or () if queue.name == task.routing_key), None)
    same = sum(other.routing_key == task.routing_key for other in facts.tasks_in("PENDING"))
    return ready is not None and ready < same


def is_all_sending_seen(facts: Facts) -> bool:
    """Return whether tasks of all types have task-sent events, so that a task in a queue can be seen."""
    return bool(facts.has_sent_events) and all(kind.is_sending_seen for kind in facts.types.values())
