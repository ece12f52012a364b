"""States and pages for unit tests of incremental scrapes."""

from collections.abc import Mapping

from push_job.flower.incremental.event_counts import EventCounts
from push_job.flower.incremental.list_order import ORDERS
from push_job.flower.incremental.state import COLUMNS, ScrapeState
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import EventFields
from tests.flower.tasks import page_of


def state_of(order: str, tasks: Mapping[str, EventFields], counts: EventCounts | None = None) -> ScrapeState:
    """Return a state with these tasks, in an order of ORDERS."""
    table = TaskTable(SharedIndex())
    table.merge(page_of(table.shared, tasks, COLUMNS))
    return ScrapeState(table, counts, ORDERS[order], full_at=0.0)


def read(state: ScrapeState, tasks: Mapping[str, EventFields]) -> TaskPage:
    """Return a page that an incremental scrape has read."""
    return page_of(state.tasks.shared, tasks, COLUMNS, keep_fields=True)
