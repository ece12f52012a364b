"""Read one Flower into ``Facts``: a full scrape, then a few small questions.

A question that fails loses nothing else: its answer is None, and ``unanswered`` has the reason.
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

from prometheus_client.metrics_core import Metric

from push_job import log
from push_job.explain.facts import (
    FINAL_STATES,
    Answer,
    ConsumedQueue,
    Facts,
    Queue,
    Queues,
    Task,
    TaskType,
    Unfinished,
    Worker,
    is_a_type,
)
from push_job.flower.api import Flower, FlowerError
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.task import STATES, TaskFields, came_at, ended_at, label_text, reported, sent_at, since_of, time_of
from push_job.flower.tasks_by_kind import TasksByKind
from push_job.http.client import Client
from push_job.http.errors import TransportError
from push_job.metrics.extras.failures import CLASS
from push_job.metrics.extras.known_workers import ask_worker, ask_workers, known_workers, pool_size
from push_job.metrics.extras.last_run import usual_interval
from push_job.metrics.extras.numbers import finite_number, finite_numbers
from push_job.metrics.extras.own_metrics import read_own_metrics
from push_job.metrics.extras.queues import QueuesEmptyError, ask_queues
from push_job.settings import Settings

T = TypeVar("T")

#: Tasks in an answer, and the most bytes of one.
_MOST_TASKS, _MOST_BYTES = 1000, 16 * 2**20

#: Of PENDING, RECEIVED and RETRY tasks, the oldest: there may be very many, with a later ETA.
_OLDEST = 200

#: Custom states that are looked into.
_MOST_STATES = 5

#: Workers that are asked one by one what they run, those with the oldest tasks.
_MOST_WORKERS = 8

#: Failing types whose newest failure is looked up.
_MOST_FAILING = 5

#: Seconds that a task may have been STARTED, or wait, before the workers are asked.
ASK_AFTER = 10

#: The same for a task whose routing key is no queue's that the broker reported: an event of its end may be under way.
_ASK_AFTER_UNKNOWN = 2

#: How often, and after how many seconds, a worker is looked at again if its heartbeats come earlier than this part
#: of their interval.
_LOOKS, _BETWEEN_LOOKS, _EARLY = 3, 0.7, 0.7

#: Seconds of "recent".
RECENT = 3600

#: Of the tasks with the newest events, how many are looked at for wrong clocks.
_NEWEST = 100

#: What kombu.transport.native_delayed_delivery puts before the routing key of a delayed message.
_DELAY = re.compile(r"(?:[01]\.){28}")

#: Families of Flower's own.
_STARTED_AT, _EVENTS = "process_start_time_seconds", "flower_events"


class Questions:
    """Questions to one Flower, over by `until`, a time of ``time.monotonic()``."""

    def __init__(self, flower: Flower, until: float) -> None:
        self.flower = flower
        self.until = until
        self.unanswered: dict[str, str] = {}

    def ask(self, question: Callable[[], T], about: str = "") -> T | None:
        """The answer; None if there is none, which is noted if it is missed."""
        try:
            return question()
        except TransportError as error:
            address = self.flower.client.endpoint.address
            log.event(logging.DEBUG, "not answered", flower=address, about=about, error=str(error))
            if about:
                self.unanswered.setdefault(about, str(error))
            return None

    def tasks(
        self, about: str = "", limit: int = _MOST_TASKS, offset: int = 0, **params: str
    ) -> tuple[Task, ...] | None:
        """The tasks that Flower lists, the newest first."""

        def question() -> Any:
            path = "/api/tasks"
            return self.flower.get_json(path, self.until, max_bytes=_MOST_BYTES, limit=limit, offset=offset, **params)

        entries = self.ask(question, about)
        if not isinstance(entries, dict):
            return None
        return tuple(_task(task_id, entry) for task_id, entry in entries.items() if isinstance(entry, dict))


def gather(
    client: Client, settings: Settings, until: float, scraped_by: float, progress: Callable[[int], None]
) -> Facts:
    """Read one Flower.

    It is scraped by `scraped_by` and all is over by `until`, times of ``time.monotonic()``.

    Raises:
        TransportError: Flower could not be scraped.
    """
    began = time.monotonic()
    flower = Flower(client, (came_at, ended_at, sent_at, CLASS))
    alive = client.retrying(lambda: flower.workers(scraped_by), scraped_by)
    tasks = TaskScraper(0).scrape(flower, settings.page_size, scraped_by, progress).tasks
    by_kind, now = tasks.by_kind(), flower.now
    questions = Questions(flower, until)
    rows = questions.ask(lambda: flower.worker_list(until), "which workers went away")
    now = rows[1] if rows else now
    scanned = now - (time.monotonic() - began)
    types = _types(by_kind, now)
    counters = _counters(questions)
    facts = Facts(
        url=client.endpoint.url,
        now=now,
        scanned=scanned,
        workers=_workers(alive, rows[0] if rows else None),
        types=types,
        task_count=len(tasks),
        unfinished=_unfinished(questions, types),
        queues=_queues(questions),
        failed=_failed(questions, types),
        has_sent_events=by_kind.has(sent_at) if len(tasks) else None,
        started_at=counters.started_at,
        events=counters.events,
        received=counters.received,
        newest=questions.tasks(limit=_NEWEST) or (),
        earliest=_earliest(questions, len(tasks)),
    )
    facts = _with_process_ids(questions, facts)
    facts = _with_pools(questions, facts)
    facts = _with_answers(questions, facts)
    return replace(facts, unanswered=questions.unanswered)


def _workers(alive: Mapping[str, bool], rows: Mapping[str, dict[str, Any]] | None) -> dict[str, Worker]:
    found: dict[str, Worker] = {}
    for hostname, is_alive in alive.items():
        name = label_text(hostname, "unknown")
        row = None if rows is None else rows.get(name, {})
        found[name] = _worker(name, row, alive=is_alive or (name in found and found[name].alive))
    return found


def _worker(name: str, row: dict[str, Any] | None, *, alive: bool) -> Worker:
    if row is None:
        return Worker(name, alive)
    active, processed, interval, clock = (
        finite_number(row.get(key)) for key in ("active", "processed", "freq", "clock")
    )
    events = {event: int(count) for event, value in row.items() if "-" in event and (count := finite_number(value))}
    return Worker(
        name,
        alive,
        heartbeats=tuple(finite_numbers(row["heartbeats"])) if isinstance(row.get("heartbeats"), list) else None,
        active=None if active is None else int(active),
        processed=None if processed is None else int(processed),
        interval=interval or 2.0,
        events=events,
        clock=None if clock is None else int(clock),
        pids=frozenset(_pids(row)),
    )


def _types(tasks: TasksByKind, now: float) -> dict[str, TaskType]:
    found = {}
    exceptions = tasks.texts_of(CLASS)
    for name in tasks.types:
        counts = {state: tasks.count(name, state) for state in tasks.states_of(name)}
        succeeded, failed = (tasks.values_in(ended_at, name, state) for state in ("SUCCESS", "FAILURE"))
        last_success = max(succeeded, default=None)
        after = [time for time in failed if time > (last_success or 0.0)]
        came = tasks.values_of(came_at, name)
        recent = {
            state: sum(now - RECENT < time for time in times)
            for state, times in (("SUCCESS", succeeded), ("FAILURE", failed))
        }
        found[name] = TaskType(
            name,
            counts,
            last_success=last_success,
            last_failure=max(failed, default=None),
            first_failure=min(after, default=None),
            failures_since_success=len(after) if last_success else counts.get("FAILURE", 0),
            recent=recent,
            exceptions=exceptions.get(name, Counter()),
            longest=max(tasks.runtimes_in(name, "SUCCESS"), default=None),
            interval=usual_interval(came) if is_a_type(name) else None,
            last_came=max(came, default=None),
        )
    return found


def _unfinished(questions: Questions, types: Mapping[str, TaskType]) -> dict[str, Unfinished]:
    """The unfinished tasks: all that have started, the oldest of the others."""
    counts: Counter[str] = Counter()
    for kind in types.values():
        counts.update(kind.counts)
    custom = sorted(counts.keys() - set(STATES) - FINAL_STATES, key=lambda state: (-counts[state], state))
    found = {}
    for state in ("STARTED", *custom[:_MOST_STATES], "RECEIVED", "PENDING", "RETRY"):
        count = counts[state]
        if not count:
            continue
        limit = _OLDEST if state in ("PENDING", "RECEIVED", "RETRY") else _MOST_TASKS
        # The list begins with the newest event.
        listed = questions.tasks(f"which tasks are {state}", limit, state=state, offset=max(0, count - limit))
        found[state] = Unfinished(None if listed is None else tuple(t for t in listed if t.state == state), count)
    return found


def _failed(questions: Questions, types: Mapping[str, TaskType]) -> dict[str, Task]:
    """The newest failure of the types that fail most."""
    failing = [kind for kind in types.values() if kind.recent.get("FAILURE") or kind.failures_since_success]
    failing.sort(key=lambda kind: (-kind.failures_since_success, -kind.recent.get("FAILURE", 0), kind.name))
    found = {}
    for kind in failing[:_MOST_FAILING]:
        if is_a_type(kind.name):
            listed = questions.tasks(limit=20, state="FAILURE", taskname=kind.name) or ()
            its_own = [task for task in listed if task.name == kind.name and task.state == "FAILURE"]
            if its_own:
                found[kind.name] = max(its_own, key=lambda task: (task.since or 0.0, task.id))
    return found


def _queues(questions: Questions) -> Queues:
    try:
        entries = ask_queues(questions.flower, questions.until)
    except QueuesEmptyError as error:
        return Queues(None, str(error), empty=True)
    except FlowerError as error:
        return Queues(None, str(error), refused=error.status == 500)
    return Queues(_of_entries(entries))


def _of_entries(entries: Iterable[Mapping[str, Any]]) -> tuple[Queue, ...]:
    found = []
    for entry in entries:
        ready, held, consumers = (
            finite_number(entry.get(key)) for key in ("messages_ready", "messages_unacknowledged", "consumers")
        )
        ready = finite_number(entry.get("messages")) if ready is None else ready
        if ready is not None:
            name = label_text(entry.get("name"), "unknown")
            found.append(
                Queue(name, int(ready), *(None if number is None else int(number) for number in (held, consumers)))
            )
    return tuple(found)


@dataclass(frozen=True)
class _Counters:
    """Flower's own counters; see the attributes of these names in Facts."""

    started_at: float | None
    events: Mapping[tuple[str, str], int]
    received: Mapping[tuple[str, str], int]


