"""``--with queues``: lengths of the broker's queues.

With RabbitMQ, the numbers of their consumers are included.
"""

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
    """Flower returned no queue lengths.

    RabbitMQ's management API did not answer Flower.
    """


def _read(context: ExtraContext) -> list[Metric]:
    """Return the length of each queue, and RabbitMQ's number of consumers.

    Raises:
        FlowerError: Flower did not answer, or has no queue lengths.
    """
    lengths, consumers = LENGTH.empty(), CONSUMERS.empty()
    entries = ask_queues(context.flower, context.until)
    for name, messages in sorted(waiting_in(entries).items()):
        lengths.add_metric([name], messages)
    if "pools" in context.extras:  # that extra adds the family CONSUMERS
        return [lengths]
    for name, count in sorted(consumers_of(entries).items()):
        consumers.add_metric([name], count)
    return [lengths, consumers]


def waiting_in(entries: list[dict[str, Any]]) -> dict[str, float]:
    """Return the number of waiting messages in each queue.

    Raises:
        QueuesEmptyError: no entry has a number.
    """
    # RabbitMQ's `messages` includes unacknowledged ones, so `messages_ready` is preferred. Neither exists in the first
    # seconds of a queue.
    lengths = _by_name(entries, lambda entry: entry.get("messages_ready", entry.get("messages")))
    if entries and not lengths:
        raise _empty()
    return lengths


def consumers_of(entries: list[dict[str, Any]]) -> dict[str, float]:
    """Return RabbitMQ's number of consumers of each queue; empty for other brokers."""
    return _by_name(entries, lambda entry: entry.get("consumers"))


def _by_name(entries: list[dict[str, Any]], value: Callable[[dict[str, Any]], Any]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for entry in entries:
        number = finite_number(value(entry))
        if number is not None:
            sums[label_text(entry.get("name"), "unknown")] += number
    return sums


def ask_queues(flower: Flower, until: float) -> list[dict[str, Any]]:
    """Return the broker's data of each queue that Flower lists.

    Raises:
        QueuesEmptyError: the broker is RabbitMQ and its management API does not answer Flower.
        FlowerError: Flower did not answer, or with another format.
    """
    answer = flower.get_json("/api/queues/length", until)
    entries = answer.get("active_queues") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FlowerError("the response of /api/queues/length does not have Flower's format")
    # With RabbitMQ, Flower returns an empty list if the management API fails. Otherwise there is at least one queue.
    if not entries:
        raise _empty()
    return _own(flower, entries, until)


def _own(flower: Flower, entries: list[dict[str, Any]], until: float) -> list[dict[str, Any]]:
    """Return the entries of Flower's own virtual host.

    A Flower that uses the virtual host "/" reads the queues of all virtual hosts of RabbitMQ.
    """
    hosts = {str(entry.get("vhost", "/")) for entry in entries}
    if hosts == {"/"}:
        return entries
    own = "/"
    if len(hosts) == 1:
        [host] = hosts
        with contextlib.suppress(FlowerError):
            # The workers whose replies Flower keeps use the same virtual host as Flower.
            own = virtual_host_of(known_workers(flower, until).values()) or host
    return [entry for entry in entries if str(entry.get("vhost", "/")) == own]


def virtual_host_of(replies: Iterable[dict[str, Any]]) -> str | None:
    """Return the virtual host that workers use, or None if no reply has it.

    It is in the statistics of the replies.
    """
    for reply in replies:
        stats = reply.get("stats")
        broker = stats.get("broker") if isinstance(stats, dict) else None
        host = broker.get("virtual_host") if isinstance(broker, dict) else None
        if isinstance(host, str) and host:
            return host
    return None


def _empty() -> QueuesEmptyError:
    return QueuesEmptyError(
        "it has no queue lengths; with RabbitMQ, check that Flower can reach the management API (--broker-api)"
    )


EXTRA = Extra("queues", (LENGTH, CONSUMERS), _read)
