"""Totals are compared with Flower's counters."""

from collections import Counter

from push_job.flower.incremental.counting import compare_totals
from push_job.flower.incremental.event_counts import EventCounts, EventKind
from push_job.flower.incremental.list_order import ORDERS, ByStamp
from push_job.flower.incremental.state import COLUMNS, ScrapeState
from push_job.flower.page import SharedIndex
from push_job.flower.table import TaskTable
from push_job.flower.totals import COLUMNS as OF_TOTALS
from push_job.flower.totals import Totals
from tests.flower.tasks import event, page_of


def test_the_end_of_a_task_that_was_left_out_is_not_missed() -> None:
    table, columns = TaskTable(SharedIndex()), (*COLUMNS, *OF_TOTALS)
    table.merge(page_of(table.shared, {"known": event(state="STARTED", started=1.0)}, columns))
    counts = EventCounts(1.0, 1.0, Counter(), Counter({EventKind("succeeded", "t"): 1}))
    totals = Totals((1.0,))
    totals.begin(1.0, 0.0, Counter(), Counter(), 0.0, is_new=True)
    state = ScrapeState(table, counts, ORDERS[ByStamp.name], full_at=0.0, totals=totals)
    state.left_out = [page_of(table.shared, {"late": event(succeeded=2.0)}, columns)]
    compare_totals(state, state, counts, None)
    assert totals.types["t"].missed == 0
    state.left_out = []
    compare_totals(state, state, counts, None)
    assert totals.types["t"].missed == 1