def _counters(questions: Questions) -> _Counters:
    wanted = {_STARTED_AT, _EVENTS}
    families: list[Metric] = (
        questions.ask(lambda: read_own_metrics(questions.flower, questions.until, wanted.__contains__)) or []
    )
    started_at, events, received = None, Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for sample in (sample for family in families for sample in family.samples):
        value = finite_number(sample.value)
        if sample.name == _STARTED_AT:
            started_at = value
        elif sample.name == f"{_EVENTS}_total" and value is not None:
            worker, task, event = (sample.labels.get(label, "") for label in ("worker", "task", "type"))
            events[task, event] += int(value)
            if event == "task-received":
                received[worker, task] += int(value)
    return _Counters(started_at, events, received)


def _earliest(questions: Questions, count: int) -> float | None:
    listed = questions.tasks(limit=100, offset=max(0, count - 100)) if count else None
    stamps = [stamp for task in listed or () for stamp in (task.sent, task.received, task.started) if stamp]
    return min(stamps, default=None)


def _with_process_ids(questions: Questions, facts: Facts) -> Facts:
    """Add the process ids of workers whose heartbeats come too often for one."""
    suspects = [worker.name for worker in facts.live if _beats_too_often(worker, facts.newest)]
    pids: dict[str, set[int]] = {name: set(facts.workers[name].pids) for name in suspects}
    for _ in range(_LOOKS if suspects else 0):
        time.sleep(max(0.0, min(_BETWEEN_LOOKS, questions.until - time.monotonic())))
        rows = questions.ask(lambda: questions.flower.worker_list(questions.until))
        for name in suspects if rows else ():
            row = rows[0].get(name, {}) if rows else {}
            # One that was restarted meanwhile has another process too.
            if row.get("worker-online", 0) == facts.workers[name].events.get("worker-online", 0):
                pids[name] |= _pids(row)
    workers = {**facts.workers, **{name: replace(facts.workers[name], pids=frozenset(pids[name])) for name in suspects}}
    return replace(facts, workers=workers)


