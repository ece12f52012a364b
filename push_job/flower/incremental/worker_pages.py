"""A worker's own tasks, and those that wait to be received: asked for where the list's front does not show them all."""

from __future__ import annotations

from collections.abc import Iterable

from push_job.flower.api import Flower
from push_job.flower.incremental.event_counts import EventCounts, Sender
from push_job.flower.incremental.senders import anchors_of, counted_on, fields_of, has_unnamed
from push_job.flower.incremental.state import Memory, NotProvenError
from push_job.flower.page import TaskPage

#: How many tasks of each source are asked for.
_TASKS = 2000

#: How many anchors a source has to have among its own tasks.
_ANCHORS = 3


def read_worker_pages(
    flower: Flower,
    memory: Memory,
    before: EventCounts,
    sources: Iterable[Sender],
    front: TaskPage,
    end: TaskPage,
    page_size: int,
    until: float,
) -> list[TaskPage]:
    """The newest tasks of each worker, and those that clients have sent and nobody has received.

    They show all that these sources have sent since the counters were read `before`, and the front does not. Raises
    NotProvenError, or FlowerError.
    """
    limit, shared = min(page_size, _TASKS), memory.tasks.shared
    pages = []

    def are_counted_on(page: TaskPage, those: Iterable[Sender]) -> bool:
        """Whether as many events of these are on the front and the page as Flower has counted by now."""
        active = flower.events_since(before, until)
        return active is not None and counted_on(memory, (front, page), end, those, active) >= set(those)

    for worker in [source for source in sources if not source.is_client]:
        page = flower.page_with_fields(shared, 0, limit, until, workername=worker.name)
        # Flower takes spaces off the name. Up to 2.0.1 the page also has the tasks that nobody has received.
        if any(task.worker not in (None, worker.name) for _, task in fields_of(page)):
            raise NotProvenError(f"what was answered are not the tasks of {worker.name}")
        # A name that Flower does not find so would make an empty page.
        if not (0 < len(page) < limit or _is_anchored(memory, page, worker) or are_counted_on(page, [worker])):
            raise NotProvenError(f"not all events of {worker.name} were found")
        # Up to Flower 2.0.1 a task may have moved though it looks as it was.
        if not (memory.by_stamp or memory.tasks.are_in_order(page, memory.unplaced)):
            raise NotProvenError(f"the tasks of {worker.name} are not in the order that they were in")
        pages.append(page)
    if clients := [source for source in sources if source.is_client]:
        page = flower.page_with_fields(shared, 0, limit, until, state="PENDING")
        if len(page) == limit and not all(_is_anchored(memory, page, client) for client in clients):
            raise NotProvenError(f"not all that {clients[0].name} sent was found")
        # Who sent it may tell an old task its name, which is neither received then nor PENDING.
        if has_unnamed(memory.tasks, front) and not are_counted_on(page, clients):
            raise NotProvenError(f"what {clients[0].name} sent may have told the name of a task without moving it")
        pages.append(page)
    return pages


def _is_anchored(memory: Memory, page: TaskPage, source: Sender) -> bool:
    """Whether a page of a source's own tasks reaches below what it has sent since.

    By the logical clock that cannot be told, as most of what stands on the page may do so by an event of another
    worker's, or the clock began again at zero.
    """
    return memory.by_stamp and anchors_of(memory, page)[source] >= _ANCHORS
