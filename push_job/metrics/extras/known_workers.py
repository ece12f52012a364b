"""Replies of workers to Flower's remote control commands.

They are requested now or kept by Flower.
"""

from __future__ import annotations

import time
from typing import Any

from push_job.flower.api import Flower, FlowerError
from push_job.metrics.extras.numbers import finite_number

#: Maximum size of the replies of all workers in bytes: each has some kilobytes, with the full configuration.
_MAX_BYTES = 4 * 2**20

#: Seconds by which Flower's clock may be behind the clock of this machine.
_CLOCK_SLACK = 30.0


#: Seconds after which Flower asks the workers again, because a pool or its queues may have changed.
ASK_EVERY = 300.0

#: Seconds after which it asks again if a live worker has not replied, e.g. a new one.
ASK_AGAIN_AFTER = 50.0


def ask_workers(flower: Flower, until: float) -> dict[str, dict[str, Any]]:
    """Ask all workers; return the last reply of each worker by node name.

    A reply may be an earlier one if the worker does not reply now.

    Raises:
        FlowerError: Flower did not answer, or with another format.
    """
    replies = flower.get_json("/api/workers", until, max_bytes=_MAX_BYTES, refresh=1)
    if not isinstance(replies, dict) or not all(isinstance(reply, dict) for reply in replies.values()):
        raise FlowerError("the response of /api/workers?refresh=1 does not have Flower's format")
    return replies


def ask_worker(flower: Flower, worker: str, until: float) -> dict[str, Any] | None:
    """Ask one worker; return its reply, or None if it does not reply.

    The reply has the tasks that the worker runs.

    Raises:
        FlowerError: Flower did not answer.
    """
    path, asked_at = "/api/workers", time.time()
    try:
        replies = flower.get_json(path, until, max_bytes=_MAX_BYTES, refresh=1, workername=worker)
    except FlowerError as error:
        if error.status == 404:  # the worker has never replied to this Flower
            return None
        raise
    reply = replies.get(worker) if isinstance(replies, dict) else None
    if not isinstance(reply, dict):
        return None
    # If the worker does not reply, Flower returns an earlier reply. Clocks may differ by some seconds.
    replied_at = finite_number(reply.get("timestamp"))
    return reply if replied_at is None or replied_at > asked_at - _CLOCK_SLACK else None


def known_workers(flower: Flower, until: float) -> dict[str, dict[str, Any]]:
    """Return the earlier replies that Flower keeps, by node name; no worker is asked.

    Raises:
        FlowerError: Flower did not answer.
    """
    known = flower.get_json("/api/workers", until, max_bytes=_MAX_BYTES)
    found = known.items() if isinstance(known, dict) else ()
    return {name: reply for name, reply in found if isinstance(reply, dict)}


def replies_of_workers(
    flower: Flower, now: float, until: float, max_age: float = ASK_EVERY
) -> tuple[set[str], dict[str, dict[str, Any]]]:
    """Return the live workers, and the last reply of each known worker, by node name.

    A worker is known if it has ever replied.

    The workers are asked if a live one has not replied for `max_age` seconds, but not within ASK_AGAIN_AFTER seconds
    after the last time.

    Args:
        flower: the Flower.
        now: Flower's Unix time.
        until: deadline, a time of ``time.monotonic()``.
        max_age: maximum age of a reply in seconds.

    Raises:
        FlowerError: Flower did not answer, or with another format.
    """
    # Flower keeps the replies of workers that have stopped, so they are compared with the list of live workers.
    live = {worker for worker, is_alive in flower.workers(until).items() if is_alive}
    replies = known_workers(flower, until)
    return live, ask_workers(flower, until) if _is_due(replies, live, now, max_age) else replies


def _is_due(replies: dict[str, dict[str, Any]], live: set[str], now: float, max_age: float) -> bool:
    times = [finite_number(reply.get("timestamp")) for reply in replies.values()]
    ages = {worker: now - (at or 0.0) for worker, at in zip(replies, times, strict=True)}
    if not live or any(age < ASK_AGAIN_AFTER for age in ages.values()):
        return False
    return any(ages.get(worker, max_age) >= max_age for worker in live)


def pool_size(reply: dict[str, Any]) -> float | None:
    """Return the number of tasks that a worker can run at the same time, or None.

    The number is the largest of three: the pool size at the start of the worker, the current number of processes (a
    pool may have been enlarged by remote control) and the maximum of the autoscaler. None means that the reply does not
    have it.
    """
    stats = reply.get("stats")
    if not isinstance(stats, dict):
        return None
    pool, autoscaler = (stats[key] if isinstance(stats.get(key), dict) else {} for key in ("pool", "autoscaler"))
    size = finite_number(pool.get("max-concurrency"))
    if size is None:
        return None
    processes = pool.get("processes")
    return max(
        size, len(processes) if isinstance(processes, list) else 0.0, finite_number(autoscaler.get("max")) or 0.0
    )
