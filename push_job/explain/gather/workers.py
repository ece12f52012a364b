"""Workers: Flower's list of them, and their replies to remote control commands.

Flower sends the commands during this run. The pools of workers without heartbeats come from earlier replies.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from push_job.explain.facts import Facts
from push_job.explain.gather.requests import OptionalRequests
from push_job.explain.model import Answer, Task, Worker
from push_job.flower.routing import queues_in
from push_job.flower.task import label_text
from push_job.metrics.extras.known_workers import ask_worker, ask_workers, known_workers, pool_size
from push_job.metrics.extras.numbers import finite_number, finite_numbers

#: Number of workers that are asked one by one for their running tasks, those with the oldest tasks first.
_MAX_WORKERS = 8

#: Seconds that a task may be STARTED or wait before the workers are asked about it.
ASK_AFTER = 10

#: The same for a task whose routing key is not the name of a known queue. Not 0, because the event of its end may
#: still be on its way.
_ASK_AFTER_UNKNOWN = 2

#: A gap between heartbeats that is shorter than _EARLY_RATIO of their interval suggests two processes. The worker is
#: then read again _REREADS times, every _REREAD_SECONDS.
_REREADS, _REREAD_SECONDS, _EARLY_RATIO = 3, 0.7, 0.7


def workers_of(alive: Mapping[str, bool], rows: Mapping[str, dict[str, Any]]) -> dict[str, Worker]:
    found: dict[str, Worker] = {}
    for hostname, is_alive in alive.items():
        name = label_text(hostname, "unknown")
        found[name] = _worker(name, rows.get(name, {}), alive=is_alive or (name in found and found[name].alive))
    return found


def _worker(name: str, row: dict[str, Any], *, alive: bool) -> Worker:
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


def with_process_ids(requests: OptionalRequests, facts: Facts) -> Facts:
    """Add the process ids of workers with too many heartbeats for one process."""
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
    """Return whether a worker sends heartbeats faster than one process does."""
    stamps = {task.stamp for task in newest if task.worker == worker.name}
    stamps |= {time for task in newest if task.worker == worker.name for time in (task.received, task.started)}
    beats = sorted(beat for beat in worker.heartbeats or () if beat not in stamps)
    gaps = [later - beat for beat, later in pairwise(beats)]
    return len(gaps) > 1 and min(gaps) < _EARLY_RATIO * worker.interval


def _pids(row: Mapping[str, Any]) -> set[int]:
    return {row["pid"]} if type(row.get("pid")) is int else set()


def with_pools(requests: OptionalRequests, facts: Facts) -> Facts:
    """Add the pools of workers without heartbeats.

    The pools come from earlier replies that Flower keeps.
    """
    if not facts.gone:
        return facts
    known = requests.ask(lambda: known_workers(requests.flower, requests.until)) or {}
    workers = {
        name: replace(worker, pool=_pool(known[name])) if name in known else worker
        for name, worker in facts.workers.items()
    }
    return replace(facts, workers=workers)


def with_answers(requests: OptionalRequests, facts: Facts) -> Facts:
    """Add replies of the workers, if tasks have been waiting or running for some time."""
    if not facts.live:
        return facts
    asked: Mapping[str, dict[str, Any]] = {}
    # RabbitMQ's consumers of workers without heartbeats are those that no live worker has.
    is_one_lost = facts.is_rabbitmq and any(not worker.shut_down_cleanly for worker in facts.gone)
    were_asked = (
        bool(facts.waiting_queues) or is_one_lost or any(_is_worth_asking(facts, task) for task in facts.waiting)
    )
    if were_asked:
        found = requests.ask(lambda: ask_workers(requests.flower, requests.until), "which worker consumes which queue")
        were_asked, asked = found is not None, found or {}
    one_by_one = dict(_ask_one_by_one(requests, facts))
    workers = dict(facts.workers)
    for worker in facts.live:
        reply = one_by_one.get(worker.name) or asked.get(worker.name)
        if reply is not None:
            answer = _answer(reply, of_one=worker.name in one_by_one)
            workers[worker.name] = replace(worker, answer=answer, pool=_pool(reply))
    return replace(facts, workers=workers, were_asked=were_asked)


def _is_worth_asking(facts: Facts, task: Task) -> bool:
    """Return whether a task has waited long enough to ask workers for their queues."""
    known = {queue.name for queue in facts.queues.known or ()}
    is_unknown = task.state == "PENDING" and task.route.routing_key not in known
    # A message is in its queue from the beginning, even if the task has an ETA.
    return facts.age(task.sent if is_unknown and task.sent else task.since) > (
        _ASK_AFTER_UNKNOWN if is_unknown else ASK_AFTER
    )


def _ask_one_by_one(requests: OptionalRequests, facts: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask some workers one by one; yield the name and the reply of each.

    These are the workers with an old task, too many tasks or a wrong clock.
    """
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
    active, held = tasks_in(reply, "active"), (*tasks_in(reply, "reserved"), *tasks_in(reply, "scheduled"))
    accepted = _part(reply, "stats", "total").items()
    return Answer(
        queues=queues_in(reply),
        processes=pool_size(dict(reply)),
        running=frozenset(task["id"] for task in active) if of_one else None,
        unacknowledged=frozenset(task["id"] for task in active if task.get("acknowledged") is False),
        uptime=finite_number(_part(reply, "stats").get("uptime")),
        accepted={name: int(number) for name, value in accepted if (number := finite_number(value)) is not None},
        held=frozenset(task["id"] for task in held) if of_one else None,
    )


def _pool(reply: Mapping[str, Any]) -> str:
    return label_text(_part(reply, "stats", "pool").get("implementation"), "")


def _part(found: Any, *path: str) -> Mapping[str, Any]:
    """Return the object at a path of keys, or an empty one."""
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def tasks_in(reply: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    """Return the tasks with an id in one of the lists of a worker's reply."""
    entries = reply.get(part)
    dicts = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    # The entry of a task that is held until its ETA has the task under "request".
    found = (entry.get("request", entry) for entry in dicts)
    return [task for task in found if isinstance(task, dict) and isinstance(task.get("id"), str)]
