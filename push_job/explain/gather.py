"""Read one Flower into ``Facts``: a full scrape, then a few small requests.

A request of the second part may fail without an effect on the others. Its result is then None, and ``unanswered`` has
the reason.
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

#: Limits of one response: number of tasks and bytes.
_MAX_TASKS, _MAX_BYTES = 1000, 16 * 2**20

#: Number of PENDING, RECEIVED and RETRY tasks to read, the oldest of each: there may be very many with a later ETA.
_OLDEST = 200

#: Number of custom states whose tasks are read.
_MAX_STATES = 5

#: Number of workers that are asked one by one for their running tasks, those with the oldest tasks first.
_MAX_WORKERS = 8

#: Number of failing types whose newest failed task is read.
_MAX_FAILING = 5

#: Seconds that a task may be STARTED or wait before the workers are asked about it.
ASK_AFTER = 10

#: The same for a task whose routing key is not the name of a known queue. Not 0, because the event of its end may
#: still be on its way.
_ASK_AFTER_UNKNOWN = 2

#: A gap between heartbeats that is shorter than _EARLY_RATIO of their interval suggests two processes. The worker is
#: then read again _REREADS times, every _REREAD_SECONDS.
_REREADS, _REREAD_SECONDS, _EARLY_RATIO = 3, 0.7, 0.7

#: Seconds within which an event counts as recent.
RECENT = 3600

#: Number of tasks with the newest events that are checked for wrong clocks.
_NEWEST = 100

#: Prefix that kombu.transport.native_delayed_delivery adds to the routing key of a delayed message.
_DELAY = re.compile(r"(?:[01]\.){28}")

#: Names of Flower's own metric families.
_STARTED_AT, _EVENTS = "process_start_time_seconds", "flower_events"


class OptionalRequests:
    """Requests to one Flower that may fail.

    Attributes:
        flower: the Flower.
        until: deadline, a time of ``time.monotonic()``.
        unanswered: the information that is missing because of failed requests, with the reasons.
    """

    def __init__(self, flower: Flower, until: float) -> None:
        self.flower = flower
        self.until = until
        self.unanswered: dict[str, str] = {}

    def ask(self, request: Callable[[], T], about: str = "") -> T | None:
        """Return the result of `request`, or None if it fails.

        Args:
            request: the request.
            about: the information that is missing if the request fails; empty if its absence is not to be reported.
        """
        try:
            return request()
        except TransportError as error:
            address = self.flower.client.endpoint.address
            log.event(logging.DEBUG, "not answered", flower=address, about=about, error=str(error))
            if about:
                self.unanswered.setdefault(about, str(error))
            return None

    def tasks(
        self, about: str = "", limit: int = _MAX_TASKS, offset: int = 0, **params: str
    ) -> tuple[Task, ...] | None:
        """Return a part of Flower's list of tasks, the newest event first; None if the request fails."""

        def request() -> Any:
            path = "/api/tasks"
            return self.flower.get_json(path, self.until, max_bytes=_MAX_BYTES, limit=limit, offset=offset, **params)

        entries = self.ask(request, about)
        if not isinstance(entries, dict):
            return None
        return tuple(_task(task_id, entry) for task_id, entry in entries.items() if isinstance(entry, dict))


def gather(
    client: Client, settings: Settings, until: float, scraped_by: float, progress: Callable[[int], None]
) -> Facts:
    """Read one Flower.

    Args:
        client: HTTP client for the Flower.
        settings: the settings of the run.
        until: deadline of all requests, a time of ``time.monotonic()``.
        scraped_by: deadline of the scrape, a time of ``time.monotonic()``.
        progress: called with the number of tasks read so far.

    Raises:
        TransportError: Flower could not be scraped.
    """
    began = time.monotonic()
    flower = Flower(client, (came_at, ended_at, sent_at, CLASS))
    alive = client.retrying(lambda: flower.workers(scraped_by), scraped_by)
    tasks = TaskScraper(0).scrape(flower, settings.page_size, scraped_by, progress).tasks
    by_kind, now = tasks.by_kind(), flower.now
    requests = OptionalRequests(flower, until)
    rows = requests.ask(lambda: flower.worker_list(until), "which workers stopped sending heartbeats")
    now = rows[1] if rows else now
    scanned = now - (time.monotonic() - began)
    types = _types(by_kind, now)
    counters = _counters(requests)
    facts = Facts(
        url=client.endpoint.url,
        now=now,
        scanned=scanned,
        workers=_workers(alive, rows[0] if rows else None),
        types=types,
        task_count=len(tasks),
        unfinished=_unfinished(requests, types),
        queues=_queues(requests),
        failed=_failed(requests, types),
        has_sent_events=by_kind.has(sent_at) if len(tasks) else None,
        started_at=counters.started_at,
        events=counters.events,
        received=counters.received,
        newest=requests.tasks(limit=_NEWEST) or (),
        earliest=_earliest(requests, len(tasks)),
    )
    facts = _with_process_ids(requests, facts)
    facts = _with_pools(requests, facts)
    facts = _with_answers(requests, facts)
    return replace(facts, unanswered=requests.unanswered)


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


