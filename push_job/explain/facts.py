"""The immutable facts about one Flower that the rules judge.

An empty collection means that there is nothing; None means that nobody said. Times are Unix seconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from push_job.flower.page import OTHER_TYPES
from push_job.flower.task import STATES, UNKNOWN_TYPE

#: Heartbeats that Flower keeps of a worker (celery.events.state.Worker.heartbeat_max).
HEARTBEATS_KEPT = 4

#: Seconds that a heartbeat may lag behind a task event: two heartbeats, and rounding.
SETTLED = 10

#: Seconds after its start in which Flower knows little of tasks.
YOUNG = 600

#: Seconds from which on a worker's clock is called wrong.
SKEWED = 60

#: States that Celery gives a task that is done, in addition to those of STATES.
FINAL_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED"})

#: Names that stand for several task types, or for none.
_NO_TYPES = frozenset({OTHER_TYPES, UNKNOWN_TYPE})

_LONGEST_ID = 200


@dataclass(frozen=True)
class Task:
    """An unfinished or failed task.

    Attributes:
        since: when it entered its state, or its ETA if that is later.
        eta: its ETA.
        stamp: when its newest event was sent, by the sender's clock.
        clock: the logical clock of that event.
        retries: how often it was retried.
    """

    id: str
    name: str
    state: str
    worker: str = ""
    routing_key: str = ""
    exchange: str = ""
    since: float | None = None
    sent: float | None = None
    received: float | None = None
    started: float | None = None
    eta: float | None = None
    stamp: float | None = None
    clock: int | None = None
    retries: int = 0

    @property
    def has_started(self) -> bool:
        """Whether it runs: it is STARTED, or in a custom state after that."""
        return self.state == "STARTED" or (
            self.state not in STATES and self.state not in FINAL_STATES and self.started is not None
        )


@dataclass(frozen=True)
class ConsumedQueue:
    """A queue as a worker that consumes it describes it."""

    name: str
    routing_key: str
    exchange: str
    exchange_type: str


@dataclass(frozen=True)
class Answer:
    """What a worker itself answered now.

    Attributes:
        queues: the queues that it consumes, None if it did not say.
        processes: how many tasks it can run at once.
        pool: the module of its pool, as ``celery.concurrency.solo``.
        running: ids of the tasks that it runs; None if only all workers were asked, which leaves that out.
        unacknowledged: those of them whose message the broker still holds for it (acks_late).
        held: ids of the tasks that it has fetched and not begun; None as with `running`.
        uptime: seconds since its process started.
        accepted: how many tasks of each type it has begun since then.
    """

    queues: tuple[ConsumedQueue, ...] | None = None
    processes: float | None = None
    pool: str = ""
    running: frozenset[str] | None = None
    unacknowledged: frozenset[str] = frozenset()
    held: frozenset[str] | None = None
    uptime: float | None = None
    accepted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Worker:
    """One worker, as Flower's page of workers shows it.

    Attributes:
        heartbeats: their times by Flower's clock, the newest HEARTBEATS_KEPT; each task event counts as one, by the
            worker's clock. Empty after an orderly stop; None if Flower's page could not be read.
        active: tasks that it ran at its last heartbeat.
        processed: tasks that it has accepted since its start.
        interval: seconds between its heartbeats.
        events: how many events of each type Flower has had from it.
        clock: its logical clock at its last heartbeat.
        pids: the process ids under its name, where more than one sends heartbeats.
        answer: what it said when it was asked now.
        pool: the module of its pool, as it said now or when Flower asked it before.
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
    answer: Answer | None = None
    pool: str = ""

    @property
    def last_heartbeat(self) -> float | None:
        """When Flower last heard it."""
        return max(self.heartbeats) if self.heartbeats else None

    @property
    def stopped_in_order(self) -> bool:
        """Whether it announced its end, by the heartbeats that Flower keeps of it."""
        return self.heartbeats is not None and (
            not self.heartbeats or (len(self.heartbeats) < HEARTBEATS_KEPT and self.events.get("worker-offline", 0) > 0)
        )

    @property
    def can_run(self) -> float:
        """At most how many tasks it runs now, by what it says."""
        active = float("inf") if self.active is None else float(self.active)
        processes = self.answer.processes if self.answer else None
        return active if processes is None else min(active, processes)


