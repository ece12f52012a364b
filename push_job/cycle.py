"""State of one cycle: its Flowers, deadlines, push permits and results."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from push_job.metrics.snapshot import Snapshot
from push_job.pushgateway.client import PushgatewayClient, PushgatewayError
from push_job.settings import Endpoint, Settings

#: Pushes at a time. A Pushgateway handles one push after the other: with 500 groups, 64 at a time took as long in total
#: as one at a time, and each of them waited 64 times as long for its answer.
PUSHES_AT_ONCE = 4


@dataclass(frozen=True)
class ScrapeResult:
    """The result of scraping one Flower.

    Attributes:
        snapshot: what was read; None if the scrape failed.
        error: why it failed; None if it did not.
        requests: number of requests that were sent.
        seconds: duration in seconds.
    """

    snapshot: Snapshot | None
    error: str | None
    requests: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """The result of one Flower's scrape and push.

    `push_error` is None if the group was pushed.
    """

    flower: Endpoint
    scrape: ScrapeResult
    push_error: str | None


class Cycle:
    """State of one cycle.

    Each Flower's group may be pushed once per cycle. A scrape that misses the
    deadline finds the permit taken, so it cannot push any more.

    Attributes:
        flowers: the Flowers of this cycle.
        busy: those that no other cycle may scrape yet.
        pushgateway: the connections of this cycle.
        until: time of ``time.monotonic()`` at which the cycle must be over.
        scrape_until: the same for its scrapes.
    """

    def __init__(self, settings: Settings, flowers: list[Endpoint], pushgateway: PushgatewayClient) -> None:
        self.flowers = flowers
        self.busy = set(flowers)
        self.pushgateway = pushgateway
        self._started = time.monotonic()
        self.until = self._started + settings.deadline
        self.scrape_until = self.until - settings.push_reserve
        self._permits = {flower: threading.Lock() for flower in flowers}
        self._push_slots = threading.Semaphore(PUSHES_AT_ONCE)

    @property
    def seconds(self) -> float:
        """Seconds since the cycle began."""
        return time.monotonic() - self._started

    def take_permit(self, flower: Endpoint) -> bool:
        """Take the permit to push the group of `flower`; return whether it was still free."""
        return self._permits[flower].acquire(blocking=False)

    @contextlib.contextmanager
    def push_slot(self) -> Iterator[None]:
        """Wait for one of the PUSHES_AT_ONCE slots.

        Raises:
            PushgatewayError: if no slot is free by the cycle's end.
        """
        if not self._push_slots.acquire(timeout=max(0.0, self.until - time.monotonic())):
            raise PushgatewayError("earlier pushes took all the time until the deadline")
        try:
            yield
        finally:
            self._push_slots.release()

    def unfinished(self, error: str | None = "it was not scraped by the deadline") -> ScrapeResult:
        """Return the result of a scrape that is not over yet."""
        return ScrapeResult(None, error, 0, self.seconds)
