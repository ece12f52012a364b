"""Facts about one Flower: the immutable input of the rules.

An empty collection means that there is nothing. None means that the information is missing. Times are Unix times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from push_job.explain.clock_skew import HEARTBEAT_LAG, MAX_SKEW, skew_of
from push_job.explain.model import HeldTwice, Queue, Queues, Task, TaskType, Worker
from push_job.flower.page import OTHER_TYPES
from push_job.flower.routing import ConsumedQueue
from push_job.flower.task import UNKNOWN_TYPE

#: Seconds after Flower's start during which it has seen only few tasks.
YOUNG_SECONDS = 600

#: Names that stand for several task types or for an unknown one.
_NO_TYPES = frozenset({OTHER_TYPES, UNKNOWN_TYPE})

#: Longest task id in characters that is put into a link.
_MAX_ID_LENGTH = 200


@dataclass(frozen=True)
class Facts:
    """Everything that was read from one Flower.

    Attributes:
        url: its base URL.
        now: Unix time of its clock.
        scanned: Unix time of its clock at the start of the scrape. Later events may be missing.
        workers: workers by node name.
        types: task types by name.
        task_count: number of tasks that it remembers.
        unfinished: the unfinished tasks; the oldest ones if there are many.
        failed: the newest failed task of the types with the most failures, by type.
        revoked: the newest revoked tasks.
        queues: the broker's queues.
        has_sent_events: whether any task has a task-sent event; None if there are no tasks.
        started_at: time at which Flower's process started.
        earliest: time of the earliest task event that it remembers.
        newest: the tasks with the newest events.
        events: number of events that Flower has received since its start, by (task type, event type).
        received: number of task-received events since Flower's start, by (worker, task type).
        held_twice: tasks that workers hold more than once, because the broker has delivered them again.
        were_asked: whether all workers were asked, through Flower, for the queues that they consume.
        unanswered: requests that Flower did not answer: the missing information and the reason.
        failed_incremental_scrapes: number of incremental scrapes in a row that have failed, by the state file.
        incremental_scrape_error: the reason of the last one.
    """

    url: str
    now: float
    scanned: float
    workers: Mapping[str, Worker]
    types: Mapping[str, TaskType]
    task_count: int
    unfinished: tuple[Task, ...]
    queues: Queues
    failed: Mapping[str, Task] = field(default_factory=dict)
    revoked: tuple[Task, ...] = ()
    has_sent_events: bool | None = None
    started_at: float | None = None
    earliest: float | None = None
    newest: tuple[Task, ...] = ()
    events: Mapping[tuple[str, str], int] = field(default_factory=dict)
    received: Mapping[tuple[str, str], int] = field(default_factory=dict)
    held_twice: tuple[HeldTwice, ...] = ()
    were_asked: bool = False
    unanswered: Mapping[str, str] = field(default_factory=dict)
    failed_incremental_scrapes: int = 0
    incremental_scrape_error: str = ""

    @cached_property
    def live(self) -> tuple[Worker, ...]:
        """The workers whose heartbeats Flower receives, sorted by name."""
        return tuple(worker for _, worker in sorted(self.workers.items()) if worker.alive)

    @cached_property
    def gone(self) -> tuple[Worker, ...]:
        """The workers without current heartbeats, the newest last heartbeat first."""
        gone = (worker for worker in self.workers.values() if not worker.alive)
        return tuple(sorted(gone, key=lambda worker: (-(worker.last_heartbeat or 0.0), worker.name)))

    @cached_property
    def waiting_queues(self) -> tuple[Queue, ...]:
        """The queues with waiting messages, the longest first."""
        known = (queue for queue in self.queues.known or () if queue.ready > 0)
        return tuple(sorted(known, key=lambda queue: (-queue.ready, queue.name)))

    def tasks_in(self, *states: str) -> tuple[Task, ...]:
        """Return the listed tasks in `states`, the oldest first."""
        found = (task for task in self.unfinished if task.state in states)
        return tuple(sorted(found, key=lambda task: (task.since or self.now, task.id)))

    @cached_property
    def started(self) -> tuple[Task, ...]:
        """The listed tasks that Flower shows as started and not ended, the oldest first."""
        found = (task for task in self.unfinished if task.has_started)
        return tuple(sorted(found, key=lambda task: (task.started or task.since or self.now, task.id)))

    @cached_property
    def skews(self) -> Mapping[str, float]:
        """Seconds by which the clocks of live workers are fast, by worker.

        A negative number means that the clock is slow. Workers whose skew is at most MAX_SKEW are left out.
        """
        found = {}
        tasks = (*self.newest, *self.started, *self.tasks_in("RECEIVED"))
        for worker in self.live:
            if abs(skew := skew_of(worker, tasks, self.now)) > MAX_SKEW:
                found[worker.name] = skew
        return found

    @cached_property
    def ended_unheard(self) -> tuple[Task, ...]:
        """Tasks of live workers that have ended although Flower received no event of it."""
        lost: list[Task] = []
        for worker in self.live:
            if worker.name not in self.skews:
                lost += _not_running(worker, self.started_by(worker.name), self.now)
                lost += [task for task in self.tasks_in("RECEIVED") if self._is_dropped(worker, task)]
        return tuple(lost)

    def _is_dropped(self, worker: Worker, task: Task) -> bool:
        """Return whether `worker` no longer has a task that Flower shows as RECEIVED.

        Two conditions must hold: the worker does not list the task, and it has started as many tasks of this type as it
        has received. The second excludes tasks that a rate_limit delays: those are not listed either, but have not
        started.
        """
        answer = worker.answer
        if task.worker != worker.name or answer.held is None or self.age(task.since) <= HEARTBEAT_LAG:
            return False
        received = self.received.get((worker.name, task.name))
        is_listed = task.id in answer.held or task.id in (answer.running or ())
        return not is_listed and received is not None and answer.accepted.get(task.name, 0) >= received

    @cached_property
    def running(self) -> tuple[Task, ...]:
        """The started tasks that a live worker probably runs.

        Tasks of workers with a wrong clock are left out, because their ages are not reliable.
        """
        lost = {task.id for task in self.ended_unheard}
        live = {worker.name for worker in self.live} - self.skews.keys()
        return tuple(task for task in self.started if task.worker in live and task.id not in lost)

    @cached_property
    def waiting(self) -> tuple[Task, ...]:
        """The tasks that wait in a queue or at a live worker, the oldest first."""
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
        """Whether the broker is certainly RabbitMQ."""
        return self.queues.empty or any(queue.consumers is not None for queue in self.queues.known or ())

    @cached_property
    def extra_consumers(self) -> int | None:
        """Number of RabbitMQ's consumers that do not belong to live workers, or None.

        They belong to workers that are still connected but send no heartbeats. None means that the number is not known.
        """
        counts = {queue.name: queue.consumers for queue in self.queues.known or () if queue.consumers is not None}
        if not counts or (self.live and self.consumed_queues is None):
            return None
        of_live = self.consumed_queues or Counter()
        return max(0, *(count - of_live[name] for name, count in counts.items()))

    def held_by(self, worker: str) -> tuple[Task, ...]:
        """Return the unfinished tasks that `worker` has received, as Flower shows them."""
        return (*(task for task in self.tasks_in("RECEIVED") if task.worker == worker), *self.started_by(worker))

    def started_by(self, worker: str) -> tuple[Task, ...]:
        """Return the unfinished tasks that `worker` has started, as Flower shows them."""
        return tuple(task for task in self.started if task.worker == worker)

    def age(self, since: float | None) -> float:
        """Return the seconds since a time, at least 0; 0 if the time is None."""
        return 0.0 if since is None else max(0.0, self.now - since)

    def consumers(self, queue: str) -> int | None:
        """Return the number of consumers of a queue, or None.

        None means that neither the broker nor the workers report it.
        """
        of_broker = next((known.consumers for known in self.queues.known or () if known.name == queue), None)
        of_workers = self.consumed_queues
        if of_workers is None or of_broker == 0:
            return of_broker
        return max(of_broker or 0, of_workers[queue])

    @cached_property
    def consumed_queues(self) -> Counter[str] | None:
        """Number of live workers that consume each queue; None unless all of them replied."""
        if not self.were_asked or self.not_replying:
            return None
        return Counter(queue.name for queue in self.all_consumed)

    @cached_property
    def all_consumed(self) -> tuple[ConsumedQueue, ...]:
        """The queues that live workers reported to consume.

        There is one entry per worker and queue.
        """
        return tuple(queue for worker in self.live for queue in worker.answer.queues or ())

    @cached_property
    def not_replying(self) -> tuple[Worker, ...]:
        """The live workers that were asked for their queues and did not reply."""
        asked = self.live if self.were_asked else ()
        return tuple(worker for worker in asked if worker.answer.queues is None)

    @cached_property
    def processes(self) -> float | None:
        """Number of tasks that the live workers can run at the same time, or None.

        It is None unless all of them reported it.
        """
        return _total(worker.answer.processes for worker in self.live)

    @cached_property
    def active(self) -> int | None:
        """Number of tasks that the live workers run; None unless all reported it."""
        total = _total(worker.active for worker in self.live)
        return None if total is None else int(total)

    @property
    def is_young(self) -> bool:
        """Whether Flower started recently and has no tasks from before its start."""
        return (
            self.started_at is not None
            and self.age(self.started_at) < YOUNG_SECONDS
            and (self.earliest is None or self.earliest >= self.started_at - MAX_SKEW)
        )

    def link(self, task: Task | None) -> str | None:
        """Return the URL of Flower's page of the task, or None.

        None means that there is no task or that its id is too long for a link.
        """
        return f"{self.url}/task/{quote(task.id, safe='')}" if task and len(task.id) <= _MAX_ID_LENGTH else None


def _total(values: Iterable[float | None]) -> float | None:
    """Return the sum; None if there is no value or one is missing."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if known and len(known) == len(found) else None


def is_a_type(name: str) -> bool:
    """Return whether `name` stands for exactly one known task type."""
    return name not in _NO_TYPES


def _not_running(worker: Worker, tasks: Sequence[Task], now: float) -> list[Task]:
    """Return the tasks that Flower shows as started but their worker does not run.

    If the worker listed the ids of its running tasks, all others are returned. A pool of threads also lists tasks that
    have ended if their end could not be reported, so of listed tasks only the newest, up to the number of processes,
    count as running. If the worker did not list ids, the newest tasks, up to the number of active ones, count as
    running.

    Args:
        worker: a live worker.
        tasks: its started tasks, the oldest first.
        now: Flower's Unix time.
    """
    running, processes = worker.answer.running, worker.answer.processes
    if running is not None:
        listed = [task for task in tasks if task.id in running]
        lost = [task for task in tasks if task.id not in running]
        surplus = len(listed) - int(processes or len(listed))
        lost += listed[: max(0, surplus)]
    else:
        surplus = len(tasks) - min(len(tasks), int(min(worker.can_run, len(tasks))))
        lost = list(tasks[:surplus])
    return [task for task in lost if now - (task.started or task.since or now) > HEARTBEAT_LAG]
