"""Step 6 of the proof: pages of single workers.

They are for senders whose events are not all at the front.
"""

from __future__ import annotations

from dataclasses import dataclass

from push_job.flower.api import Flower
from push_job.flower.incremental.event_counts import EventCounts, Sender, read_event_counts
from push_job.flower.incremental.senders import anchors_on, counted_senders, fields_of
from push_job.flower.incremental.state import NotProvenError, ScrapeState
from push_job.flower.page import TaskPage

#: Tasks that are requested of each worker.
_TASKS = 2000

#: Anchors that a worker must have on its own page.
_ANCHORS = 3


@dataclass(frozen=True)
class _Request:
    """What is needed to read pages of workers; see `read_worker_pages`."""

    flower: Flower
    state: ScrapeState
    base: EventCounts
    front: TaskPage
    end: TaskPage
    limit: int
    until: float

    def page(self, **filters: str) -> TaskPage:
        """Read a page of the tasks that Flower filters."""
        return self.flower.page_with_fields(self.state.tasks.shared, 0, self.limit, self.until, **filters)

    def is_counted(self, page: TaskPage, sender: Sender) -> bool:
        """Return whether the front and the page show all events of the sender.

        They must show as many events as Flower has counted by now.
        """
        now = read_event_counts(self.flower, self.until)
        if now is None or not now.follows(self.base):
            return False
        active = now.senders_since(self.base)
        return sender in counted_senders(self.state, (self.front, page), self.end, [sender], active)


def read_worker_pages(
    flower: Flower,
    state: ScrapeState,
    base: EventCounts,
    senders: list[Sender],
    front: TaskPage,
    end: TaskPage,
    page_size: int,
    until: float,
) -> list[TaskPage]:
    """Read pages of the workers, and a page of PENDING tasks for the clients.

    The page of a worker has its newest tasks. Clients have sent the PENDING tasks. Together with the front page, these
    pages show all events of `senders` since the counters `base`.

    Raises:
        NotProvenError: if they do not.
        FlowerError: if Flower does not answer.
    """
    request = _Request(flower, state, base, front, end, min(page_size, _TASKS), until)
    pages = [_page_of_worker(request, sender) for sender in senders if not sender.is_client]
    if clients := [sender for sender in senders if sender.is_client]:
        pages.append(_page_of_pending(request, clients))
    return pages


def _page_of_worker(request: _Request, worker: Sender) -> TaskPage:
    page, state = request.page(workername=worker.name), request.state
    # Flower strips blanks off the name. Up to 2.0.1 the page also has the tasks that nobody has received.
    if any(task.worker not in (None, worker.name) for _, task in fields_of(page)):
        raise NotProvenError(f"the page of {worker.name} has tasks of other workers")
    # A name that Flower does not find makes an empty page.
    has_all = 0 < len(page) < request.limit
    if not (has_all or _is_anchored(state, page, worker) or request.is_counted(page, worker)):
        raise NotProvenError(f"not all events of {worker.name} were found")
    # Up to Flower 2.0.1 a task may have moved although it looks unchanged.
    if not (state.order.is_by_stamp or state.tasks.keeps_order(page, state.unplaced)):
        raise NotProvenError(f"the tasks of {worker.name} are in another order than before")
    return page


def _page_of_pending(request: _Request, clients: list[Sender]) -> TaskPage:
    page, state = request.page(state="PENDING"), request.state
    if len(page) == request.limit and not all(_is_anchored(state, page, client) for client in clients):
        raise NotProvenError(f"not all tasks that {clients[0].name} sent were found")
    return page


def _is_anchored(state: ScrapeState, page: TaskPage, sender: Sender) -> bool:
    """Return whether a page of a sender's own tasks reaches below its new events.

    Logical clocks cannot show that, because most tasks of the page may stand where they do by an event of another
    worker, and because the clock may have started again at zero.
    """
    return state.order.is_by_stamp and anchors_on(state, page)[sender] >= _ANCHORS
