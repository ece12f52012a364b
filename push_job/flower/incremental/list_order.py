"""The two orders of Flower's list of tasks, and what each allows to conclude.

Flower 2.2 sorts by the Unix time stamp of each task's newest event, by the clock
of the worker that sent it. Flower up to 2.0.1 sorts by Celery's logical clock: the
event with the highest clock decides a task's place, but the task shows only the
clock of the event that arrived last.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate, islice
from typing import ClassVar, cast

from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import EventFields, clock_of, received_of, sent_at, stamp_of

#: Last tasks of a page by logical clock that show how deep the page reaches. Some stand higher than the clock of their
#: newest event, because of an earlier event from another worker.
_BOTTOM_BY_CLOCK = 30


class ListOrder(ABC):
    """One order of the list.

    Attributes:
        name: the name in the state file.
        is_by_stamp: whether it is the order of Flower 2.2.
    """

    name: ClassVar[str]
    is_by_stamp: ClassVar[bool]

    @abstractmethod
    def position(self, task: EventFields) -> float:
        """Return the value that the list is sorted by, as far as the task shows it.

        It is 0.0 if the task does not show it.
        """

    @abstractmethod
    def bottom(self, page: TaskPage, tasks: TaskTable) -> float:
        """Return the position of the last task of a page that keeps its fields.

        `tasks` are the tasks known before.
        """

    @abstractmethod
    def settles_without_news(self) -> bool:
        """Return whether an unchanged task alone settles its sender.

        Then it proves that a page has all events of the sender.
        """

    @abstractmethod
    def matches(self, pages: Iterable[TaskPage]) -> bool:
        """Return whether pages are sorted in this order, as far as they show it."""

    @abstractmethod
    def arrange(self, tasks: TaskTable, former: list[str], moved: set[str], front: list[str], end: list[str]) -> None:
        """Sort `tasks` after tasks were merged whose places are not known.

        Args:
            tasks: the table.
            former: all ids in their former order.
            moved: ids of the tasks that may have moved.
            front: ids that are known to stand at the front, in order.
            end: ids that are known to stand at the end, in order.
        """


class ByStamp(ListOrder):
    """The order of Flower 2.2: by (time stamp, id), descending."""

    name = "stamp"
    is_by_stamp = True

    def position(self, task: EventFields) -> float:
        """Return the time stamp."""
        return stamp_of(task.timestamp)

    def bottom(self, page: TaskPage, _tasks: TaskTable) -> float:
        """Return the time stamp of the last task."""
        return page.stamps[-1] if page.stamps else math.inf

    def settles_without_news(self) -> bool:
        """Return True: a worker's time stamps never decrease."""
        return True

    def matches(self, pages: Iterable[TaskPage]) -> bool:
        """Check the order of each page."""
        return all(page.is_by_stamp() for page in pages)

    def arrange(
        self, tasks: TaskTable, _former: list[str], _moved: set[str], _front: list[str], _end: list[str]
    ) -> None:
        """Sort by stamp."""
        tasks.sort_by_stamp()


class ByClock(ListOrder):
    """The order of Flower up to 2.0.1: by logical clock, descending.

    The highest clock of a task's events decides.
    """

    name = "clock"
    is_by_stamp = False

    def position(self, task: EventFields) -> float:
        """Return the clock of the newest event."""
        return clock_of(task)

    def bottom(self, page: TaskPage, tasks: TaskTable) -> float:
        """Return the highest clock of the last tasks and of those below the page.

        The tasks below the page are the known ones that are not on it. Tasks may stand higher than their clock says,
        but never lower.
        """
        fields = cast("Iterable[EventFields]", islice(reversed(page.fields.values()), _BOTTOM_BY_CLOCK))
        return max(max(map(clock_of, fields), default=0.0), tasks.highest(clock_of, page.rows))

    def settles_without_news(self) -> bool:
        """Return False: the logical clock of a restarted worker may start again at zero."""
        return False

    def matches(self, _pages: Iterable[TaskPage]) -> bool:
        """Return True, because a page does not show this order."""
        return True

    def arrange(self, tasks: TaskTable, former: list[str], moved: set[str], front: list[str], end: list[str]) -> None:
        """Put `front` first, `end` last, and the other tasks between them.

        The other tasks keep their former order as far as possible. Each moved task is put after the last task with a
        higher clock, but never below its former place.
        """
        page = tasks.compact()
        rows, clocks = page.rows, page.columns[clock_of]
        known = {*front, *end}
        staying: list[str] = []
        former_places: dict[str, int] = {}
        for task_id in former:
            if task_id in moved:
                former_places[task_id] = len(staying)
            elif task_id in rows and task_id not in known:
                staying.append(task_id)
        # The highest clock from each place on, negated so that the list rises.
        highest = [*accumulate((-clocks[rows[task_id]] for task_id in reversed(staying)), min)][::-1]
        by_place = sorted(
            (
                min(bisect_left(highest, -clocks[rows[task_id]]), former_places.get(task_id, len(staying))),
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
        page.rows = {task_id: rows[task_id] for task_id in (*order, *end)}


ORDERS: dict[str, ListOrder] = {order.name: order for order in (ByStamp(), ByClock())}


def order_of(tasks: TaskTable) -> ListOrder:
    """Return the order in which a full scrape found the tasks."""
    return ORDERS[ByStamp.name if tasks.is_by_stamp() else ByClock.name]


def tasks_at_front(front: TaskPage, others: list[TaskPage], late: set[str]) -> list[str]:
    """Return the tasks that still stood at the front when `others` were read.

    These are tasks of the front page. The tasks in `late` are left out.
    """

    def is_same_on(page: TaskPage, task_id: str, row: int) -> bool:
        other = page.rows.get(task_id)
        return other is None or (page.stamps[other] == front.stamps[row] and page.kinds[other] == front.kinds[row])

    return [
        task_id
        for task_id, row in front.rows.items()
        if task_id not in late and all(is_same_on(page, task_id, row) for page in others)
    ]


def possibly_moved(tasks: TaskTable, page: TaskPage) -> set[str]:
    """Return the tasks of a page that may have moved since the last scrape.

    A late ``task-received`` or ``task-sent`` moves a task and changes nothing that is counted.
    """
    return {*tasks.changed(page, (received_of, sent_at))}
