"""Workers without heartbeats that may still be alive.

A worker with ``--pool solo`` sends none during a task.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from push_job.explain.facts import Facts
from push_job.explain.model import Task, Worker

#: Seconds for which a task may have waited in its queue before a worker fetched it whose pool is not known.
FETCHED_WITHIN = 60


def pool_of(facts: Facts, worker: Worker) -> str:
    """Return the pool of a worker, or an empty text if it is not known.

    If the worker's own pool is not known, it is that of the live workers, provided that they all have the same one.
    """
    pools = {other.pool for other in facts.live}
    return worker.pool or (pools.pop() if len(pools) == 1 else "")


def fetched_silently(facts: Facts, lost: Iterable[Worker]) -> bool:
    """Return whether each of `lost` may have fetched a PENDING task.

    It would have fetched the task just before it stopped sending heartbeats. A worker with a pool of processes or
    threads reports a task as soon as it has fetched it. With ``--pool solo`` the events are sent after the task.
    """
    fetched = [task for task in facts.tasks_in("PENDING") if task.sent and _has_left(facts, task)]
    return all(any(_may_hold(facts, worker, task) for task in fetched) for worker in lost)


def is_at_silent_worker(facts: Facts, task: Task) -> bool:
    """Return whether a worker without heartbeats may have fetched a PENDING task.

    It would have fetched the task just before it stopped sending heartbeats.
    """
    return any(_may_hold(facts, worker, task) for worker in facts.gone)


def _may_hold(facts: Facts, worker: Worker, task: Task) -> bool:
    last = worker.last_heartbeat
    if last is None or worker.shut_down_cleanly:
        return False
    # A task may have waited for a long time in the queue of a solo worker.
    within = math.inf if "solo" in pool_of(facts, worker) else FETCHED_WITHIN
    return -within <= (task.sent or 0.0) - last <= 2 * worker.interval


def _has_left(facts: Facts, task: Task) -> bool:
    """Return whether a task's queue has fewer messages than PENDING tasks.

    Its queue is the one that is named like its routing key.
    """
    ready = next((queue.ready for queue in facts.queues.known or () if queue.name == task.route.routing_key), None)
    same = sum(other.route.routing_key == task.route.routing_key for other in facts.tasks_in("PENDING"))
    return ready is not None and ready < same


def is_all_sending_seen(facts: Facts) -> bool:
    """Return whether tasks of all types have task-sent events.

    Only then can each task in a queue be seen.
    """
    return bool(facts.has_sent_events) and all(kind.is_sending_seen for kind in facts.types.values())
