"""What ``explain`` asks a Flower beside what a push reads: few small questions, each only when it is called for.

None of them may spoil what is known already: one that fails is answered with nothing, and the log tells why.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prometheus_client.metrics_core import Metric

from push_job import log
from push_job.flower.api import Flower
from push_job.flower.task import TaskFields, label_text, reported, since_of
from push_job.http.errors import TransportError
from push_job.metrics.extras.numbers import finite_number, finite_numbers
from push_job.metrics.extras.own_metrics import read_own_metrics
from push_job.metrics.extras.pools import ask_workers, pool_size

T = TypeVar("T")

#: Tasks in an answer, and the most bytes of one: what a worker holds and what is oldest are few.
MOST_TASKS = 100
_MOST_BYTES = 4 * 2**20

#: Questions about tasks: with more trouble than that, each further one is told without its task.
_MOST_QUESTIONS = 40

_STARTED_AT = "process_start_time_seconds"

#: Heartbeats of a worker that Flower remembers (celery.events.state.Worker.heartbeat_max).
HEARTBEATS_KEPT = 4


@dataclass(frozen=True)
class FoundTask:
    """A task as Flower tells it; `since` is the Unix time since when it is in its state, None if that is not known."""

    id: str
    name: str
    state: str
    worker: str
    routing_key: str
    since: float | None


@dataclass(frozen=True)
class Worker:
    """What Flower's page of workers has of one.

    Attributes:
        last_heartbeat: its Unix time, None after an orderly stop.
        heartbeats: how many Flower has, HEARTBEATS_KEPT after a while; an orderly stop takes them all away, and each
            event of a task counts as one.
        processed: tasks that it has accepted.
        active: tasks that it ran then.
    """

    last_heartbeat: float | None
    processed: float
    active: float
    heartbeats: int = HEARTBEATS_KEPT


@dataclass
class Consumers:
    """Who consumes what, as the workers themselves say.

    Attributes:
        answered: the workers that said which queues they consume.
        queues: how many of those that are alive consume each queue.
        keys: the routing keys of these queues.
        any_key: whether one of them takes keys that cannot be compared with a task's.
        processes: how many tasks each worker can run at once, where it said so.
    """

    answered: set[str] = field(default_factory=set)
    queues: Counter[str] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)
    any_key: bool = False
    processes: dict[str, float] = field(default_factory=dict)


class Asking:
    """Questions to one Flower, all of them over by `until`, a moment of ``time.monotonic()``.

    `unanswered` has what could not be learnt, and why.
    """

    def __init__(self, flower: Flower, until: float) -> None:
        self._flower = flower
        self._until = until
        self._questions = 0
        self.unanswered: dict[str, str] = {}

    @property
    def is_spent(self) -> bool:
        """Whether no more questions about tasks are asked."""
        return self._questions >= _MOST_QUESTIONS

    def workers(self) -> tuple[dict[str, Worker], float]:
        """What its page of workers shows of each, by node name; and Flower's Unix time, or ours if it has none."""
        none: tuple[dict[str, dict[str, Any]], float, str] = ({}, time.time(), "")
        rows, now, _ = self._try(lambda: self._flower.worker_list(self._until), none, "which workers went away")
        found = {}
        for name, row in rows.items():
            beats = finite_numbers(row.get("heartbeats"))
            processed, active = (finite_number(row.get(key)) or 0.0 for key in ("processed", "active"))
            found[name] = Worker(max(beats, default=None), processed, active, len(beats))
        return found, now

    def started_at(self) -> float | None:
        """The Unix time when Flower's process began, where it says so."""
        none: list[Metric] = []
        families = self._try(lambda: read_own_metrics(self._flower, self._until, _STARTED_AT.__eq__), none)
        values = [finite_number(sample.value) for family in families for sample in family.samples]
        return values[0] if values else None

    def oldest(self, state: str, count: int, name: str | None = None) -> list[FoundTask]:
        """The tasks in this state, of which there are `count`, that have had no event for longest."""
        asked = {} if name is None else {"taskname": name}
        # The list begins with the newest event.
        found = self._tasks(state=state, offset=max(0, count - MOST_TASKS), **asked)
        return [task for task in found if task.state == state and name in (None, task.name)]

    def newest(self, state: str, name: str) -> FoundTask | None:
        """The task of this type that came into this state last."""
        found = self._tasks(state=state, taskname=name)
        known = [task for task in found if task.state == state and task.name == name]
        return max(known, key=lambda task: (task.since or 0.0, task.id), default=None)

    def earliest(self, count: int) -> float | None:
        """The Unix time of the event that lies furthest back, of those that Flower's `count` tasks had last."""
        entries = self._entries(offset=max(0, count - MOST_TASKS))
        stamps = (finite_number(entry.get("timestamp")) for entry in entries.values())
        return min((stamp for stamp in stamps if stamp), default=None)

    def held_by(self, worker: str) -> list[FoundTask]:
        """The tasks that the worker had fetched and not done, the first MOST_TASKS of a state."""
        states = ("RECEIVED", "STARTED")
        # By id: one may be started between the two questions.
        found = {task.id: task for state in states for task in self._tasks(state=state, workername=worker)}
        return [task for task in found.values() if task.worker == worker and task.state in states]

    def consumers(self, alive: set[str]) -> Consumers:
        """Ask the workers for their queues and pools, which costs each of them a little and Flower about a second."""
        none: dict[str, dict[str, Any]] = {}
        answers = self._try(lambda: ask_workers(self._flower, self._until), none, "who consumes which queue")
        found = Consumers()
        for worker, answer in sorted(answers.items()):
            queues = answer.get("active_queues")
            if worker not in alive or not isinstance(queues, list):
                continue
            found.answered.add(worker)
            for queue in filter(_is_object, queues):
                found.queues[label_text(queue.get("name"), "unknown")] += 1
                key, exchange = queue.get("routing_key"), queue.get("exchange")
                found.keys.add(label_text(key, ""))
                kind = exchange.get("type") if isinstance(exchange, dict) else None
                found.any_key = found.any_key or kind not in (None, "direct")
            if (size := pool_size(answer)) is not None:
                found.processes[worker] = size
        return found

    def _tasks(self, **params: str | int) -> list[FoundTask]:
        return [_found(task_id, entry) for task_id, entry in self._entries(**params).items()]

    def _entries(self, **params: str | int) -> dict[str, dict[str, Any]]:
        def ask() -> Any:
            return self._flower.get_json("/api/tasks", self._until, max_bytes=_MOST_BYTES, limit=MOST_TASKS, **params)

        entries: Any = {} if self.is_spent else self._try(ask, {}, "the tasks that were asked for")
        self._questions += 1
        found = entries.items() if isinstance(entries, dict) else ()
        return {task_id: entry for task_id, entry in found if _is_object(entry)}

    def _try(self, ask: Callable[[], T], otherwise: T, what: str = "") -> T:
        """The answer, or what is used in its place; `what` it would have told is noted, if that could be missed."""
        try:
            return ask()
        except TransportError as error:
            log.event(logging.DEBUG, "not answered", flower=self._flower.client.endpoint.address, error=str(error))
            if what:
                self.unanswered.setdefault(what, str(error))
            return otherwise


def _found(task_id: str, entry: dict[str, Any]) -> FoundTask:
    fields = TaskFields(**{name: entry[name] for name in TaskFields.__struct_fields__ if name in entry})
    since = next(reported([since_of(fields)]), None)
    if since is None:
        since = finite_number(fields.timestamp)
    name, state, worker, key = (label_text(entry.get(key), "") for key in ("name", "state", "worker", "routing_key"))
    return FoundTask(task_id, name, state, worker, key, since)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
