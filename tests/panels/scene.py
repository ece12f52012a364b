"""A known scene: which tasks and workers two Flowers know, told by Celery events, and what follows from it."""

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.events import TaskEvents
from testbed.services import Flower

STATES = ("FAILURE", "PENDING", "RECEIVED", "RETRY", "REVOKED", "STARTED", "SUCCESS")

FOR_EVER = 86400.0
"""Seconds between heartbeats that a synthetic worker promises, so that one heartbeat lasts the whole test."""


@dataclass(frozen=True)
class Tasks:
    """Some tasks alike.

    Attributes:
        seconds: each one's runtime if it is in SUCCESS, otherwise how long ago it entered its state.
    """

    name: str
    state: str
    count: int
    seconds: float


def tell(redis_url: str, flower: Flower, tasks: Sequence[Tasks], worker: str) -> None:
    """Send these tasks' events in the name of `worker`, return when this Flower knows the last of them."""
    with TaskEvents(redis_url) as events:
        last = ""
        for alike in tasks:
            for _ in range(alike.count):
                last = str(uuid.uuid4())
                _send(events, alike, last, worker)
    flower.wait_for_task(last, tasks[-1].state)


def _send(events: TaskEvents, task: Tasks, task_id: str, worker: str) -> None:
    now = time.time()
    entered = now - task.seconds

    def send(kind: str, at: float, **fields: object) -> None:
        events.send(f"task-{kind}", hostname=worker, uuid=task_id, timestamp=at, **fields)

    if task.state in {"PENDING", "REJECTED"}:
        # Celery's states have an order, and RECEIVED wins over these two.
        send({"PENDING": "sent", "REJECTED": "rejected"}[task.state], entered, name=task.name)
        return
    send("received", entered - (task.state != "RECEIVED"), name=task.name)
    if task.state in {"STARTED", "RETRY", "SUCCESS", "FAILURE"}:
        send("started", entered - (task.state != "STARTED") / 2)
    match task.state:
        case "SUCCESS":
            send("succeeded", now, runtime=task.seconds, result="None")
        case "FAILURE":
            send("failed", entered, exception="ValueError()", traceback="")
        case "RETRY":
            send("retried", entered, exception="ValueError()", traceback="")
        case "REVOKED":
            send("revoked", entered)


def counted(tasks: Iterable[Tasks], state: str) -> dict[str, int]:
    """How many tasks of each type are in this state; every type that is known has a number."""
    tally = dict.fromkeys((alike.name for alike in tasks), 0)
    for alike in tasks:
        tally[alike.name] += alike.count if alike.state == state else 0
    return tally


def seconds(tasks: Iterable[Tasks], state: str) -> dict[str, float]:
    """The seconds of the tasks in this state, summed by type; only types that have some.

    A runtime, or the time since the state was entered; 0 for the finished ones that have no runtime.
    """
    tally: dict[str, float] = {}
    for alike in tasks:
        if alike.state == state:
            lasts = alike.seconds if state in {"SUCCESS", "PENDING", "RECEIVED", "STARTED", "RETRY"} else 0.0
            tally[alike.name] = tally.get(alike.name, 0.0) + alike.count * lasts
    return tally
