"""The order of a list by logical clocks, as far as it can be told without reading all of it.

Up to Flower 2.0.1 a task stands where the event of the highest clock that it has had does, and tells only the clock of
the event that came last. So one that an event of a low clock has touched stands higher than it tells, and stays there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import clock_of, received_of


def placed_by(front: TaskPage, pages: list[TaskPage], late: set[str]) -> list[str]:
    """The tasks of the front, but for those that are late, and those that had an event before another page was read."""

    def is_as_on(page: TaskPage, task_id: str, row: int) -> bool:
        its = page.rows.get(task_id)
        return its is None or (page.stamps[its] == front.stamps[row] and page.kinds[its] == front.kinds[row])

    return [
        task_id
        for task_id, row in front.rows.items()
        if task_id not in late and all(is_as_on(page, task_id, row) for page in pages)
    ]


def may_have_moved(tasks: TaskTable, page: TaskPage) -> set[str]:
    """Those of a page, not of the list's front, that may stand elsewhere than they did.

    A `task-received` that comes late moves a task and changes nothing that is counted.
    """
    received = page.columns[received_of]
    again = (it for it, row in page.rows.items() if tasks.value_of(received_of, it) != received[row])
    return {*tasks.read_anew(page.rows, page), *again}


def arrange_by_clock(
    tasks: TaskTable, former: Iterable[str], moved: set[str], front: list[str], end: list[str]
) -> None:
    """Put all in the list's order: the front's, then the others as they stood in the `former` order, then the end's.

    Among the others, each of the `moved` ones stands behind the last that tells a higher clock, or as high as it stood.
    """
    _, batch = tasks.as_one_batch()
    rows, clocks = batch.rows, batch.columns[clock_of]
    known = {*front, *end}
    staying: list[str] = []
    stood: dict[str, int] = {}
    for task_id in former:
        if task_id in moved:
            stood[task_id] = len(staying)
        elif task_id in rows and task_id not in known:
            staying.append(task_id)
    # The highest clock from each place on, less than none so that they rise.
    highest = [*accumulate((-clocks[rows[task_id]] for task_id in reversed(staying)), min)][::-1]
    by_place = sorted(
        (
            min(bisect_left(highest, -clocks[rows[task_id]]), stood.get(task_id, len(staying))),
            -clocks[rows[task_id]],
            task_id,
        )
        for task_id in (rows.keys() & moved) - known
    )
    order, done = list(front), 0
    for place, _, task_id in by_place:
        order += staying[done:place]
        order.append(task_id)
        done = place
    order += staying[done:]
    batch.rows = {task_id: rows[task_id] for task_id in (*order, *end)}
