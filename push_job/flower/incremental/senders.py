"""Which sources of events a page of Flower's list settles: what they have sent since the last reading is all on it.

Why that can be told is in the head of ``warm``. Sources are workers and clients, as ``event_counts`` has them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import cast

from push_job.flower.incremental.event_counts import Sender
from push_job.flower.incremental.state import Memory
from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import UNKNOWN_TYPE, EventFields, clock_of, stamp_of

#: How many anchors a source has to have. One may show a worker's name on
#: another's event, for a late `task-received` brings the name of its worker and no time.
_ANCHORS = 2

#: The last tasks of a page, of which the highest logical clock is taken for how deep the page reaches: some
#: stand higher than their newest event's clock, where an earlier one of theirs was by another worker.
_BOTTOM = 30

#: States in which a task that is received late learns its name without moving.
_MOVED_BY_RECEIVED = frozenset({"PENDING", "RECEIVED", "RETRY", "REJECTED"})


def unsettled_by(memory: Memory, page: TaskPage, sources: Iterable[Sender]) -> set[Sender]:
    """Those of which the page is not known to hold all that they have sent by its place in the list."""
    anchors, found = anchors_of(memory, page), _found(memory, [page])
    reached = _clients_reached(memory, page)
    return {source for source in sources if source not in reached and (anchors[source] < _ANCHORS or not found[source])}


def counted_on(
    memory: Memory, pages: Iterable[TaskPage], end: TaskPage, sources: Iterable[Sender], active: Counter[Sender]
) -> set[Sender]:
    """Those of which as many events are on the pages as were counted.

    What a client has sent, whose logical clock counts nothing else, is at the list's end until it is received.
    """
    found = _found(memory, pages)
    if not memory.by_stamp:
        new = (
            sender_of(task)
            for task_id, task in fields_of(end)
            if task_id not in memory.tasks and not any(task_id in page.rows for page in pages)
        )
        found.update(source for source in new if source.is_client)
    return {source for source in sources if found[source] >= max(1, active[source])}


def _clients_reached(memory: Memory, page: TaskPage) -> set[Sender]:
    """The clients whose later tasks all stand on the page, by the time at which they sent an earlier one."""
    if not memory.by_stamp:
        return set()
    bottom = lowest_stamp(page)
    return {Sender(client, True) for client, sent in memory.sent_at.items() if sent > bottom}


def note_clients(memory: Memory, page: TaskPage) -> None:
    """Note when clients have sent a task that the page shows. It is of use only once all up to the page is known."""
    for _, task in fields_of(page) if memory.by_stamp else ():
        if isinstance(task.client, str):
            memory.noted[task.client] = max(memory.noted.get(task.client, 0.0), stamp_of(task.sent))


def lowest_stamp(page: TaskPage) -> float:
    """The time stamp of a page's last task, a Unix time."""
    return page.stamps[-1] if page.stamps else math.inf


def anchors_of(memory: Memory, page: TaskPage) -> Counter[Sender]:
    """How many tasks of each source are on the page above its last one, and are as they were."""
    keys = {task_id: _key(memory, task) for task_id, task in fields_of(page)}
    bottom = max(islice(reversed(keys.values()), 1 if memory.by_stamp else _BOTTOM), default=0.0)
    return Counter(
        sender_of(task)
        for task_id, task in fields_of(page)
        if keys[task_id] > bottom and memory.tasks.has_unchanged(task_id, page)
    )


def _found(memory: Memory, pages: Iterable[TaskPage]) -> Counter[Sender]:
    """How many of each source's events are certainly on the pages: one of each task that is new or not as it was."""
    found: Counter[Sender] = Counter()
    changed = {task_id: page for page in pages for task_id in memory.tasks.read_anew(page.rows, page)}
    for task_id, page in changed.items():
        task = field_of(page, task_id)
        if memory.tasks.stamp_of(task_id) == page.stamps[page.rows[task_id]]:
            continue  # what changed it came late, and is not its newest event
        newest = sender_of(task)
        found[newest] += 1
        # One that was sent and received since; a sending that came late is its newest event, and counted as that.
        told = task.sent is not None and isinstance(task.client, str) and not newest.is_client
        # Of a latecomer it cannot be told whether it was sent since.
        if told and task.state != "PENDING" and task_id not in memory.tasks and not memory.latecomers:
            found[Sender(task.client, True)] += 1
    return found


def _key(memory: Memory, task: EventFields) -> float:
    """What the list is ordered by, as far as the task's newest event tells it; 0.0 where it does not."""
    if memory.by_stamp:
        return stamp_of(task.timestamp)
    return clock_of(task)


def sender_of(task: EventFields) -> Sender:
    """Who sent a task's newest event."""
    by_client = task.timestamp is not None and task.timestamp == task.sent
    name = task.client if by_client else task.worker
    return Sender(name if isinstance(name, str) else "", by_client)


def has_unnamed(tasks: TaskTable, front: TaskPage) -> bool:
    """Whether there is a task, not at the front, that may learn its name where it stands."""
    kinds = tasks.shared.kinds
    of_them = {n for n, (name, state) in enumerate(kinds) if name == UNKNOWN_TYPE and state not in _MOVED_BY_RECEIVED}
    return bool(of_them) and any(task_id not in front.rows for task_id in tasks.of_kinds(of_them))


def fields_of(page: TaskPage) -> Iterator[tuple[str, EventFields]]:
    """The tasks of a page that keeps them, by id, in the list's order."""
    return cast("Iterator[tuple[str, EventFields]]", iter(page.fields.items()))


def field_of(page: TaskPage, task_id: str) -> EventFields:
    """One of them."""
    return cast("EventFields", page.fields[task_id])
