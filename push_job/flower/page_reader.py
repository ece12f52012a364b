"""Read pages of Flower's list, with retries.

An overloaded Flower receives requests for smaller pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from push_job.flower.api import Flower, FlowerError
from push_job.flower.page import TaskPage
from push_job.flower.table import TaskTable
from push_job.http.errors import TransportError
from push_job.settings import PAGE_SIZE, SORTED_PAGE_SIZE

#: Fraction of a request's timeout that a larger page may be expected to take.
_LARGEST_FRACTION = 0.5

#: A page that an overloaded Flower does not deliver is requested at half the size, down to this.
SMALLEST_PAGE = 100

#: Statuses of a proxy whose server stopped responding.
_OVERLOADED_STATUSES = (502, 504)

#: An offset beyond the end of every list.
_BEYOND_ANY_LIST = 10**9


class PageReader:
    """Reads pages of one Flower's list.

    Args:
        flower: the Flower.
        given_size: tasks per page as the user set it; None to choose a size.
        until: deadline on the clock of ``time.monotonic()``.
        progress: called with the number of tasks read so far.

    Attributes:
        size: tasks per page.
    """

    def __init__(self, flower: Flower, given_size: int | None, until: float, progress: Callable[[int], None]) -> None:
        self.flower = flower
        self.progress = progress
        self.size = given_size or PAGE_SIZE
        self._given_size = given_size
        self.until = until
        self._last_seconds = 0.0

    def enlarge(self) -> None:
        """Use fewer, larger pages.

        The size stays the same if the user set one, or if the last page took too long.
        """
        expected = self._last_seconds * SORTED_PAGE_SIZE / self.size
        if self._given_size is None and expected < _LARGEST_FRACTION * self.flower.client.timeout:
            self.size = SORTED_PAGE_SIZE

    def restore(self) -> None:
        """Undo `enlarge`."""
        self.size = min(self.size, self._given_size or PAGE_SIZE)

    def read(self, tasks: TaskTable, offset: int, limit: int) -> tuple[TaskPage, int]:
        """Return the page at `offset`, and the number of requested tasks.

        At most `limit` tasks are requested.

        Raises:
            FlowerError: if it cannot be read by the deadline.
        """
        size = min(self.size, limit)

        def attempt() -> tuple[TaskPage, int]:
            nonlocal size
            started = time.monotonic()
            try:
                page = self.flower.page(tasks.shared, offset, size, self.until)
            except TransportError as error:
                if error.overloaded or error.status in _OVERLOADED_STATUSES:
                    smaller = max(min(size, SMALLEST_PAGE), size // 2)
                    # The failure of an already smaller page says nothing about the others.
                    self.size, size = (smaller if size == self.size else self.size), smaller
                raise
            self._last_seconds = time.monotonic() - started
            return page, size

        if time.monotonic() >= self.until:
            raise FlowerError("not all of its tasks could be read before the deadline")
        return self.flower.client.retrying(attempt, self.until)

    def ignores_offset(self, tasks: TaskTable) -> bool:
        """Return whether Flower ignores offsets, as it does up to 0.9.5.

        It then answers an offset beyond the end of its list with tasks.
        """

        def attempt() -> bool:
            return len(self.flower.page(tasks.shared, _BEYOND_ANY_LIST, 1, self.until)) > 0

        return self.flower.client.retrying(attempt, self.until)
