"""``--with pools``: how many tasks each worker can run at once, and who consumes each queue. This asks the workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric

from push_job.flower.api import FlowerError
from push_job.flower.task import label_text
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.extras.known_workers import ask_workers, pool_size
from push_job.metrics.extras.queues import CONSUMERS, ask_queues, consumers_of, waiting_in
from push_job.metrics.families import Gauge

PROCESSES = Gauge("celery_worker_pool_processes", "How many tasks the worker can run at once.", ("worker",))


def _read(context: ExtraContext) -> list[Metric]:
    """Raises FlowerError."""
    asked = ask_workers(context.flower, context.until)
    alive = context.flower.workers(context.until)  # what Flower knows of a worker stays when the worker is gone
    live = {worker for worker, lives in alive.items() if lives}
    processes, consumers = PROCESSES.empty(), CONSUMERS.empty()
    sizes = {
        label_text(worker, "unknown"): size
        for worker, answer in asked.items()
        if worker in live and (size := pool_size(answer)) is not None
    }
    for worker, size in sorted(sizes.items()):
        processes.add_metric([worker], size)
    for queue, count in sorted(_consumed(context, asked, live).items()):
        consumers.add_metric([queue], count)
    return [processes, consumers]


def _consumed(context: ExtraContext, asked: dict[str, dict[str, Any]], live: set[str]) -> dict[str, float]:
    """How many live workers consume each queue that Flower knows; RabbitMQ's own count where they do not all say so."""
    entries: list[dict[str, Any]] = []
    known: dict[str, float] = {}
    with contextlib.suppress(FlowerError):  # without the broker's queues those that workers reported are counted
        entries = ask_queues(context.flower, context.until)
        known = dict.fromkeys(waiting_in(entries), 0.0)
    # A live worker that has not said what it consumes may consume anything.
    if not live <= {worker for worker, answer in asked.items() if isinstance(answer.get("active_queues"), list)}:
        return consumers_of(entries)
    for worker, answer in asked.items():
        for queue in set(_queues(answer)):
            known[queue] = known.get(queue, 0.0) + (worker in live)
    return known


def _queues(answer: dict[str, Any]) -> Iterator[str]:
    """The queues that a worker said it consumes."""
    queues = answer.get("active_queues")
    for queue in queues if isinstance(queues, list) else []:
        if isinstance(queue, dict):
            yield label_text(queue.get("name"), "unknown")


EXTRA = Extra("pools", (PROCESSES, CONSUMERS), _read)
