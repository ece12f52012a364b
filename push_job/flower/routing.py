"""Routing of tasks to queues, as Celery and AMQP do it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from push_job.flower.task import TaskFields, TextColumn, label_text

#: Prefix that kombu.transport.native_delayed_delivery adds to the routing key of a delayed message: one bit for each
#: exchange that the message passes.
_DELAY = re.compile(r"(?:[01]\.){28}")


class Route(NamedTuple):
    """Exchange and routing key of a task.

    Both are empty if Flower received no task-sent event of the task.
    """

    exchange: str
    routing_key: str


def route(exchange: Any, routing_key: Any) -> Route:
    """Return the route in the fields of a task, without the prefix of a delay."""
    key = label_text(routing_key, "")
    if delay := _DELAY.match(key):
        return Route("", key[delay.end() :])
    return Route(label_text(exchange, ""), key)


def _text(exchange: Any, routing_key: Any) -> str:
    found = route(exchange, routing_key)
    return f"{found.exchange}\n{found.routing_key}" if found.routing_key else ""


def _route_text(task: TaskFields) -> str:
    return _text(task.exchange, task.routing_key)


def _route_texts(tasks: Collection[TaskFields]) -> list[str]:
    text = _cached_text
    try:
        return ["" if (key := task.routing_key) is None else text(task.exchange, key) for task in tasks]
    except TypeError:  # a list or an object, which cannot be hashed
        return list(map(_route_text, tasks))


_cached_text = lru_cache(maxsize=1000)(_text)

#: The route of each task as a text; see `route_in`.
ROUTE = TextColumn(_route_text, of_many=_route_texts)


def route_in(text: str) -> Route | None:
    """Return the route in a text of the column ROUTE; None if there is none."""
    exchange, separator, routing_key = text.partition("\n")
    return Route(exchange, routing_key) if separator else None


@dataclass(frozen=True)
class ConsumedQueue:
    """A queue, as described by a worker that consumes it."""

    name: str
    routing_key: str
    exchange: str
    exchange_type: str

    def receives(self, sent: Route) -> bool:
        """Return whether the broker routes a task to this queue."""
        if sent.routing_key == self.name:
            return True
        if sent.exchange and sent.exchange != self.exchange:
            return False
        if self.exchange_type == "direct":
            return sent.routing_key == self.routing_key
        # Other types (fanout, headers) do not route by the key: assume that the queue receives the task.
        return self.exchange_type != "topic" or _topic(self.routing_key).fullmatch(sent.routing_key) is not None


def queues_in(reply: Mapping[str, Any]) -> tuple[ConsumedQueue, ...] | None:
    """Return the queues in the reply of a worker, or None.

    The worker consumes these queues. Return None if the reply does not have them.
    """
    queues = reply.get("active_queues")
    if not isinstance(queues, list):
        return None
    return tuple(_consumed(queue) for queue in queues if isinstance(queue, dict))


def _consumed(queue: Mapping[str, Any]) -> ConsumedQueue:
    exchange = queue.get("exchange")
    exchange = exchange if isinstance(exchange, dict) else {}
    return ConsumedQueue(
        label_text(queue.get("name"), "unknown"),
        label_text(queue.get("routing_key"), ""),
        label_text(exchange.get("name"), ""),
        label_text(exchange.get("type"), "direct"),
    )


def _topic(key: str) -> re.Pattern[str]:
    """Return a pattern for an AMQP topic.

    Dots separate words. ``*`` stands for one word, and ``#`` for any number of words.
    """
    pattern = ""
    for place, word in enumerate(key.split(".")):
        dot = r"\." if place else ""
        if word == "#":
            pattern += rf"(?:{dot}[^.]+)*" if place else r"(?:[^.]+(?:\.[^.]+)*)?"
        else:
            pattern += dot + ("[^.]*" if word == "*" else re.escape(word))
    return re.compile(pattern.replace(r"(?:[^.]+(?:\.[^.]+)*)?\.", r"(?:[^.]+\.)*"))