def _unfinished(requests: OptionalRequests, types: Mapping[str, TaskType]) -> dict[str, Unfinished]:
    """Return the unfinished tasks by state: all started ones, and the oldest of the others."""
    counts: Counter[str] = Counter()
    for kind in types.values():
        counts.update(kind.counts)
    custom = sorted(counts.keys() - set(STATES) - FINAL_STATES, key=lambda state: (-counts[state], state))
    found = {}
    for state in ("STARTED", *custom[:_MAX_STATES], "RECEIVED", "PENDING", "RETRY"):
        count = counts[state]
        if not count:
            continue
        limit = _OLDEST if state in ("PENDING", "RECEIVED", "RETRY") else _MAX_TASKS
        # The list is sorted by the newest event, descending, so the oldest tasks are at its end.
        listed = requests.tasks(f"which tasks are {state}", limit, state=state, offset=max(0, count - limit))
        found[state] = Unfinished(None if listed is None else tuple(t for t in listed if t.state == state), count)
    return found


def _failed(requests: OptionalRequests, types: Mapping[str, TaskType]) -> dict[str, Task]:
    """Return the newest failed task of each of the types that fail most often."""
    failing = [kind for kind in types.values() if kind.recent.get("FAILURE") or kind.failures_since_success]
    failing.sort(key=lambda kind: (-kind.failures_since_success, -kind.recent.get("FAILURE", 0), kind.name))
    found = {}
    for kind in failing[:_MAX_FAILING]:
        if is_a_type(kind.name):
            listed = requests.tasks(limit=20, state="FAILURE", taskname=kind.name) or ()
            its_own = [task for task in listed if task.name == kind.name and task.state == "FAILURE"]
            if its_own:
                found[kind.name] = max(its_own, key=lambda task: (task.since or 0.0, task.id))
    return found


def _queues(requests: OptionalRequests) -> Queues:
    try:
        entries = ask_queues(requests.flower, requests.until)
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
    """Values of Flower's own metrics; see the attributes of the same names in Facts."""

    started_at: float | None
    events: Mapping[tuple[str, str], int]
    received: Mapping[tuple[str, str], int]


