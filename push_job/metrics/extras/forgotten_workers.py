"""Which of the workers that are no longer heard are still shown."""

from __future__ import annotations

from typing import Any

from push_job.metrics.extras.numbers import finite_number, finite_numbers

#: Heartbeats that Flower keeps of a worker (celery.events.state.Worker.heartbeat_max).
HEARTBEATS_KEPT = 4


def is_forgotten(row: dict[str, Any] | None, now: float, forget_after: float) -> bool:
    """Whether a worker stopped in order or has been silent for `forget_after` seconds.

    0: never, however long it is silent.

    `row` is what Flower's page of workers has of it: None where Flower itself leaves it out (--purge-offline-workers).
    """
    if row is None:
        return True
    if row.get("status") is not False or not isinstance(row.get("heartbeats"), list):
        return False
    heartbeats = finite_numbers(row["heartbeats"])
    # An orderly stop takes all heartbeats away; the end of a task that was reported later counts as one.
    said_goodbye = len(heartbeats) < HEARTBEATS_KEPT and (finite_number(row.get("worker-offline")) or 0) > 0
    if not heartbeats or said_goodbye:
        return True
    return 0 < forget_after < now - max(heartbeats)
