"""A Flower in the test's process, and a scraper with state that scrapes it."""

import gc
import itertools
import math
from collections.abc import Callable
from typing import Any, cast

from push_job.flower.api import Flower
from push_job.flower.incremental.scraper import ScrapedTasks, TaskScraper
from push_job.flower.incremental.state import ScrapeState
from push_job.http.client import Client
from tests.fakes.celery_flower import CeleryFlower, DirectClient, never
from tests.incremental.fuzz import difference, disorder

PAGE = 100


class Scene:
    """A Flower, workers with logical clocks of their own, and a scraper.

    Args:
        order: the order of Flower's list.
        room: number of tasks that it remembers.
        full_every: interval between full scrapes in seconds.
    """

    def __init__(self, order: str, room: int = 10_000, full_every: float = math.inf) -> None:
        self.flower = CeleryFlower(order, room)
        self.client = DirectClient(self.flower)
        self.scraper = TaskScraper(full_every)
        self.clocks: dict[str, itertools.count[int]] = {}

    def send(self, kind: str, uuid: str, sender: str = "celery@one", *, skew: float = 0.0, **fields: Any) -> None:
        """Send one event, by the sender's clock, which is fast by `skew` seconds."""
        self.flower.now += 1.0
        clock = next(self.clocks.setdefault(sender, itertools.count(1)))
        self.flower.event(kind, uuid, sender, self.flower.now + skew, clock, **fields)

    def receive(self, count: int, prefix: str, sender: str = "celery@one", name: str = "shop.pay") -> list[str]:
        """Let a worker receive new tasks; return their ids."""
        ids = [f"{prefix}-{number}" for number in range(count)]
        for uuid in ids:
            self.send("task-received", uuid, sender, name=name)
        return ids

    def scrape(self) -> ScrapedTasks:
        """Scrape, and check the result against the list as it is now."""
        self.flower.requests.clear()
        gc.disable()  # up to Flower 2.0.1 forgotten tasks leave the list when garbage is collected
        try:
            scraped = self.scraper.scrape(Flower(cast(Client, self.client)), PAGE, never())
            assert difference(self.flower, scraped.tasks) is None
            assert disorder(self.flower, self.scraper) is None
        finally:
            gc.enable()
        return scraped

    def before_request(self, number: int, action: Callable[[], object], path: str = "/api/tasks") -> None:
        """Call `action` once, before the given request of a path is answered.

        Requests are counted from 1.
        """

        def before(asked: str) -> None:
            if asked == path and sum(done == path for done, _ in self.flower.requests) == number - 1:
                self.flower.before_answer = lambda _path: None
                action()

        self.flower.before_answer = before

    @property
    def state(self) -> ScrapeState:
        """The scraper's state."""
        assert self.scraper._state is not None
        return self.scraper._state

    @property
    def paths(self) -> list[str]:
        """The paths of the last scrape's requests."""
        return [path for path, _ in self.flower.requests]

    def requested(self, **filters: str) -> bool:
        """Return whether the last scrape filtered tasks by these values."""
        return any(filters.items() <= params.items() for _, params in self.flower.requests)