def _counters(requests: OptionalRequests) -> _Counters:
    wanted = {_STARTED_AT, _EVENTS}
    families: list[Metric] = (
        requests.ask(lambda: read_own_metrics(requests.flower, requests.until, wanted.__contains__)) or []
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


def _earliest(requests: OptionalRequests, count: int) -> float | None:
    listed = requests.tasks(limit=100, offset=max(0, count - 100)) if count else None
    stamps = [stamp for task in listed or () for stamp in (task.sent, task.received, task.started) if stamp]
    return min(stamps, default=None)


def _with_process_ids(requests: OptionalRequests, facts: Facts) -> Facts:
    """Add the process ids of workers whose heartbeats are too frequent for one process."""
    suspects = [worker.name for worker in facts.live if _beats_too_often(worker, facts.newest)]
    pids: dict[str, set[int]] = {name: set(facts.workers[name].pids) for name in suspects}
    for _ in range(_REREADS if suspects else 0):
        time.sleep(max(0.0, min(_REREAD_SECONDS, requests.until - time.monotonic())))
        rows = requests.ask(lambda: requests.flower.worker_list(requests.until))
        for name in suspects if rows else ():
            row = rows[0].get(name, {}) if rows else {}
            # A worker that was restarted in the meantime has another process id too, so it is ignored.
            if row.get("worker-online", 0) == facts.workers[name].events.get("worker-online", 0):
                pids[name] |= _pids(row)
    workers = {**facts.workers, **{name: replace(facts.workers[name], pids=frozenset(pids[name])) for name in suspects}}
    return replace(facts, workers=workers)


def _beats_too_often(worker: Worker, newest: Iterable[Task]) -> bool:
    """Return whether heartbeats of a worker follow each other faster than one process sends them."""
    stamps = {task.stamp for task in newest if task.worker == worker.name}
    stamps |= {time for task in newest if task.worker == worker.name for time in (task.received, task.started)}
    beats = sorted(beat for beat in worker.heartbeats or () if beat not in stamps)
    gaps = [later - beat for beat, later in pairwise(beats)]
    return len(gaps) > 1 and min(gaps) < _EARLY_RATIO * worker.interval


def _pids(row: Mapping[str, Any]) -> set[int]:
    return {row["pid"]} if type(row.get("pid")) is int else set()


def _with_pools(requests: OptionalRequests, facts: Facts) -> Facts:
    """Add the pools of workers without heartbeats, from earlier replies that Flower keeps."""
    if not facts.gone:
        return facts
    known = requests.ask(lambda: known_workers(requests.flower, requests.until)) or {}
    workers = {
        name: replace(worker, pool=_pool(known[name])) if name in known else worker
        for name, worker in facts.workers.items()
    }
    return replace(facts, workers=workers)


def _with_answers(requests: OptionalRequests, facts: Facts) -> Facts:
    """Add replies of the workers, if tasks have been waiting or running for some time."""
    if not facts.live:
        return facts
    asked: Mapping[str, dict[str, Any]] = {}
    were_asked = bool(facts.waiting_queues) or any(_is_worth_asking(facts, task) for task in facts.waiting)
    if were_asked:
        found = requests.ask(lambda: ask_workers(requests.flower, requests.until), "which worker consumes which queue")
        were_asked, asked = found is not None, found or {}
    one_by_one = dict(_ask_one_by_one(requests, facts))
    workers = dict(facts.workers)
    for worker in facts.live:
        reply = one_by_one.get(worker.name) or asked.get(worker.name)
        if reply is not None:
            answer = _answer(reply, of_one=worker.name in one_by_one)
            workers[worker.name] = replace(worker, answer=answer, pool=answer.pool)
    return replace(facts, workers=workers, were_asked=were_asked)


def _is_worth_asking(facts: Facts, task: Task) -> bool:
    """Return whether a task has waited so long that the workers are asked for their queues."""
    known = {queue.name for queue in facts.queues.known or ()}
    is_unknown = task.state == "PENDING" and task.routing_key not in known
    return facts.age(task.since) > (_ASK_AFTER_UNKNOWN if is_unknown else ASK_AFTER)


def _ask_one_by_one(requests: OptionalRequests, facts: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask each worker that has an old task, too many tasks or a wrong clock; yield name and reply."""
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
    for name in sorted(suspects, key=lambda name: (oldest.get(name, facts.now), name))[:_MAX_WORKERS]:
        reply = requests.ask(functools.partial(ask_worker, requests.flower, name, requests.until))
        if reply is not None:
            yield name, reply


def _answer(reply: Mapping[str, Any], *, of_one: bool) -> Answer:
    active = _list(reply, "active")
    queues = reply.get("active_queues")
    return Answer(
        queues=tuple(_consumed(queues)) if isinstance(queues, list) else None,
        processes=pool_size(dict(reply)),
        pool=_pool(reply),
        running=frozenset(_ids(active)) if of_one else None,
        unacknowledged=frozenset(_ids(task for task in active if task.get("acknowledged") is False)),
        uptime=_uptime(reply),
        accepted=_accepted(reply),
        held=frozenset(_ids([*_list(reply, "reserved"), *_scheduled(reply)])) if of_one else None,
    )


def _pool(reply: Mapping[str, Any]) -> str:
    pool = reply["stats"].get("pool") if isinstance(reply.get("stats"), dict) else None
    return label_text(pool.get("implementation"), "") if isinstance(pool, dict) else ""


def _accepted(reply: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of tasks of each type that a worker has started since its process started."""
    stats = reply.get("stats")
    total = stats.get("total") if isinstance(stats, dict) else None
    counts = total.items() if isinstance(total, dict) else ()
    return {name: int(number) for name, value in counts if (number := finite_number(value)) is not None}


def _uptime(reply: Mapping[str, Any]) -> float | None:
    stats = reply.get("stats")
    return finite_number(stats.get("uptime")) if isinstance(stats, dict) else None


def _list(reply: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = reply.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _scheduled(reply: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the tasks that a worker holds until their ETA."""
    for entry in _list(reply, "scheduled"):
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
    # With native delayed delivery, the message passes one exchange per bit of its delay. The real key follows the bits.
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
