"""Decide which workers without heartbeats are left out of the metrics."""

from __future__ import annotations

from typing import Any

from push_job.metrics.extras.numbers import finite_number, finite_numbers

#: Heartbeats that Flower keeps of a worker (celery.events.state.Worker.heartbeat_max).
HEARTBEATS_KEPT = 4


def is_forgotten(row: dict[str, Any] | None, now: float, forget_after: float) -> bool:
    """Return whether a worker has stopped and is left out.

    It has shut down cleanly or has sent no heartbeat for `forget_after` seconds.

    Args:
        row: the worker's row in Flower's list of workers; None if Flower leaves it out (--purge-offline-workers).
        now: Flower's Unix time.
        forget_after: seconds since the last heartbeat after which the worker is left out; 0 for never.
    """
    if row is None:
        return True
    if row.get("status") is not False or not isinstance(row.get("heartbeats"), list):
        return False
    heartbeats = finite_numbers(row["heartbeats"])
    # Flower deletes all heartbeats of a worker on worker-offline. A later event of a task's end counts as a heartbeat.
    shut_down_cleanly = len(heartbeats) < HEARTBEATS_KEPT and (finite_number(row.get("worker-offline")) or 0) > 0
    if not heartbeats or shut_down_cleanly:
        return True
    return 0 < forget_after < now - max(heartbeats)