@dataclass(frozen=True)
class Queue:
    """A queue of the broker.

    Attributes:
        ready: messages that wait.
        unacknowledged: messages that workers hold (RabbitMQ only).
        consumers: connections that consume it (RabbitMQ only).
    """

    name: str
    ready: int
    unacknowledged: int | None = None
    consumers: int | None = None


@dataclass(frozen=True)
class Queues:
    """What the broker said of its queues.

    Attributes:
        known: the queues; None if the broker could not be asked.
        error: why not.
        refused: whether Flower reached its own broker client and that failed (HTTP 500).
        empty: whether the answer was an empty list: RabbitMQ's management API did not answer Flower.
    """

    known: tuple[Queue, ...] | None
    error: str = ""
    refused: bool = False
    empty: bool = False


@dataclass(frozen=True)
class TaskType:
    """What Flower remembers of one task type.

    Attributes:
        counts: tasks by state.
        last_success, last_failure: when it last ended so.
        first_failure: when it first failed after its last success.
        failures_since_success: how often it has failed since then.
        recent: how often it ended within the last hour, by state.
        exceptions: of the failures within the last hour and since the last success, by class.
        longest: the longest runtime of its successes, seconds.
        interval: the usual seconds between two tasks, if it comes regularly.
        last_came: when the newest one was sent or received.
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


@dataclass(frozen=True)
class Unfinished:
    """The unfinished tasks in one state, or None where Flower did not list them.

    Attributes:
        tasks: those that had no event for longest.
        count: how many there are in all.
    """

    tasks: tuple[Task, ...] | None
    count: int


@dataclass(frozen=True)
class Facts:
    """Everything that is known of one Flower.

    Attributes:
        url: its base URL.
        now: its Unix time.
        scanned: its Unix time when the scrape began: what came later may not have been seen.
        workers: by node name.
        types: task types by name.
        task_count: how many tasks it remembers.
        unfinished: unfinished tasks by state.
        failed: the newest failure of each type that fails.
        queues: the broker's queues.
        has_sent_events: whether any task has the event of its sending; None without tasks.
        started_at: when Flower's process started.
        earliest: the earliest event that it remembers of a task.
        newest: the tasks with the newest events.
        events: how many events of each type Flower has had of each task type since it started: by (name, event type).
        received: how many tasks of each type Flower heard each worker receive since it started: by (worker, name).
        were_asked: whether the workers were asked.
        unanswered: questions that Flower did not answer, with the reason.
    """

    url: str
    now: float
    scanned: float
    workers: Mapping[str, Worker]
    types: Mapping[str, TaskType]
    task_count: int
    unfinished: Mapping[str, Unfinished]
    queues: Queues
    failed: Mapping[str, Task] = field(default_factory=dict)
    has_sent_events: bool | None = None
    started_at: float | None = None
    earliest: float | None = None
    newest: tuple[Task, ...] = ()
    events: Mapping[tuple[str, str], int] = field(default_factory=dict)
    received: Mapping[tuple[str, str], int] = field(default_factory=dict)
    were_asked: bool = False
    unanswered: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def live(self) -> tuple[Worker, ...]:
        """The workers whose heartbeats Flower sees."""
        return tuple(worker for _, worker in sorted(self.workers.items()) if worker.alive)

    @cached_property
    def gone(self) -> tuple[Worker, ...]:
        """The workers that Flower knows and does not hear, the ones that went last first."""
        gone = (worker for worker in self.workers.values() if not worker.alive)
        return tuple(sorted(gone, key=lambda worker: (-(worker.last_heartbeat or 0.0), worker.name)))

    @cached_property
    def waiting_queues(self) -> tuple[Queue, ...]:
        """The queues in which messages wait, the longest first."""
        known = (queue for queue in self.queues.known or () if queue.ready > 0)
        return tuple(sorted(known, key=lambda queue: (-queue.ready, queue.name)))

    def tasks_in(self, *states: str) -> tuple[Task, ...]:
        """The listed tasks in these states, the oldest first."""
        groups = (self.unfinished[state] for state in states if state in self.unfinished)
        found = (task for group in groups for task in group.tasks or ())
        return tuple(sorted(found, key=lambda task: (task.since or self.now, task.id)))

    @cached_property
    def started(self) -> tuple[Task, ...]:
        """The listed tasks that have started and not ended, as far as Flower heard."""
        found = (task for group in self.unfinished.values() for task in group.tasks or () if task.has_started)
        return tuple(sorted(found, key=lambda task: (task.started or task.since or self.now, task.id)))

    @cached_property
    def skews(self) -> Mapping[str, float]:
        """Seconds by which clocks of live workers are fast (negative: slow), by name."""
        found = {}
        for worker in self.live:
            if abs(skew := _skew(worker, (*self.newest, *self.started, *self.tasks_in("RECEIVED")), self.now)) > SKEWED:
                found[worker.name] = skew
        return found

    @cached_property
    def ended_unheard(self) -> tuple[Task, ...]:
        """The tasks that ended without Flower hearing of it: their worker is alive."""
        lost: list[Task] = []
        for worker in self.live:
            if worker.name not in self.skews:
                lost += _not_running(worker, self.started_by(worker.name), self.now)
                lost += [task for task in self.tasks_in("RECEIVED") if self._is_dropped(worker, task)]
        return tuple(lost)

    def _is_dropped(self, worker: Worker, task: Task) -> bool:
        """Whether a task that Flower shows as RECEIVED is no longer with its worker.

        The worker does not list it, and it has begun as many tasks of the type as Flower heard it receive: what a
        rate_limit holds back is not listed either, but has not begun.
        """
        answer = worker.answer
        if task.worker != worker.name or answer is None or answer.held is None or self.age(task.since) <= SETTLED:
            return False
        received = self.received.get((worker.name, task.name))
        is_listed = task.id in answer.held or task.id in (answer.running or ())
        return not is_listed and received is not None and answer.accepted.get(task.name, 0) >= received

    @cached_property
    def running(self) -> tuple[Task, ...]:
        """The started tasks that a live worker may run.

        Without those whose ages rest on a wrong clock.
        """
        lost = {task.id for task in self.ended_unheard}
        live = {worker.name for worker in self.live} - self.skews.keys()
        return tuple(task for task in self.started if task.worker in live and task.id not in lost)

    @cached_property
    def waiting(self) -> tuple[Task, ...]:
        """The tasks that wait for a live worker, or at it, the oldest first."""
        held = []
        for task in self.tasks_in("PENDING", "RECEIVED", "RETRY"):
            worker = self.workers.get(task.worker) if task.state == "RECEIVED" else None
            is_gone = worker is not None and not worker.alive
            is_dropped = worker is not None and self._is_dropped(worker, task)
            if not is_dropped and not is_gone and task.worker not in self.skews:
                held.append(task)
        return tuple(held)

    @cached_property
    def is_rabbitmq(self) -> bool:
        """Whether the broker is known to be a RabbitMQ."""
        return self.queues.empty or any(queue.consumers is not None for queue in self.queues.known or ())

    @cached_property
    def extra_consumers(self) -> int | None:
        """Consumers that RabbitMQ counts in addition to those of live workers.

        They belong to silent workers that are still connected.
        """
        counts = {queue.name: queue.consumers for queue in self.queues.known or () if queue.consumers is not None}
        if not counts or (self.live and self.consumed_queues is None):
            return None
        of_live = self.consumed_queues or Counter()
        return max(0, *(count - of_live[name] for name, count in counts.items()))

    def held_by(self, worker: str) -> tuple[Task, ...]:
        """The tasks that a worker had fetched and not ended, as far as Flower heard."""
        return (*(task for task in self.tasks_in("RECEIVED") if task.worker == worker), *self.started_by(worker))

    def started_by(self, worker: str) -> tuple[Task, ...]:
        """The tasks that a worker had begun and not ended, as far as Flower heard."""
        return tuple(task for task in self.started if task.worker == worker)

    def age(self, since: float | None) -> float:
        """Seconds since then, never below 0; 0 if it is not known."""
        return 0.0 if since is None else max(0.0, self.now - since)

    def consumers(self, queue: str) -> int | None:
        """How many consumers a queue has; None if neither broker nor workers say."""
        of_broker = next((known.consumers for known in self.queues.known or () if known.name == queue), None)
        of_workers = self.consumed_queues
        if of_workers is None or of_broker == 0:
            return of_broker
        return max(of_broker or 0, of_workers[queue])

    @cached_property
    def consumed_queues(self) -> Counter[str] | None:
        """How many live workers consume each queue; None unless all of them said so."""
        if not self.were_asked or self.silent:
            return None
        return Counter(queue.name for queue in self.all_consumed)

    @cached_property
    def all_consumed(self) -> tuple[ConsumedQueue, ...]:
        """The queues that live workers said they consume."""
        return tuple(queue for worker in self.live if worker.answer for queue in worker.answer.queues or ())

    @cached_property
    def silent(self) -> tuple[Worker, ...]:
        """The live workers that were asked and did not say which queues they consume."""
        asked = self.live if self.were_asked else ()
        return tuple(worker for worker in asked if worker.answer is None or worker.answer.queues is None)

    @cached_property
    def processes(self) -> float | None:
        """How many tasks the live workers can run at once; None unless all said so."""
        sizes = [worker.answer.processes if worker.answer else None for worker in self.live]
        known = [size for size in sizes if size is not None]
        return sum(known) if known and len(known) == len(sizes) else None

    @cached_property
    def active(self) -> int | None:
        """How many tasks all live workers run; None unless all of them said so."""
        counts = [worker.active for worker in self.live]
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None

    @property
    def is_young(self) -> bool:
        """Whether Flower started lately and remembers nothing from before its start."""
        return (
            self.started_at is not None
            and self.age(self.started_at) < YOUNG
            and (self.earliest is None or self.earliest >= self.started_at - SKEWED)
        )

    def count(self, *states: str) -> int:
        """How many tasks are in one of these states."""
        return sum(kind.counts.get(state, 0) for kind in self.types.values() for state in states)

    def link(self, task: Task | None) -> str | None:
        """Flower's page of the task."""
        return f"{self.url}/task/{quote(task.id, safe='')}" if task and len(task.id) <= _LONGEST_ID else None


