"""Do the same work for several Flowers side by side, in threads, up to a deadline."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from push_job.settings import Endpoint

#: Active Flowers at a time, to bound memory. A silent Flower does not count: it may hang until the deadline.
AT_ONCE = 64

#: Fraction of the available time after which a Flower without any received byte counts as silent.
_SILENCE = 0.1

T = TypeVar("T")


class FanOut(Generic[T]):
    """Calls `work` for each Flower in a thread of its own and collects the results.

    A thread that misses the deadline is left behind; its result is ignored.

    Args:
        flowers: the Flowers.
        work: the work for one Flower. It returns None if its result is no longer wanted.
        on_result: called with each result, in the thread that waits.
        last_byte_at: returns the time of ``time.monotonic()`` at which a Flower last sent a byte.
    """

    def __init__(
        self,
        flowers: Iterable[Endpoint],
        work: Callable[[Endpoint], T | None],
        on_result: Callable[[T], object] = lambda _: None,
        last_byte_at: Callable[[Endpoint], float] = lambda _: 0.0,
    ) -> None:
        self.flowers = list(flowers)
        self.results: dict[Endpoint, T] = {}
        self._work = work
        self._on_result = on_result
        self._last_byte_at = last_byte_at
        self._queue = deque(self.flowers)
        self._started_at: dict[Endpoint, float] = {}  # of the running ones
        self._done: SimpleQueue[tuple[Endpoint, T | None]] = SimpleQueue()

    def missing(self) -> list[Endpoint]:
        """Return the Flowers without a result so far."""
        return [flower for flower in self.flowers if flower not in self.results]

    def wait(self, until: float, ignore: Iterable[Endpoint] = ()) -> None:
        """Start threads and wait until every Flower has a result.

        The wait ends at the time `until`, even if results are missing.

        Args:
            until: deadline on the clock of ``time.monotonic()``.
            ignore: Flowers whose results are not waited for.
        """
        ignored = set(ignore)
        patience = _SILENCE * max(0.0, until - time.monotonic())
        while not ignored.issuperset(self.missing()):
            self._start(patience)
            left = max(0.0, until - time.monotonic())
            try:
                # While Flowers are queued, look more often whether one of the running ones fell silent.
                self._take_result(min(left, patience) if self._queue else left)
            except Empty:
                if time.monotonic() >= until:
                    return

    def _take_result(self, timeout: float) -> None:
        flower, result = self._done.get(timeout=timeout)
        self._started_at.pop(flower, None)
        if result is not None:
            self.results[flower] = result
            self._on_result(result)

    def _start(self, patience: float) -> None:
        while self._queue and self._active(patience) < AT_ONCE:
            flower = self._queue.popleft()
            self._started_at[flower] = time.monotonic()
            try:
                threading.Thread(target=self._run, args=(flower,), daemon=True).start()
            except RuntimeError:  # the system has no more threads
                if len(self._started_at) > 1:
                    del self._started_at[flower]
                    self._queue.appendleft(flower)
                    return
                self._run(flower)

    def _active(self, patience: float) -> int:
        """Count the running Flowers that are active.

        These were started or sent a byte within the last `patience` seconds.
        """
        silent_since = time.monotonic() - patience
        return sum(
            max(started, self._last_byte_at(flower)) > silent_since for flower, started in self._started_at.items()
        )

    def _run(self, flower: Endpoint) -> None:
        self._done.put((flower, self._work(flower)))
