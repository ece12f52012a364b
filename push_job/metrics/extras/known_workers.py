"""What the workers say of themselves, now or when Flower asked them last."""

from __future__ import annotations

import time
from typing import Any

from push_job.flower.api import Flower, FlowerError
from push_job.metrics.extras.numbers import finite_number

#: The most bytes of what all workers say of themselves: some kilobytes each, with their full configuration.
_MOST_BYTES = 4 * 2**20

#: Seconds by which Flower's clock may be behind ours.
_CLOCK_SLACK = 30.0


def ask_workers(flower: Flower, until: float) -> dict[str, dict[str, Any]]:
    """What each worker says now, or when it answered last, by node name.

    Raises FlowerError.
    """
    asked = flower.get_json("/api/workers", until, max_bytes=_MOST_BYTES, refresh=1)
    if not isinstance(asked, dict) or not all(isinstance(answer, dict) for answer in asked.values()):
        raise FlowerError("its /api/workers?refresh=1 is not what Flower answers")
    return asked


def ask_worker(flower: Flower, worker: str, until: float) -> dict[str, Any] | None:
    """What one worker says now, with the tasks that it runs; None if it is silent.

    Raises:
        FlowerError: Flower did not answer.
    """
    path, asked_at = "/api/workers", time.time()
    try:
        asked = flower.get_json(path, until, max_bytes=_MOST_BYTES, refresh=1, workername=worker)
    except FlowerError as error:
        if error.status == 404:  # Flower has never had an answer of it
            return None
        raise
    said = asked.get(worker) if isinstance(asked, dict) else None
    if not isinstance(said, dict):
        return None
    # Flower answers with what it knows from before if the worker is silent; the clocks may differ by some seconds.
    answered_at = finite_number(said.get("timestamp"))
    return said if answered_at is None or answered_at > asked_at - _CLOCK_SLACK else None


def known_workers(flower: Flower, until: float) -> dict[str, dict[str, Any]]:
    """What Flower knows from earlier answers; asks no worker. Raises FlowerError."""
    known = flower.get_json("/api/workers", until, max_bytes=_MOST_BYTES)
    found = known.items() if isinstance(known, dict) else ()
    return {name: said for name, said in found if isinstance(said, dict)}


def pool_size(answer: dict[str, Any]) -> float | None:
    """How many tasks a worker can run at once; None where it did not say.

    A pool of any kind says what its most was at its start. An autoscaler goes up to a most of its own, and a pool may
    have been told to grow: then it has more processes.
    """
    stats = answer.get("stats")
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