def _beats_too_often(worker: Worker, newest: Iterable[Task]) -> bool:
    """Whether two of a worker's heartbeats are closer than one process sends them."""
    stamps = {task.stamp for task in newest if task.worker == worker.name}
    stamps |= {time for task in newest if task.worker == worker.name for time in (task.received, task.started)}
    beats = sorted(beat for beat in worker.heartbeats or () if beat not in stamps)
    gaps = [later - beat for beat, later in pairwise(beats)]
    return len(gaps) > 1 and min(gaps) < _EARLY * worker.interval


def _pids(row: Mapping[str, Any]) -> set[int]:
    return {row["pid"]} if type(row.get("pid")) is int else set()


def _with_pools(questions: Questions, facts: Facts) -> Facts:
    """The facts with what Flower knows of the pools of workers that are gone."""
    if not facts.gone:
        return facts
    known = questions.ask(lambda: known_workers(questions.flower, questions.until)) or {}
    workers = {
        name: replace(worker, pool=_pool(known[name])) if name in known else worker
        for name, worker in facts.workers.items()
    }
    return replace(facts, workers=workers)


def _with_answers(questions: Questions, facts: Facts) -> Facts:
    """Add what the workers answer, where tasks wait or run for a while."""
    if not facts.live:
        return facts
    asked: Mapping[str, dict[str, Any]] = {}
    were_asked = bool(facts.waiting_queues) or any(_is_worth_asking(facts, task) for task in facts.waiting)
    if were_asked:
        found = questions.ask(lambda: ask_workers(questions.flower, questions.until), "who consumes which queue")
        were_asked, asked = found is not None, found or {}
    one_by_one = dict(_ask_one_by_one(questions, facts))
    workers = dict(facts.workers)
    for worker in facts.live:
        said = one_by_one.get(worker.name) or asked.get(worker.name)
        if said is not None:
            answer = _answer(said, of_one=worker.name in one_by_one)
            workers[worker.name] = replace(worker, answer=answer, pool=answer.pool)
    return replace(facts, workers=workers, were_asked=were_asked)


