"""``--with pools``: how many tasks each worker can run at once, and who consumes each queue. This asks the workers."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric

from push_job.flower.api import FlowerError
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
    asked = reading.flower.get_json("/api/workers", reading.until, most_bytes=_MOST_BYTES, refresh=1)
    if not isinstance(asked, dict) or not all(isinstance(answer, dict) for answer in asked.values()):
        raise FlowerError("its /api/workers?refresh=1 is not what Flower answers")
    alive = reading.flower.workers(reading.until)  # what Flower knows of a worker stays when the worker is gone
    processes, consumers = PROCESSES.empty(), CONSUMERS.empty()
    consumed: Counter[str] = Counter()
    with contextlib.suppress(FlowerError):  # without the broker's queues those that workers told of are counted
        consumed.update(dict.fromkeys(waiting_in(reading), 0))
    sizes: dict[str, float] = {}
    for worker, answer in asked.items():
        lives = alive.get(worker) is True
        for queue in set(_queues(answer)):
            consumed[queue] += int(lives)
        if lives and (size := _pool_size(answer)) is not None:
            sizes[label_text(worker, "unknown")] = size
    for worker, size in sorted(sizes.items()):
        processes.add_metric([worker], size)
    for queue, count in sorted(consumed.items()):
        consumers.add_metric([queue], count)
    return [processes, consumers]


def _queues(answer: dict[str, Any]) -> Iterator[str]:
    """The queues that a worker said it consumes."""
    queues = answer.get("active_queues")
    for queue in queues if isinstance(queues, list) else []:
        if isinstance(queue, dict):
            yield label_text(queue.get("name"), "unknown")


def _pool_size(answer: dict[str, Any]) -> float | None:
    """What a pool of any kind says that its most is; None where it says nothing of the sort."""
    stats = answer.get("stats")
    pool = stats.get("pool") if isinstance(stats, dict) else None
    return finite_number(pool.get("max-concurrency")) if isinstance(pool, dict) else None


EXTRA = Extra("pools", (PROCESSES, CONSUMERS), _read)
