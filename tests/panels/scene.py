"""Known tasks, sent to Flower as Celery events, and the expected numbers."""

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.events import TaskEvents
from testbed.services import Flower

STATES = ("FAILURE", "PENDING", "RECEIVED", "RETRY", "REVOKED", "STARTED", "SUCCESS")

FOR_EVER = 86400.0
"""Announced seconds between heartbeats of a synthetic worker, so that one heartbeat is enough for a test."""


@dataclass(frozen=True)
class Tasks:
    """A group of equal tasks.

    Attributes:
        name: task type.
        state: state of the tasks.
        count: number of tasks.
        seconds: runtime of each task in SUCCESS; otherwise the time since each task entered its state.
    """

    name: str
    state: str
    count: int
    seconds: float


def send_tasks(redis_url: str, flower: Flower, tasks: Sequence[Tasks], worker: str) -> None:
    """Send the events of these tasks, and wait until Flower knows the last one."""
    with TaskEvents(redis_url) as events:
        last = ""
        for group in tasks:
            for _ in range(group.count):
                last = str(uuid.uuid4())
                _send(events, group, last, worker)
    flower.wait_for_task(last, tasks[-1].state)


def _send(events: TaskEvents, task: Tasks, task_id: str, worker: str) -> None:
    now = time.time()
    entered = now - task.seconds

    def send(kind: str, at: float, **fields: object) -> None:
        events.send(f"task-{kind}", hostname=worker, uuid=task_id, timestamp=at, **fields)

    if task.state in {"PENDING", "REJECTED"}:
        # These states must not be preceded by RECEIVED, which has precedence in Celery.
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
    """Return the number of tasks in a state for every known type."""
    tally = dict.fromkeys((group.name for group in tasks), 0)
    for group in tasks:
        tally[group.name] += group.count if group.state == state else 0
    return tally


def seconds(tasks: Iterable[Tasks], state: str) -> dict[str, float]:
    """Return the summed seconds of the tasks in a state, by type.

    The seconds are runtimes or times since the state was entered; 0 for finished tasks without a runtime.
    """
    tally: dict[str, float] = {}
    for group in tasks:
        if group.state == state:
            lasts = group.seconds if state in {"SUCCESS", "PENDING", "RECEIVED", "STARTED", "RETRY"} else 0.0
            tally[group.name] = tally.get(group.name, 0.0) + group.count * lasts
    return tally