def _is_worth_asking(facts: Facts, task: Task) -> bool:
    """Whether a task waits for so long that the workers are asked what they consume."""
    known = {queue.name for queue in facts.queues.known or ()}
    is_unknown = task.state == "PENDING" and task.routing_key not in known
    return facts.age(task.since) > (_ASK_AFTER_UNKNOWN if is_unknown else ASK_AFTER)


def _ask_one_by_one(questions: Questions, facts: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask each worker with an old task, too many tasks or a wrong clock."""
    oldest: dict[str, float] = {}
    for task in (*facts.started, *facts.tasks_in("RECEIVED")):
        since = task.started if task.has_started and task.started else task.since or facts.now
        oldest[task.worker] = min(since, oldest.get(task.worker, since))
    claimed = Counter(task.worker for task in facts.started)
    suspects = [
        worker.name
        for worker in facts.live
        if facts.age(oldest.get(worker.name)) > ASK_AFTER
        or claimed[worker.name] > worker.can_run
        or worker.name in facts.skews
    ]
    for name in sorted(suspects, key=lambda name: (oldest.get(name, facts.now), name))[:_MOST_WORKERS]:
        said = questions.ask(functools.partial(ask_worker, questions.flower, name, questions.until))
        if said is not None:
            yield name, said


def _answer(said: Mapping[str, Any], *, of_one: bool) -> Answer:
    active = _list(said, "active")
    queues = said.get("active_queues")
    return Answer(
        queues=tuple(_consumed(queues)) if isinstance(queues, list) else None,
        processes=pool_size(dict(said)),
        pool=_pool(said),
        running=frozenset(_ids(active)) if of_one else None,
        unacknowledged=frozenset(_ids(task for task in active if task.get("acknowledged") is False)),
        uptime=_uptime(said),
        accepted=_accepted(said),
        held=frozenset(_ids([*_list(said, "reserved"), *_scheduled(said)])) if of_one else None,
    )


def _pool(said: Mapping[str, Any]) -> str:
    pool = said["stats"].get("pool") if isinstance(said.get("stats"), dict) else None
    return label_text(pool.get("implementation"), "") if isinstance(pool, dict) else ""


def _accepted(said: Mapping[str, Any]) -> dict[str, int]:
    """How many tasks of each type a worker has begun since its process started."""
    stats = said.get("stats")
    total = stats.get("total") if isinstance(stats, dict) else None
    counts = total.items() if isinstance(total, dict) else ()
    return {name: int(number) for name, value in counts if (number := finite_number(value)) is not None}


def _uptime(said: Mapping[str, Any]) -> float | None:
    stats = said.get("stats")
    return finite_number(stats.get("uptime")) if isinstance(stats, dict) else None


def _list(said: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = said.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _scheduled(said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The tasks that a worker holds until their ETA."""
    for entry in _list(said, "scheduled"):
        request = entry.get("request")
        if isinstance(request, dict):
            yield request


def _ids(tasks: Iterable[dict[str, Any]]) -> Iterator[str]:
    return (task["id"] for task in tasks if isinstance(task.get("id"), str))


def _consumed(queues: Iterable[Any]) -> Iterator[ConsumedQueue]:
    for queue in queues:
        if isinstance(queue, dict):
            exchange = queue["exchange"] if isinstance(queue.get("exchange"), dict) else {}
            yield ConsumedQueue(
                label_text(queue.get("name"), "unknown"),
                label_text(queue.get("routing_key"), ""),
                label_text(exchange.get("name"), ""),
                label_text(exchange.get("type"), "direct"),
            )


def _task(task_id: str, entry: Mapping[str, Any]) -> Task:
    fields = TaskFields(**{name: entry[name] for name in TaskFields.__struct_fields__ if name in entry})
    since = next(reported([since_of(fields)]), None)
    received = time_of(fields.received)
    waits_for_eta = fields.eta is not None and since is not None and since > (received or 0.0)
    retries = finite_number(entry.get("retries"))
    name, state, worker, routing_key, exchange = (
        label_text(entry.get(key), "") for key in ("name", "state", "worker", "routing_key", "exchange")
    )
    # Native delayed delivery: the message goes through exchanges that count its delay down, bit by bit.
    if delay := _DELAY.match(routing_key):
        routing_key, exchange = routing_key[delay.end() :], ""
    return Task(
        task_id,
        name,
        state,
        worker,
        routing_key,
        exchange,
        since=time_of(fields.timestamp) if since is None else since,
        sent=time_of(fields.sent),
        received=received,
        started=time_of(fields.started),
        eta=since if waits_for_eta else None,
        stamp=time_of(fields.timestamp),
        clock=fields.clock if type(fields.clock) is int else None,
        retries=int(retries or 0),
    )
