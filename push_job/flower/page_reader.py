"""Pages of Flower's list, asked for again when that may help, and for less when Flower is starved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from push_job.flower.api import Flower, FlowerError
from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable
from push_job.http.errors import TransportError
from push_job.settings import PAGE_SIZE, SORTED_PAGE_SIZE

#: The largest part of the time for one request that a page may be expected to take.
_LARGEST_PART = 0.5

#: A page that a starved Flower cannot deliver is asked for at half the size, down to this.
SMALLEST_PAGE = 100

#: What a proxy answers when the server behind it is silent for too long, or breaks off.
_STARVED_STATUSES = (502, 504)

#: An offset behind any list's end.
_BEYOND_ANY_LIST = 10**9


@dataclass
class Pages:
    """Where pages come from; `progress` is for whoever scans to tell.

    `given_size` is how many tasks each may hold, None if nobody has said; `size` is what comes of that.
    """

    flower: Flower
    given_size: int | None
    until: float
    progress: Callable[[int], None]

    def __post_init__(self) -> None:
        self.size = self.given_size or PAGE_SIZE
        self._seconds = 0.0

    def enlarge(self) -> None:
        """Ask for fewer and larger pages, if nobody has said how large and the last one came soon enough."""
        expected = self._seconds * SORTED_PAGE_SIZE / self.size
        if self.given_size is None and expected < _LARGEST_PART * self.flower.client.timeout:
            self.size = SORTED_PAGE_SIZE

    def restore(self) -> None:
        """Take back what `enlarge` did."""
        self.size = min(self.size, self.given_size or PAGE_SIZE)

    def read(self, tasks: TaskTable, offset: int, most: int) -> tuple[TaskPage, int]:
        """The page at `offset`, of no more than `most` tasks, and how many were asked for."""
        size = min(self.size, most)

        def attempt() -> tuple[TaskPage, int]:
            nonlocal size
            started = time.monotonic()
            try:
                page = self.flower.page(tasks.shared, offset, size, self.until)
            except TransportError as error:
                if error.overloaded or error.status in _STARVED_STATUSES:
                    smaller = max(min(size, SMALLEST_PAGE), size // 2)
                    # A break on a page that was small already says nothing about the others.
                    self.size, size = (smaller if size == self.size else self.size), smaller
                raise
            self._seconds = time.monotonic() - started
            return page, size

        if time.monotonic() >= self.until:
            raise FlowerError("not all of its tasks could be read before the deadline")
        return self.flower.client.retrying(attempt, self.until)

    def offset_is_ignored(self, tasks: TaskTable) -> bool:
        """Whether a page far behind any list's end has tasks."""

        def attempt() -> bool:
            return len(self.flower.page(tasks.shared, _BEYOND_ANY_LIST, 1, self.until)) > 0

        return self.flower.client.retrying(attempt, self.until)
