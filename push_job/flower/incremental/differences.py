"""Compare a full scrape with the state before it.

Log the differences that no event can have caused.
"""

from __future__ import annotations

import logging
import math

from push_job import log
from push_job.flower.api import Flower
from push_job.flower.incremental.event_counts import EventCounts
from push_job.flower.incremental.state import ScrapeState
from push_job.flower.table import TaskTable
from push_job.flower.table_values import Content
from push_job.flower.task import UNKNOWN_TYPE

#: A task's newest event may have arrived after the last scrape although its time stamp is older than that by up to
#: this number of seconds, if its worker's clock is slow.
_CLOCK_SLACK = 300.0

#: Differing tasks that the verbose log names.
_NAMED_LIMIT = 100


def log_differences(flower: Flower, former: ScrapeState, state: ScrapeState, after: EventCounts | None) -> None:
    """Log the tasks that differ between two states without an event as the cause.

    `former` is the state before a full scrape, and `state` is the result of the scrape.
    """
    # Without any event until after the scrape, every task must be unchanged.
    quiet = after is not None and former.counts is not None and former.counts.by_kind == after.by_kind
    different = sorted(_differences(former, state.tasks, quiet=quiet))
    if not different:
        return
    address = flower.client.endpoint.address
    log.event(logging.WARNING, "state differed from Flower; rebuilt", flower=address, tasks=len(different))
    for task_id in different[:_NAMED_LIMIT]:
        log.event(
            logging.DEBUG,
            "task differed",
            flower=address,
            task=task_id,
            state=str(former.tasks.labels_of(task_id)) if task_id in former.tasks else None,
            flower_has=str(state.tasks.labels_of(task_id)) if task_id in state.tasks else None,
        )


def _differences(former: ScrapeState, now: TaskTable, *, quiet: bool) -> set[str]:
    """Return the tasks that differ from the state.

    If not `quiet`, return only those without a recent event.
    """
    known = former.tasks
    known.compact()  # so that a task is found at once
    latest = math.inf if quiet else former.tasks.now - _CLOCK_SLACK

    def differs(task_id: str, content: Content) -> bool:
        was = known.content_of(task_id)
        if not quiet and (was.labels[0] == UNKNOWN_TYPE if was else not former.order.is_by_stamp):
            # A late event gives an old task its name, or brings it back into the list of an old Flower.
            return False
        return was is None or not was.counts_like(content)

    different = {it for it, content in now.contents() if content.stamp < latest and differs(it, content)}
    if quiet and former.order.is_by_stamp:
        # Up to Flower 2.0.1 the list loses tasks without events.
        different.update(task_id for task_id in known if task_id not in now)
    return different
