"""Step 8 of the proof: find the tasks that Flower has forgotten.

Known, new and gone tasks must add up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from push_job.flower.incremental.event_balance import events_of
from push_job.flower.incremental.event_counts import EventKind, Sender
from push_job.flower.incremental.senders import field_of, sender_of
from push_job.flower.incremental.state import NotProvenError, ScrapeState
from push_job.flower.page import TaskPage
from push_job.flower.task import came_at


class EndPageTooShortError(NotProvenError):
    """More tasks are gone than the end page shows; a longer one may show them."""


@dataclass
class Membership:
    """Which tasks belong to the list at the time of the end page.

    Attributes:
        gone: known tasks that Flower has forgotten.
        late: new tasks that came after the end page.
        left_out: those of them that are not counted in this scrape.
        has_room: whether Flower is known to remember more tasks without forgetting one.
        end_depth: number of tasks of the end page that stood after the first gone one.
    """

    gone: list[str]
    late: dict[str, TaskPage]
    left_out: set[str]
    has_room: bool
    end_depth: int


def membership(
    state: ScrapeState,
    pages: list[TaskPage],
    end: TaskPage,
    listed: int,
    came: Counter[EventKind],
    came_from: Counter[Sender],
) -> Membership:
    """Add up the tasks.

    Args:
        state: what was known before.
        pages: the pages with news, the front first.
        end: the page that reaches the end of the list; it was read before the others.
        listed: number of tasks in the list then.
        came: number of events by kind that Flower counted since shortly before that.
        came_from: the same by sender.

    Raises:
        NotProvenError: if they do not add up.
    """
    tasks = state.tasks
    missing = _missing_at_end(state, end)
    gone = [task_id for task_id in missing if not any(task_id in page.rows for page in pages)]
    _check_order_of_end(state, end, gone)
    new, seen = _new_tasks(state, pages, end)
    new_at_end = sum(task_id not in tasks for task_id in end.rows)
    late = len(tasks) - len(gone) + new_at_end + len(new) - listed
    if not 0 <= late <= len(new):
        raise (EndPageTooShortError if late > 0 else NotProvenError)(
            f"{len(tasks)} tasks were known, {len(new) + new_at_end} are new and {len(gone)} gone,"
            f" but it lists {listed}"
        )
    # A list that grew since the last scrape belongs to a Flower that is not full. It has forgotten nothing for the late
    # tasks either, so they can be counted now. (Up to 2.0.1 the length of the list does not show that.)
    has_room = state.order.is_by_stamp and not gone and (state.has_room or listed > len(tasks))
    late_tasks = _late_tasks({task_id: seen[task_id] for task_id in new}, late, came, came_from)
    if len(late_tasks) < late:
        raise EndPageTooShortError(
            f"{late} more tasks were found than it lists, but only {len(late_tasks)} came after its end was read"
        )
    depth = tasks.depth_of(missing[-1], end) if missing else 0
    return Membership(gone, late_tasks, set() if has_room else set(late_tasks), has_room, depth)


def _late_tasks(
    new: Mapping[str, TaskPage], late: int, came: Counter[EventKind], came_from: Counter[Sender]
) -> dict[str, TaskPage]:
    """Return the tasks that came last, at most `late` of them.

    A task is returned only if its events are among those that came.
    """
    found: dict[str, TaskPage] = {}
    earlier: set[Sender] = set()
    for task_id in sorted(new, key=lambda task_id: _came_at(new[task_id], task_id), reverse=True):
        if len(found) == late:
            break
        sender = sender_of(field_of(new[task_id], task_id))
        if sender in earlier:
            continue
        events = events_of({task_id: new[task_id]})
        if came_from[sender] and events <= came:
            found[task_id] = new[task_id]
            came, came_from = came - events, came_from - Counter([sender])
        else:
            earlier.add(sender)  # this task came before, and so did all earlier ones of the same sender
    return found


def _came_at(page: TaskPage, task_id: str) -> float:
    came = came_at(field_of(page, task_id))
    return 0.0 if math.isnan(came) else came


def _missing_at_end(state: ScrapeState, end: TaskPage) -> list[str]:
    missing = state.tasks.missing_at_end(end, state.unplaced)
    if missing is None:
        raise NotProvenError("the end of its list has changed")
    return missing


def _check_order_of_end(state: ScrapeState, end: TaskPage, gone: list[str]) -> None:
    """Check that the tasks that seem to be gone stood at the end.

    Without gone tasks the order does not matter.
    """
    if gone and not state.tasks.keeps_order(end, state.unplaced):
        raise NotProvenError("the end of its list is in another order than before")
    if not state.unplaced.isdisjoint(gone):
        raise NotProvenError("some tasks that seem to be gone from the end of its list may stand above it")


def _new_tasks(state: ScrapeState, pages: list[TaskPage], end: TaskPage) -> tuple[list[str], dict[str, TaskPage]]:
    """Return the new tasks that are not on the end page, newest first.

    Also return the page of each new task.
    """
    seen = {task_id: page for page in reversed(pages) for task_id in page.rows if task_id not in state.tasks}
    new = [task_id for page in pages for task_id in page.rows if seen.get(task_id) is page]
    return [task_id for task_id in new if task_id not in end.rows], seen
