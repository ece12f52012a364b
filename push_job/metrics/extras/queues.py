"""``--with queues``: how many messages wait in the broker."""

from __future__ import annotations

from collections import defaultdict

from prometheus_client.metrics_core import Metric

from push_job.flower.api import FlowerError
from push_job.flower.task import label_text
from push_job.metrics.extras.interface import Extra, Reading
from push_job.metrics.extras.numbers import finite_number
from push_job.metrics.families import Gauge

LENGTH = Gauge("celery_queue_length", "Messages waiting in the broker's queue.", ("queue",))


def _read(reading: Reading) -> list[Metric]:
    """The length of each queue that the broker tells Flower. Raises FlowerError."""
    family = LENGTH.empty()
    for name, messages in sorted(waiting_in(reading).items()):
        family.add_metric([name], messages)
    return [family]


def waiting_in(reading: Reading) -> dict[str, float]:
    """How many messages wait in each queue that the broker tells Flower. Raises FlowerError."""
    answer = reading.flower.get_json("/api/queues/length", reading.until)
    entries = answer.get("active_queues") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FlowerError("its /api/queues/length is not what Flower answers")
    # On RabbitMQ's virtual host "/", Flower asks for the queues of all virtual hosts.
    own = [entry for entry in entries if entry.get("vhost", "/") == "/"] or entries
    lengths: dict[str, float] = defaultdict(float)
    for entry in own:
        # RabbitMQ counts those that workers hold among its messages; and has no number in a queue's first seconds.
        waiting = finite_number(entry.get("messages_ready", entry.get("messages")))
        if waiting is not None:
            lengths[label_text(entry.get("name"), "unknown")] += waiting
    # For RabbitMQ, Flower answers an empty list when the management API fails; it always knows a queue otherwise.
    if not lengths:
        raise FlowerError("it knows no queue's length; with RabbitMQ, is its management API reachable (--broker-api)?")
    return lengths


EXTRA = Extra("queues", (LENGTH,), _read)
