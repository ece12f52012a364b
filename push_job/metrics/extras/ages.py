"""``--with ages``: the age of the oldest unfinished task, which a mean hides.

Flower shows a task as STARTED for ever if it did not hear of its end: Celery sends no event when the result backend
is down or the task raises ``Ignore``, and events are lost while Flower is away. Such a task would make an alert on
its age fire for ever. So a started task counts only as long as its worker runs it, by what the worker itself says:
its heartbeats say how many tasks it runs, and only where Flower shows more, the worker is asked which.
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
    TaskFields,
    age_at,
    is_unfinished_in_custom_state,
    label_text,
    since_of,
    time_of,
)
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.metrics.extras.known_workers import ask_worker, known_workers, pool_size
from push_job.metrics.extras.numbers import finite_number
from push_job.metrics.families import Gauge

OLDEST = Gauge(
    "celery_task_oldest_seconds",
    "How long the oldest task in an unfinished state has been in it, a task with an ETA counted from its ETA. A"
    " started task counts as long as its worker runs it.",
    ("name", "state"),
)
ENDED_UNHEARD = Gauge(
    "celery_tasks_ended_unheard",
    "Tasks that Flower shows as started and that no live worker runs: Flower did not hear of their end.",
    ("name",),
)

#: Seconds that a started task has to be old before it is compared with what its worker runs: what is younger cannot
#: be stuck, and a heartbeat may be some seconds old.
COMPARED_AFTER = 60

#: The most started tasks that are compared, and bytes of their list.
MOST_TASKS, _MOST_BYTES = 2000, 32 * 2**20

#: The most workers that are asked one by one.
_MOST_WORKERS = 8


@dataclass(frozen=True)
class _Started:
    """A started task, in its state `since` then and running since `started`."""

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
        # Where Flower does not say what is compared, the tasks count as Flower shows them.
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
    return [family, ended_family]


def _started_tasks(context: ExtraContext, kinds: Iterable[tuple[str, str]]) -> list[_Started]:
    """The tasks that have started and not ended, as Flower lists them.

    Raises:
        FlowerError: Flower did not answer, or there are too many to compare.
    """
    found: list[_Started] = []
    for state in sorted({state for _, state in kinds}):
        if sum(context.tasks.count(name, state) for name in context.tasks.types) > MOST_TASKS:
            raise FlowerError("too many tasks have started to compare them with what the workers run")
        entries = context.flower.get_json(
            "/api/tasks", context.until, max_bytes=_MOST_BYTES, limit=MOST_TASKS, state=state
        )
        for task_id, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and (task := _started(task_id, entry)):
                found.append(task)
    return found


def _started(task_id: str, entry: dict[str, Any]) -> _Started | None:
    fields = TaskFields(**{name: entry[name] for name in TaskFields.__struct_fields__ if name in entry})
    if fields.state != "STARTED" and not (isinstance(fields.state, str) and is_unfinished_in_custom_state(fields)):
        return None
    since = since_of(fields)
    if math.isnan(since):
        return None
    kind = label_text(fields.name, "unknown"), label_text(fields.state, "UNKNOWN")
    return _Started(task_id, kind, label_text(entry.get("worker"), ""), since, time_of(fields.started) or since)


def _compared(context: ExtraContext, tasks: Iterable[_Started]) -> tuple[list[_Started], list[_Started]]:
    """The tasks that run, and those that ended without Flower hearing of it.

    Raises FlowerError.
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
            continue  # neither: CeleryWorkerWentAway is about those
        active = finite_number(row.get("active"))
        if active is None:
            running += started
            continue
        # Threads whose tasks could not report their end are active for ever: never more run than there are.
        can_run = min(active, pool_size(known.get(worker, {})) or active)
        said = None
        if 0 < can_run < len(started) and asked < _MOST_WORKERS:
            asked += 1
            said = ask_worker(context.flower, worker, context.until)
        still = _still_run(started, int(can_run), said)
        running += [task for task in started if task.id in still]
        lost = (task for task in started if task.id not in still)
        ended += [task for task in lost if now - task.started > COMPARED_AFTER]
    return running, ended


def _still_run(started: list[_Started], can_run: int, said: dict[str, Any] | None) -> set[str]:
    """The ids of a worker's started tasks that it runs, no more than `can_run`.

    `started` is oldest first.

    The newest ones, of those that it lists itself if it answered.
    """
    listed = said.get("active") if said else None
    if isinstance(listed, list):
        ids = {entry.get("id") for entry in listed if isinstance(entry, dict)}
        started = [task for task in started if task.id in ids]
    return {task.id for task in started[max(0, len(started) - can_run) :]}


EXTRA = Extra("ages", (OLDEST, ENDED_UNHEARD), _read)
