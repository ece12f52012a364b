"""Facts about a healthy system, which tests change."""

from __future__ import annotations

from typing import Any

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding
from push_job.explain.model import Answer, Queue, Queues, Task, TaskType, Worker
from push_job.explain.rules import findings_of
from push_job.flower.routing import ConsumedQueue, Route

NOW = 1_795_564_800.0  # at midnight

CELERY = ConsumedQueue("celery", "celery", "celery", "direct")
ANSWER = Answer(queues=(CELERY,), processes=2.0, uptime=90_000.0)


def worker(name: str = "celery@a", *, alive: bool = True, last: float = 1.0, **more: Any) -> Worker:
    """Return a worker whose last heartbeat is `last` seconds old."""
    usual: dict[str, Any] = {
        "heartbeats": tuple(NOW - last - 2.0 * number for number in range(4)),
        "active": 0,
        "processed": 10,
        "answer": ANSWER if alive else Answer(),
        "clock": 100_000,
        "pool": "celery.concurrency.prefork:TaskPool" if alive else "",
        "events": {"worker-heartbeat": 100, "task-started": 10},
    }
    return Worker(name, alive, **{**usual, **more})


def task(state: str, age: float, name: str = "shop.a", **more: Any) -> Task:
    """Return a task that has been in its state for `age` seconds."""
    usual: dict[str, Any] = {"worker": "" if state == "PENDING" else "celery@a", "route": Route("", "celery")}
    usual |= {"since": NOW - age, "stamp": NOW - age, "clock": 1, "received": NOW - age}
    usual["started"] = NOW - age if state not in ("PENDING", "RECEIVED") else None
    return Task(f"{name}-{state}-{age:g}", name, state, **{**usual, **more})


def facts(*tasks: Task, **changes: Any) -> Facts:
    """Return facts about a healthy system with these unfinished tasks."""
    types = {name: TaskType(name, {"SUCCESS": 1}, longest=1.0, last_success=NOW - 5) for name in ("shop.a",)}
    usual: dict[str, Any] = {
        "url": "http://flower:5555",
        "now": NOW,
        "scanned": NOW - 1,
        "workers": {"celery@a": worker()},
        "types": types,
        "task_count": 5,
        "unfinished": tasks,
        "queues": Queues((Queue("celery", 0),)),
        "has_sent_events": True,
        "started_at": NOW - 90_000,
        "earliest": NOW - 80_000,
        "were_asked": True,
    }
    return Facts(**{**usual, **changes})


def a_type(name: str = "shop.a", **more: Any) -> dict[str, TaskType]:
    """Return one task type that has succeeded once."""
    usual: dict[str, Any] = {"counts": {"SUCCESS": 1}, "longest": 1.0, "last_success": NOW - 5}
    return {name: TaskType(name, **{**usual, **more})}


def found(known: Facts) -> list[tuple[str, str, str]]:
    """Return kind, level and subject of the findings."""
    return [(finding.kind, finding.level.value, finding.subject) for finding in findings_of(known)]


def only(known: Facts) -> Finding:
    """Return the only finding."""
    [finding] = findings_of(known)
    return finding
