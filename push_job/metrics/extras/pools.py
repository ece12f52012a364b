"""``--with pools``: how many tasks each worker can run at once, and who consumes each queue. This asks the workers."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric

from push_job.flower.api import Flower, FlowerError
from push_job.flower.task import label_text
from push_job.metrics.extras.interface import Extra, Reading
from push_job.metrics.extras.numbers import finite_number
from push_job.metrics.extras.queues import waiting_in
from push_job.metrics.families import Gauge

PROCESSES = Gauge("celery_worker_pool_processes", "How many tasks the worker can run at once.", ("worker",))
CONSUMERS = Gauge("celery_queue_consumers", "Live workers that consume the queue.", ("queue",))

#: The most bytes of what all workers say of themselves: some kilobytes each, with their whole configuration.
_MOST_BYTES = 4 * 2**20


def _read(reading: Reading) -> list[Metric]:
    """Raises FlowerError."""
    asked = ask_workers(reading.flower, reading.until)
    alive = reading.flower.workers(reading.until)  # what Flower knows of a worker stays when the worker is gone
    live = {worker for worker, lives in alive.items() if lives}
    processes, consumers = PROCESSES.empty(), CONSUMERS.empty()
    sizes = {
        label_text(worker, "unknown"): size
        for worker, answer in asked.items()
        if worker in live and (size := pool_size(answer)) is not None
    }
    for worker, size in sorted(sizes.items()):
        processes.add_metric([worker], size)
    # A live worker that has not said what it consumes may consume anything.
    if live <= {worker for worker, answer in asked.items() if isinstance(answer.get("active_queues"), list)}:
        for queue, count in sorted(_consumed(reading, asked, live).items()):
            consumers.add_metric([queue], count)
    return [processes, consumers]


def ask_workers(flower: Flower, until: float) -> dict[str, dict[str, Any]]:
    """What each worker says of itself, by node name, now or when it answered last. Raises FlowerError."""
    asked = flower.get_json("/api/workers", until, max_bytes=_MOST_BYTES, refresh=1)
    if not isinstance(asked, dict) or not all(isinstance(answer, dict) for answer in asked.values()):
        raise FlowerError("its /api/workers?refresh=1 is not what Flower answers")
    return asked


def _consumed(reading: Reading, asked: dict[str, dict[str, Any]], live: set[str]) -> Counter[str]:
    """How many live workers consume each queue that Flower knows."""
    consumed: Counter[str] = Counter()
    with contextlib.suppress(FlowerError):  # without the broker's queues those that workers told of are counted
        consumed.update(dict.fromkeys(waiting_in(reading), 0))
    for worker, answer in asked.items():
        for queue in set(_queues(answer)):
            consumed[queue] += int(worker in live)
    return consumed


def _queues(answer: dict[str, Any]) -> Iterator[str]:
    """The queues that a worker said it consumes."""
    queues = answer.get("active_queues")
    for queue in queues if isinstance(queues, list) else []:
        if isinstance(queue, dict):
            yield label_text(queue.get("name"), "unknown")


def pool_size(answer: dict[str, Any]) -> float | None:
    """How many tasks a worker can run at once, by what it said of itself; None where it said nothing of the sort.

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


EXTRA = Extra("pools", (PROCESSES, CONSUMERS), _read)
