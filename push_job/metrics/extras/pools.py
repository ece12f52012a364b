"""``--with pools``: pool sizes of the workers and consumers of the queues.

Flower asks the workers for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric

from push_job.flower.api import FlowerError
from push_job.flower.task import label_text
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.extras.known_workers import pool_size, replies_of_workers
from push_job.metrics.extras.queues import CONSUMERS, ask_queues, consumers_of, waiting_in
from push_job.metrics.families import Gauge

PROCESSES = Gauge("celery_worker_pool_processes", "How many tasks the worker can run at once.", ("worker",))


def _read(context: ExtraContext) -> list[Metric]:
    """Return the families.

    Raises:
        FlowerError: Flower did not answer.
    """
    live, replies = replies_of_workers(context.flower, context.now, context.until)
    processes, consumers = PROCESSES.empty(), CONSUMERS.empty()
    sizes = {
        label_text(worker, "unknown"): size
        for worker, reply in replies.items()
        if worker in live and (size := pool_size(reply)) is not None
    }
    for worker, size in sorted(sizes.items()):
        processes.add_metric([worker], size)
    for queue, count in sorted(_consumed(context, replies, live).items()):
        consumers.add_metric([queue], count)
    return [processes, consumers]


def _consumed(context: ExtraContext, replies: dict[str, dict[str, Any]], live: set[str]) -> dict[str, float]:
    """Return the number of live workers that consume each queue.

    If not all live workers reported their queues, return RabbitMQ's own number of consumers.
    """
    entries: list[dict[str, Any]] = []
    known: dict[str, float] = {}
    with contextlib.suppress(FlowerError):  # without the broker's list, only queues that workers report are counted
        entries = ask_queues(context.flower, context.until)
        known = dict.fromkeys(waiting_in(entries), 0.0)
    # A live worker that has not reported its queues may consume any queue.
    if not live <= {worker for worker, reply in replies.items() if isinstance(reply.get("active_queues"), list)}:
        return consumers_of(entries)
    for worker, reply in replies.items():
        for queue in set(_queues(reply)):
            known[queue] = known.get(queue, 0.0) + (worker in live)
    return known


def _queues(reply: dict[str, Any]) -> Iterator[str]:
    """Yield the queues that a worker reported to consume."""
    queues = reply.get("active_queues")
    for queue in queues if isinstance(queues, list) else []:
        if isinstance(queue, dict):
            yield label_text(queue.get("name"), "unknown")


EXTRA = Extra("pools", (PROCESSES, CONSUMERS), _read)
