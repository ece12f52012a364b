"""Parts of the facts about one Flower: tasks, workers, queues and task types.

An empty collection means that there is nothing. None means that the information is missing. Times are Unix times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from push_job.flower.routing import ConsumedQueue, Route
from push_job.flower.task import STATES

#: Heartbeats that Flower keeps of a worker (celery.events.state.Worker.heartbeat_max).
HEARTBEATS_KEPT = 4

_NO_ROUTE = Route("", "")

#: States of a task that has ended.
FINAL_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED"})


@dataclass(frozen=True)
class Task:
    """An unfinished or failed task.

    Attributes:
        route: the route by which it was sent.
        since: time at which it entered its state, or its ETA if that is later.
        sent: time of its newest task-sent event.
        received: time of its newest task-received event.
        started: time of its newest task-started event.
        eta: its ETA.
        stamp: time of its newest event, by the sender's clock.
        clock: Celery's logical clock of that event.
        has_expired: whether it was revoked because it expired.
        lost_by: how the process that ran it ended: ``signal 9 (SIGKILL)`` or ``exitcode 1``; empty if not known.
    """

    id: str
    name: str
    state: str
    worker: str = ""
    route: Route = _NO_ROUTE
    since: float | None = None
    sent: float | None = None
    received: float | None = None
    started: float | None = None
    eta: float | None = None
    stamp: float | None = None
    clock: int | None = None
    has_expired: bool = False
    lost_by: str = ""

    @property
    def has_started(self) -> bool:
        """Return whether the task is STARTED or in a custom state that follows STARTED."""
        return self.state == "STARTED" or (
            self.state not in STATES and self.state not in FINAL_STATES and self.started is not None
        )


@dataclass(frozen=True)
class Answer:
    """A worker's reply to remote control commands that Flower sent during this run.

    Attributes:
        queues: the queues that it consumes; None if missing.
        processes: number of tasks that it can run at the same time.
        running: ids of the tasks that it runs; None if this worker was not asked alone (the reply of all workers has no
            ids).
        unacknowledged: ids of running tasks whose message is not acknowledged yet (acks_late).
        held: ids of the tasks that it has fetched but not started; None in the same case as `running`.
        uptime: seconds since its process started.
        accepted: number of tasks of each type that it has started since then.
    """

    queues: tuple[ConsumedQueue, ...] | None = None
    processes: float | None = None
    running: frozenset[str] | None = None
    unacknowledged: frozenset[str] = frozenset()
    held: frozenset[str] | None = None
    uptime: float | None = None
    accepted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Worker:
    """One worker, as Flower's list of workers shows it.

    Attributes:
        heartbeats: times of the newest HEARTBEATS_KEPT heartbeats, by Flower's clock. Flower counts each task event as
            a heartbeat too, by the worker's clock. Empty after a clean shutdown; None if the list could not be read.
        active: number of tasks that it ran at its last heartbeat.
        processed: number of tasks that it has accepted since its start.
        interval: seconds between its heartbeats.
        events: number of events that Flower has received from it, by event type.
        clock: its logical clock at its last heartbeat.
        pids: ids of the processes that send heartbeats under its name.
        answer: its reply during this run; everything is missing if it was not asked or did not reply.
        pool: module of its pool, e.g. ``celery.concurrency.solo``, from its newest reply that Flower has; empty if not
            known.
    """

    name: str
    alive: bool
    heartbeats: tuple[float, ...] | None = None
    active: int | None = None
    processed: int | None = None
    interval: float = 2.0
    events: Mapping[str, int] = field(default_factory=dict)
    clock: int | None = None
    pids: frozenset[int] = frozenset()
    answer: Answer = Answer()
    pool: str = ""

    @property
    def last_heartbeat(self) -> float | None:
        """Time of the last heartbeat, or None."""
        return max(self.heartbeats) if self.heartbeats else None

    @property
    def shut_down_cleanly(self) -> bool:
        """Whether it sent worker-offline after its last heartbeat."""
        return self.heartbeats is not None and (
            not self.heartbeats or (len(self.heartbeats) < HEARTBEATS_KEPT and self.events.get("worker-offline", 0) > 0)
        )

    @property
    def can_run(self) -> float:
        """Upper limit of the number of tasks that it runs now, as it reported."""
        active = float("inf") if self.active is None else float(self.active)
        return active if self.answer.processes is None else min(active, self.answer.processes)


@dataclass(frozen=True)
class Queue:
    """A queue of the broker.

    Attributes:
        ready: number of messages that wait.
        unacknowledged: number of messages that workers have fetched but not acknowledged (RabbitMQ only).
        consumers: number of consumers (RabbitMQ only).
    """

    name: str
    ready: int
    unacknowledged: int | None = None
    consumers: int | None = None


@dataclass(frozen=True)
class Queues:
    """The broker's queues, as far as Flower could read them.

    Attributes:
        known: the queues; None if Flower could not read them.
        error: the reason.
        refused: whether Flower's request to the broker failed (HTTP 500).
        empty: whether Flower returned an empty list: RabbitMQ's management API did not answer Flower.
    """

    known: tuple[Queue, ...] | None
    error: str = ""
    refused: bool = False
    empty: bool = False


@dataclass(frozen=True)
class HeldTwice:
    """A task that workers hold more than once.

    Attributes:
        workers: the workers that hold it.
        copies: number of times that they hold it, at least.
    """

    id: str
    name: str
    workers: tuple[str, ...]
    copies: int


@dataclass(frozen=True)
class TaskType:
    """Statistics of the tasks of one type that Flower remembers.

    Attributes:
        counts: number of tasks by state.
        last_success: time of the last success.
        last_failure: time of the last failure.
        first_failure: time of the first failure after the last success.
        failures_since_success: number of failures after the last success.
        recent: number of tasks that ended within the last hour, by state.
        exceptions: number of remembered failures by exception class.
        longest: longest runtime of a success in seconds.
        interval: usual seconds between two tasks, if the type runs regularly.
        last_came: time at which the newest task was sent or received.
        is_sending_seen: whether at least half of the tasks have a task-sent event.
    """

    name: str
    counts: Mapping[str, int] = field(default_factory=dict)
    last_success: float | None = None
    last_failure: float | None = None
    first_failure: float | None = None
    failures_since_success: int = 0
    recent: Mapping[str, int] = field(default_factory=dict)
    exceptions: Mapping[str, int] = field(default_factory=dict)
    longest: float | None = None
    interval: float | None = None
    last_came: float | None = None
    is_sending_seen: bool = True
