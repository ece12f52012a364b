"""Keep the totals consistent with the table of tasks.

Every change of the table is counted once.
"""

from __future__ import annotations

import logging
import time
from collections import Counter

from push_job import log
from push_job.flower.incremental.event_counts import EventCounts, EventKind
from push_job.flower.incremental.state import ScrapeState
from push_job.flower.task import END_STATES
from push_job.flower.totals import COUNTED, LAST_FAILURE, Totals, ends_on, first_end

_RETRIED = ("retried",)


def count_changes(state: ScrapeState) -> None:
    """Count what has changed in the table since the last call."""
    if state.totals is not None:
        changes = state.tasks.take_changes(LAST_FAILURE)
        state.totals.count(changes, time.time(), is_by_stamp=state.order.is_by_stamp)


def count_full_scrape(former: ScrapeState | None, state: ScrapeState, before: EventCounts | None) -> None:
    """Count what a full scrape found different from the table before it.

    Args:
        former: the state before.
        state: the new state, with the totals of `former`.
        before: Flower's counters before the scrape; None if they are not known.
    """
    state.tasks.watch(COUNTED)
    if state.totals is None or former is None:
        return
    changes = state.tasks.changes_since(former.tasks, COUNTED, LAST_FAILURE)
    is_new = is_restarted(former, before)
    state.totals.count(changes, time.time(), is_restarted=is_new, is_by_stamp=state.order.is_by_stamp)
    state.totals.keep_gone({} if is_new else former.tasks.values_of_missing(state.tasks))


def start_totals(state: ScrapeState, bounds: tuple[float, ...], address: str, reason: str) -> None:
    """Let totals start at 0: the tasks that Flower remembers are not counted."""
    state.totals = Totals(bounds)
    state.tasks.take_changes(LAST_FAILURE)
    log.event(logging.INFO, "totals start at 0", flower=address, reason=reason)


def compare_totals(
    former: ScrapeState | None, state: ScrapeState, before: EventCounts | None, after: EventCounts | None
) -> None:
    """Compare the totals with Flower's own count.

    Args:
        former: the state before the scrape.
        state: the state after it; its changes have been counted.
        before: Flower's counters before the tasks were read; None if they are not known.
        after: its counters after a full scrape, if they were read.
    """
    totals, now = state.totals, time.time()
    if totals is None:
        return
    totals.add_types((name for name, _ in state.tasks.shared.kinds), now)
    if before is not None and (totals.process is None or is_restarted(former, before)):
        _begin_comparison(totals, state, before, after or before, now)
    if before is not None and totals.process == before.started:
        counts, is_exact = (state.counts or before).by_kind, state.counts is not None and not state.surplus
        ends = totals.by_type(counts, END_STATES)
        # These tasks are counted in the next scrape.
        for page in state.left_out:
            ends.subtract(ends_on(page, state.tasks.shared.kinds))
        totals.compare(ends, now, is_exact=is_exact and not any(page.rows for page in state.left_out))
        totals.count_retries(totals.by_type(counts, _RETRIED), now)
    totals.scraped_at = state.tasks.now


def _begin_comparison(totals: Totals, state: ScrapeState, before: EventCounts, after: EventCounts, now: float) -> None:
    """Begin the comparison of the totals with a process of Flower, at our time `now`."""
    is_first = totals.process is None
    # Tasks may show ends that the counters before do not have.
    counts = state.counts.by_kind + state.surplus if state.counts else after.by_kind
    is_new = first_end(state.tasks) >= before.started > 0
    ends = totals.by_type(counts, END_STATES)
    shown = ends_on(state.tasks.compact(), state.tasks.shared.kinds)
    totals.begin(before.started, before.first_event, ends, shown, now, is_new=is_new)
    if is_first:
        totals.skip_retries(totals.by_type(before.by_kind, _RETRIED), now)


def is_restarted(former: ScrapeState | None, counts: EventCounts | None) -> bool:
    """Return whether Flower has restarted since the totals were last compared."""
    if counts is None or former is None or former.totals is None or former.totals.process is None:
        return False
    if counts.started != former.totals.process:
        return counts.started > former.totals.process
    # The start time is not exported if Flower does not run on Linux.
    known = former.counts.by_kind if former.counts else Counter[EventKind]()
    return counts.started == 0.0 and any(counts.by_kind[kind] < count for kind, count in known.items())


def continues_comparison(former: ScrapeState | None, counts: EventCounts) -> bool:
    """Return whether the totals need no new comparison with Flower's counters.

    This holds if there are no totals, or if they are already compared with the process of these counters.
    """
    return former is not None and (former.totals is None or former.totals.process == counts.started)
