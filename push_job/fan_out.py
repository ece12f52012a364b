"""The same work for several Flowers, side by side in threads, waited for until a moment and no longer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from push_job.settings import Endpoint

#: Flowers that may be heard at a time, to bound memory. One that is silent is not counted: it may hang to the end.
AT_ONCE = 64

#: The part of the time there is after which a Flower that nothing was heard of is silent.
_SILENCE = 0.1

T = TypeVar("T")


class FanOut(Generic[T]):
    """Does `work` for each Flower in a thread of its own; its result is None where nobody waits for it any more.

    `told` is called with each result, in the thread that waits; what comes too late to be waited for is not told.
    `heard` says when something was last heard of a Flower. Moments are those of ``time.monotonic()``.
    """

    def __init__(
        self,
        flowers: Iterable[Endpoint],
        work: Callable[[Endpoint], T | None],
        told: Callable[[T], object] = lambda _: None,
        heard: Callable[[Endpoint], float] = lambda _: 0.0,
    ) -> None:
        self.flowers = list(flowers)
        self.results: dict[Endpoint, T] = {}
        self._work = work
        self._told = told
        self._heard = heard
        self._waiting = deque(self.flowers)
        self._began: dict[Endpoint, float] = {}  # of those under way
        self._done: SimpleQueue[tuple[Endpoint, T | None]] = SimpleQueue()

    def missing(self) -> list[Endpoint]:
        """The Flowers without a result so far."""
        return [flower for flower in self.flowers if flower not in self.results]

    def wait(self, until: float, but_for: Iterable[Endpoint] = ()) -> None:
        """Start what may be started, and wait until all but some Flowers have a result, or until a moment."""
        ignored = set(but_for)
        patience = _SILENCE * max(0.0, until - time.monotonic())
        while not ignored.issuperset(self.missing()):
            self._start(patience)
            left = max(0.0, until - time.monotonic())
            try:
                # Those that wait for a place are looked after more often.
                self._take(min(left, patience) if self._waiting else left)
            except Empty:
                if time.monotonic() >= until:
                    return

    def _take(self, timeout: float) -> None:
        flower, result = self._done.get(timeout=timeout)
        self._began.pop(flower, None)
        if result is not None:
            self.results[flower] = result
            self._told(result)

    def _start(self, patience: float) -> None:
        while self._waiting and self._loud(patience) < AT_ONCE:
            flower = self._waiting.popleft()
            self._began[flower] = time.monotonic()
            try:
                threading.Thread(target=self._run, args=(flower,), daemon=True).start()
            except RuntimeError:  # the system gives no more threads
                if len(self._began) > 1:
                    del self._began[flower]
                    self._waiting.appendleft(flower)
                    return
                self._run(flower)

    def _loud(self, patience: float) -> int:
        """How many of those under way have been heard of, or were begun, within the last `patience` seconds."""
        silent_since = time.monotonic() - patience
        return sum(max(began, self._heard(flower)) > silent_since for flower, began in self._began.items())

    def _run(self, flower: Endpoint) -> None:
        self._done.put((flower, self._work(flower)))
