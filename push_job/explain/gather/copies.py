"""Tasks that workers hold more than once, because the broker redelivered them."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from push_job.explain.facts import Facts
from push_job.explain.gather.requests import OptionalRequests
from push_job.explain.gather.workers import tasks_in
from push_job.explain.model import FINAL_STATES, HeldTwice
from push_job.flower.task import label_text
from push_job.metrics.extras.known_workers import ask_worker

#: Number of workers that are asked, those that have received most of the tasks first.
_MAX_WORKERS = 8

#: States of tasks that no worker holds, in addition to FINAL_STATES.
_NOT_HELD = frozenset({"PENDING", "RETRY"})


def with_copies(requests: OptionalRequests, facts: Facts) -> Facts:
    """Add the tasks that workers hold more than once.

    1. Select the task types that were received more often than sent or retried, and the workers that received them.
    2. Ask each of these workers for the tasks that it holds, and look for copies.
    3. If there are any, ask again. What is a copy both times was not just moving from one worker to another.
    """
    # Step 1.
    workers = _suspects(facts)
    # Step 2.
    found = _copies(requests, workers)
    # Step 3.
    again = _copies(requests, workers) if found else {}
    held_twice = tuple(copies for task_id, copies in sorted(found.items()) if task_id in again)
    return replace(facts, held_twice=held_twice)


def _suspects(facts: Facts) -> list[str]:
    """Return the live workers that may hold copies.

    On a full Flower, every type may have been received too often.
    """
    received: Counter[str] = Counter()
    for (worker, name), count in facts.received.items():
        if worker in facts.workers and facts.workers[worker].alive and _is_received_again(facts, name):
            received[worker] += count
    return sorted(received, key=lambda worker: (-received[worker], worker))[:_MAX_WORKERS]


def _is_received_again(facts: Facts, name: str) -> bool:
    kind = facts.types.get(name)
    if kind is None or not kind.counts.keys() - FINAL_STATES - _NOT_HELD:
        return False
    received, retried, rejected = (
        facts.events.get((name, f"task-{event}"), 0) for event in ("received", "retried", "rejected")
    )
    return received > sum(kind.counts.values()) + retried + rejected


def _copies(requests: OptionalRequests, workers: Iterable[str]) -> dict[str, HeldTwice]:
    """Return the tasks that the workers hold more than once, by id.

    At least one copy of each task has been redelivered.
    """
    copies: dict[str, Counter[str]] = defaultdict(Counter)
    redelivered: dict[str, str] = {}
    for worker in workers:
        reply = requests.ask(functools.partial(ask_worker, requests.flower, worker, requests.until)) or {}
        flags: dict[str, set[bool]] = defaultdict(set)
        # Flower asks for the lists one after the other, so one delivery may be in two of them. A task is certainly held
        # twice if it is in one list twice, or if one of its deliveries is marked as redelivered and another one is not.
        for tasks in (tasks_in(reply, name) for name in ("active", "reserved", "scheduled")):
            for task in tasks:
                delivery = task.get("delivery_info")
                is_redelivered = isinstance(delivery, dict) and delivery.get("redelivered") is True
                flags[task["id"]].add(is_redelivered)
                if is_redelivered:
                    redelivered[task["id"]] = label_text(task.get("name"), "")
            for task_id, count in Counter(task["id"] for task in tasks).items():
                copies[task_id][worker] = max(copies[task_id][worker], count, len(flags[task_id]))
    return {
        task_id: HeldTwice(task_id, name, tuple(sorted(copies[task_id])), copies[task_id].total())
        for task_id, name in redelivered.items()
        if copies[task_id].total() > 1
    }
