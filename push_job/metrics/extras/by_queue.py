"""``--with by-queue``: tasks by routing key and state, and orphaned tasks.

Flower knows the routing key of a task from its task-sent event. With Celery's default exchange, it is the name of the
queue.

A PENDING task is orphaned if no live worker consumes a queue that the broker routes it to. If no worker has ever
consumed that queue, it is in no other family, because Flower knows only the queues of workers. The number is unknown
and left out if no worker is alive or a live one has not reported its queues. Before a task counts as orphaned, the
workers are asked again, because one of them may have been restarted with another queue.
"""

from __future__ import annotations

import contextlib
from collections import Counter

from prometheus_client.metrics_core import Metric

from push_job.flower.api import FlowerError
from push_job.flower.page import OTHER_STATES, OTHER_TEXTS
from push_job.flower.routing import ROUTE, ConsumedQueue, queues_in, route_in
from push_job.flower.task import STATES
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.extras.known_workers import ASK_AGAIN_AFTER, ASK_EVERY, replies_of_workers
from push_job.metrics.extras.queues import ask_queues, consumers_of, waiting_in
from push_job.metrics.families import Gauge
from push_job.metrics.snapshot import most_frequent

TASKS = Gauge(
    "celery_tasks_by_queue",
    "Tasks that Flower remembers, by routing key (by default the name of the queue) and state; unknown without a"
    " task-sent event.",
    ("queue", "state"),
)
ORPHANED = Gauge(
    "celery_queue_orphaned_tasks",
    "PENDING tasks with a routing key that no live worker consumes; missing while the queues of a live worker are not"
    " known.",
    ("queue",),
)

#: Label of tasks whose routing key is not known.
UNKNOWN_QUEUE = "unknown"

#: Maximum number of routing keys, and of custom states, including the one for all others.
MOST_QUEUES, MOST_CUSTOM_STATES = 100, 20


def _read(context: ExtraContext) -> list[Metric]:
    by_state = context.tasks.texts_by_state(ROUTE)
    counts: Counter[tuple[str, str]] = Counter()
    for state, routes in by_state.items():
        for text, count in routes.items():
            counts[_queue_of(text), state] += count
    queues, states = _kept(counts)
    folded = Counter({(queue, state): 0 for queue in queues for state in STATES})
    for (queue, state), count in counts.items():
        folded[queue if queue in queues else OTHER_TEXTS, state if state in states else OTHER_STATES] += count
    family, orphaned = TASKS.empty(), ORPHANED.empty()
    for labels, count in sorted(folded.items()):
        family.add_metric(labels, count)
    # A text without a route stands for tasks of several queues, or of an unknown one.
    pending = {text: count for text, count in by_state.get("PENDING", Counter()).items() if route_in(text)}
    with contextlib.suppress(FlowerError):
        for queue, count in sorted((_orphaned(context, pending, queues) or {}).items()):
            orphaned.add_metric([queue], count)
    return [family, orphaned]


def _queue_of(text: str) -> str:
    found = route_in(text)
    return found.routing_key if found else text or UNKNOWN_QUEUE


def _kept(counts: Counter[tuple[str, str]]) -> tuple[set[str], set[str]]:
    """Return the queues and the states that have samples of their own.

    The other ones are summed.
    """
    by_queue, custom = Counter[str](), Counter[str]()
    for (queue, state), count in counts.items():
        by_queue[queue] += count
        custom[state] += 0 if state in STATES else count
    states = most_frequent(+custom, MOST_CUSTOM_STATES, OTHER_STATES)
    return most_frequent(by_queue, MOST_QUEUES, OTHER_TEXTS), states.union(STATES)


def _orphaned(context: ExtraContext, pending: dict[str, int], queues: set[str]) -> dict[str, int] | None:
    """Return the number of orphaned tasks of each queue, or None if it is not known.

    The number may be 0.

    Args:
        context: the data of the Flower.
        pending: the number of PENDING tasks of each route.
        queues: the queues that have samples.

    Raises:
        FlowerError: Flower did not answer.
    """
    lost = Counter[str]()
    for max_age in (ASK_EVERY, ASK_AGAIN_AFTER) if pending else ():
        consumed = _consumed(context, max_age)
        if consumed is None:
            return None
        lost = _not_received(pending, consumed)
        if not lost:
            break
    if lost:
        lost = Counter(
            {queue: lost[queue] for queue in most_frequent(lost, MOST_QUEUES, "") - _without_orphans(context)}
        )
    return {queue: lost[queue] for queue in queues - {UNKNOWN_QUEUE, OTHER_TEXTS} | lost.keys()}


def _consumed(context: ExtraContext, max_age: float) -> list[ConsumedQueue] | None:
    """Return the queues that live workers consume, or None.

    None means that no worker is alive or that a live one has not reported its queues.

    Raises:
        FlowerError: Flower did not answer.
    """
    live, replies = replies_of_workers(context.flower, context.now, context.until, max_age)
    found: list[ConsumedQueue] = []
    for worker in live:
        queues = queues_in(replies.get(worker, {}))
        if queues is None:
            return None
        found += queues
    return found if live else None


def _not_received(pending: dict[str, int], consumed: list[ConsumedQueue]) -> Counter[str]:
    """Return the number of PENDING tasks that no worker can receive, by routing key.

    The broker routes them to none of the consumed queues.
    """
    lost = Counter[str]()
    for text, count in pending.items():
        sent = route_in(text)
        if sent and not any(queue.receives(sent) for queue in consumed):
            lost[sent.routing_key] += count
    return lost


def _without_orphans(context: ExtraContext) -> set[str]:
    """Return the queues that are empty or, by RabbitMQ's count, consumed.

    Most orphaned tasks are in queues that Flower does not list.
    """
    with contextlib.suppress(FlowerError):
        entries = ask_queues(context.flower, context.until)
        consumed = {queue for queue, count in consumers_of(entries).items() if count}
        return consumed | {queue for queue, length in waiting_in(entries).items() if not length}
    return set()


EXTRA = Extra("by-queue", (TASKS, ORPHANED), _read, columns=(ROUTE,))
