"""``--with ages``: the age of the oldest unfinished task.

A mean does not show this age.

Flower shows a task as STARTED until it receives an event of its end. This event is missing if the result backend is
down, if the task raises ``Ignore``, or if Flower was not connected at that time. An alert on the age of such a task
would never resolve. So a started task counts only while its worker runs it: the heartbeats of the worker contain the
number of tasks that it runs. If Flower shows more started tasks than that, the worker is asked for their ids.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import Metric

from push_job.flower.api import FlowerError
from push_job.flower.task import (
    STATES,
    EventFields,
    age_at,
    is_unfinished_in_custom_state,
    label_text,
    since_of,
    time_of,
)
from push_job.flower.tasks_by_kind import Tally
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.extras.known_workers import ask_worker, known_workers, pool_size
from push_job.metrics.extras.numbers import finite_number
from push_job.metrics.families import Gauge

OLDEST = Gauge(
    "celery_task_oldest_seconds",
    "Seconds that the oldest unfinished task has been in its state, counted from its ETA if it has one. A started task"
    " counts only while its worker runs it.",
    ("name", "state"),
)
ENDED_UNHEARD = Gauge(
    "celery_tasks_ended_unheard",
    "Tasks that Flower shows as started and that no live worker runs: Flower received no event of their end.",
    ("name",),
)

LONGEST = Gauge(
    "celery_task_longest_success_seconds",
    "Longest runtime of the successes that Flower remembers, for types with a started task.",
    ("name",),
)

#: Minimum age in seconds of a started task that is compared with the tasks that its worker runs. Younger tasks are not
#: stuck, and the last heartbeat may be some seconds older than their start.
COMPARED_AFTER = 60

#: Maximum number of started tasks that are compared.
MOST_TASKS = 2000

#: Maximum number of workers that are asked one by one.
_MAX_WORKERS = 8


@dataclass(frozen=True)
class _Started:
    """A started task.

    Attributes:
        id: its id.
        kind: its type and state.
        worker: node name of its worker.
        since: Unix time at which it entered its state.
        started: Unix time at which it started.
    """

    id: str
    kind: tuple[str, str]
    worker: str
    since: float
    started: float


def _read(context: ExtraContext) -> list[Metric]:
    oldest = context.tasks.oldest_starts()
    begun = {kind for kind in oldest if kind[1] == "STARTED" or kind[1] not in STATES}
    unheard: Counter[str] = Counter()
    if any(age_at(context.now, oldest[kind]) > COMPARED_AFTER for kind in begun):
        # If the comparison is not possible, all tasks that Flower shows as started count.
        with contextlib.suppress(FlowerError):
            running, ended = _compared(context, _started_tasks(context, begun))
            oldest = {kind: since for kind, since in oldest.items() if kind not in begun}
            for task in running:
                oldest[task.kind] = min(task.since, oldest.get(task.kind, task.since))
            unheard.update(context.label(task.kind[0]) for task in ended)
    family, ended_family = OLDEST.empty(), ENDED_UNHEARD.empty()
    labelled: dict[tuple[str, str], float] = {}
    for (name, state), since in oldest.items():
        label = context.label(name), state
        labelled[label] = min(since, labelled.get(label, since))
    for label, since in sorted(labelled.items()):
        family.add_metric(label, age_at(context.now, since))
    for name, count in sorted(unheard.items()):
        ended_family.add_metric([name], count)
    return [family, ended_family, _longest(context, {name for name, _ in begun})]


def _longest(context: ExtraContext, types: Iterable[str]) -> Metric:
    """Return the longest runtimes of these types.

    The ages of started tasks can be compared to them.
    """
    longest: dict[str, float] = {}
    for name in types:
        label = context.label(name)
        success = context.tasks.tallies.get((name, "SUCCESS"), Tally())
        longest[label] = max(longest.get(label, 0.0), success.longest or 0.0)
    family = LONGEST.empty()
    for label, seconds in sorted(longest.items()):
        if seconds:
            family.add_metric([label], seconds)
    return family


def _started_tasks(context: ExtraContext, kinds: Iterable[tuple[str, str]]) -> list[_Started]:
    """Return the tasks that Flower lists as started and not ended.

    Raises:
        FlowerError: Flower did not answer, or there are more than MOST_TASKS.
    """
    found: list[_Started] = []
    for state in sorted({state for _, state in kinds}):
        if sum(context.tasks.count(name, state) for name in context.tasks.types) > MOST_TASKS:
            raise FlowerError("too many started tasks to compare them with the tasks that the workers run")
        for task_id, fields in context.flower.tasks_in(state, MOST_TASKS, context.until).items():
            if task := _started(task_id, fields):
                found.append(task)
    return found


def _started(task_id: str, fields: EventFields) -> _Started | None:
    if fields.state != "STARTED" and not (isinstance(fields.state, str) and is_unfinished_in_custom_state(fields)):
        return None
    since = since_of(fields)
    if math.isnan(since):
        return None
    kind = label_text(fields.name, "unknown"), label_text(fields.state, "UNKNOWN")
    return _Started(task_id, kind, label_text(fields.worker, ""), since, time_of(fields.started) or since)


def _compared(context: ExtraContext, tasks: Iterable[_Started]) -> tuple[list[_Started], list[_Started]]:
    """Return the tasks that run, and the tasks that have ended unheard.

    The second have ended although Flower received no event of it.

    Raises:
        FlowerError: Flower did not answer.
    """
    rows, now, _ = context.flower.worker_list(context.until)
    known = known_workers(context.flower, context.until)
    by_worker: dict[str, list[_Started]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: (task.started, task.id)):
        by_worker[task.worker].append(task)
    running: list[_Started] = []
    ended: list[_Started] = []
    asked = 0
    for worker, started in sorted(by_worker.items()):
        row = rows.get(worker, {})
        if row.get("status") is False:
            continue  # the worker is lost, which CeleryWorkerWentAway reports: the task counts as neither
        active = finite_number(row.get("active"))
        if active is None:
            running += started
            continue
        # A pool of threads counts a task as active if its end could not be reported, so the pool size is a limit too.
        can_run = min(active, pool_size(known.get(worker, {})) or active)
        reply = None
        if 0 < can_run < len(started) and asked < _MAX_WORKERS:
            asked += 1
            reply = ask_worker(context.flower, worker, context.until)
        running_ids = _running_ids(started, int(can_run), reply)
        running += [task for task in started if task.id in running_ids]
        lost = (task for task in started if task.id not in running_ids)
        ended += [task for task in lost if now - task.started > COMPARED_AFTER]
    return running, ended


def _running_ids(started: list[_Started], can_run: int, reply: dict[str, Any] | None) -> set[str]:
    """Return the ids of the started tasks that a worker still runs.

    These are the newest tasks; if the worker replied, the newest of those that it lists.

    Args:
        started: the started tasks of the worker, the oldest first.
        can_run: maximum number of tasks that the worker runs now.
        reply: the reply of the worker, if it was asked.
    """
    listed = reply.get("active") if reply else None
    if isinstance(listed, list):
        ids = {entry.get("id") for entry in listed if isinstance(entry, dict)}
        started = [task for task in started if task.id in ids]
    return {task.id for task in started[max(0, len(started) - can_run) :]}


EXTRA = Extra("ages", (OLDEST, ENDED_UNHEARD, LONGEST), _read)
