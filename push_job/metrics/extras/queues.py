"""``--with queues``: messages that wait in the broker; RabbitMQ's consumers."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.metrics_core import Metric

from push_job.flower.api import Flower, FlowerError
from push_job.flower.task import label_text
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.extras.known_workers import known_workers
from push_job.metrics.extras.numbers import finite_number
from push_job.metrics.families import Gauge

LENGTH = Gauge("celery_queue_length", "Messages waiting in the broker's queue.", ("queue",))
CONSUMERS = Gauge(
    "celery_queue_consumers", "Live workers that consume the queue; without pools, RabbitMQ's own count.", ("queue",)
)


class QueuesEmptyError(FlowerError):
    """Flower knows no queue's length: RabbitMQ's management API did not answer it."""


def _read(context: ExtraContext) -> list[Metric]:
    """The length of each queue, and RabbitMQ's consumers. Raises FlowerError."""
    lengths, consumers = LENGTH.empty(), CONSUMERS.empty()
    entries = ask_queues(context.flower, context.until)
    for name, messages in sorted(waiting_in(entries).items()):
        lengths.add_metric([name], messages)
    if "pools" in context.extras:  # which pushes that family itself
        return [lengths]
    for name, count in sorted(consumers_of(entries).items()):
        consumers.add_metric([name], count)
    return [lengths, consumers]


def waiting_in(entries: list[dict[str, Any]]) -> dict[str, float]:
    """How many messages wait in each queue.

    Raises:
        QueuesEmptyError: no queue has a number.
    """
    # RabbitMQ counts those that workers hold among its messages; and has no number in a queue's first seconds.
    lengths = _by_name(entries, lambda entry: entry.get("messages_ready", entry.get("messages")))
    if entries and not lengths:
        raise _empty()
    return lengths


def consumers_of(entries: list[dict[str, Any]]) -> dict[str, float]:
    """How many consumers RabbitMQ counts of each queue; nothing with other brokers."""
    return _by_name(entries, lambda entry: entry.get("consumers"))


def _by_name(entries: list[dict[str, Any]], value: Callable[[dict[str, Any]], Any]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for entry in entries:
        number = finite_number(value(entry))
        if number is not None:
            sums[label_text(entry.get("name"), "unknown")] += number
    return sums


def ask_queues(flower: Flower, until: float) -> list[dict[str, Any]]:
    """What Flower's broker says of each queue that Flower knows.

    Raises:
        QueuesEmptyError: it is a RabbitMQ whose management API does not answer Flower.
        FlowerError: Flower did not answer.
    """
    answer = flower.get_json("/api/queues/length", until)
    entries = answer.get("active_queues") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FlowerError("its /api/queues/length is not what Flower answers")
    # For RabbitMQ, Flower answers an empty list when the management API fails; it always knows a queue otherwise.
    if not entries:
        raise _empty()
    return _own(flower, entries, until)


def _own(flower: Flower, entries: list[dict[str, Any]], until: float) -> list[dict[str, Any]]:
    """The entries of Flower's own virtual host.

    A Flower on "/" asks RabbitMQ for the queues of all virtual hosts.
    """
    hosts = {str(entry.get("vhost", "/")) for entry in entries}
    if hosts == {"/"}:
        return entries
    own = "/"
    if len(hosts) == 1:
        [host] = hosts
        with contextlib.suppress(FlowerError):
            # The workers that Flower asked before are on its own virtual host.
            own = virtual_host_of(known_workers(flower, until).values()) or host
    return [entry for entry in entries if str(entry.get("vhost", "/")) == own]


def virtual_host_of(answers: Iterable[dict[str, Any]]) -> str | None:
    """The virtual host that workers use, by their statistics; None if none said."""
    for said in answers:
        stats = said.get("stats")
        broker = stats.get("broker") if isinstance(stats, dict) else None
        host = broker.get("virtual_host") if isinstance(broker, dict) else None
        if isinstance(host, str) and host:
            return host
    return None


def _empty() -> QueuesEmptyError:
    return QueuesEmptyError(
        "it knows no queue's length; with RabbitMQ, is its management API reachable (--broker-api)?"
    )


EXTRA = Extra("queues", (LENGTH, CONSUMERS), _read)
