"""What is of one turn alone: its Flowers, its moments, who may push what; and what came of each Flower.

The right to push a Flower's group in a turn can be claimed once, so a scrape that comes too late cannot push any more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from push_job.metrics.snapshot import Snapshot
from push_job.pushgateway.client import PushgatewayClient, PushgatewayError
from push_job.settings import Endpoint, Settings

#: Pushes at a time. A Pushgateway takes one after the other, each against all that it holds: with 500 groups it took as
#: long for all of them with 1 as with 64 at a time, and each waited 64 times as long for its answer.
PUSHES_AT_ONCE = 4


@dataclass(frozen=True)
class Scrape:
    """What came of scraping one Flower: a snapshot, or the reason why there is none."""

    snapshot: Snapshot | None
    error: str | None
    requests: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of one Flower's part in a turn; `push_error` is None if its group is as it should be."""

    flower: Endpoint
    scrape: Scrape
    push_error: str | None


class Cycle:
    """What is of one turn alone: its Flowers, its moments, who may push, and the connections for that.

    Moments are on the clock of ``time.monotonic()``.
    """

    def __init__(self, settings: Settings, flowers: list[Endpoint], gateway: PushgatewayClient) -> None:
        self.flowers = flowers
        self.held = set(flowers)
        self.gateway = gateway
        self._started = time.monotonic()
        self.until = self._started + settings.deadline
        self.scrape_until = self.until - settings.push_reserve
        self._rights = {flower: threading.Lock() for flower in flowers}
        self._places = threading.Semaphore(PUSHES_AT_ONCE)

    def claim(self, flower: Endpoint) -> bool:
        """Take the right to push the Flower's group, which is there once."""
        return self._rights[flower].acquire(blocking=False)

    @contextlib.contextmanager
    def place_to_push(self) -> Iterator[None]:
        """Wait until few enough others push. Raises GatewayError at the turn's end."""
        if not self._places.acquire(timeout=max(0.0, self.until - time.monotonic())):
            raise PushgatewayError("the pushes before it took all the time there was")
        try:
            yield
        finally:
            self._places.release()

    def unscraped(self, error: str | None = "it was not scraped by the deadline") -> Scrape:
        """What came of a scrape that is not over yet."""
        return Scrape(None, error, 0, time.monotonic() - self._started)