def is_a_type(name: str) -> bool:
    """Whether the name is that of one task type."""
    return name not in _NO_TYPES


def _skew(worker: Worker, tasks: Iterable[Task], now: float) -> float:
    """Seconds by which a live worker's clock is fast, negative if it is slow.

    The least that its events prove.

    Fast: an event came from the future. Slow: a worker's logical clock ticks at each heartbeat, so no more time than
    that many intervals can have passed since an event, whatever time stamp it carries. That holds only for tasks that
    the worker holds now: an earlier process of the same name had a logical clock of its own.
    """
    own = [task for task in tasks if task.worker == worker.name and task.stamp is not None]
    fast = max((0.0, *((task.stamp or now) - now for task in own)))
    slow = 0.0 if fast > SKEWED else max((0.0, *(_slow_by(worker, task, now) for task in own)))
    return -slow if slow > SKEWED else fast


def _slow_by(worker: Worker, task: Task, now: float) -> float:
    """Seconds by which one task that a worker holds now proves its clock slow; else 0."""
    answer = worker.answer
    if worker.clock is None or answer is None or "solo" in answer.pool:  # which does not tick during a task
        return 0.0
    if task.id not in (answer.running or frozenset()) | (answer.held or frozenset()):
        return 0.0
    ticks = worker.clock - (task.clock or 0) + 2
    passed = min(ticks * max(worker.interval, 2.0), answer.uptime or math.inf) + SETTLED
    return now - (task.stamp or now) - passed


def _not_running(worker: Worker, started: Iterable[Task], now: float) -> list[Task]:
    """The started tasks that their worker does not run; `started` is oldest first.

    The ids that it lists are the best evidence. A pool of threads lists tasks that have ended too, if their end
    could not be reported, so never more run than it has processes. Where only a number is known, the newest run.
    """
    tasks = list(started)
    running = worker.answer.running if worker.answer else None
    if running is not None:
        listed = [task for task in tasks if task.id in running]
        lost = [task for task in tasks if task.id not in running]
        processes = worker.answer.processes if worker.answer else None
        surplus = len(listed) - int(processes or len(listed))
        lost += listed[: max(0, surplus)]
    else:
        surplus = len(tasks) - min(len(tasks), int(min(worker.can_run, len(tasks))))
        lost = tasks[:surplus]
    return [task for task in lost if now - (task.started or task.since or now) > SETTLED]
