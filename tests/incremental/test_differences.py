"""What a whole reading finds other than it was remembered is told, but not what an event has changed meanwhile."""

import itertools
from typing import cast

import pytest

from push_job.flower.api import Flower
from push_job.flower.incremental.scraper import TaskScraper
from push_job.http.client import Client
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower, DirectClient, never
from tests.incremental.fuzz import difference

PAGE, TASKS = 40, 150


class Shop:
    """A Flower that is read whole in each turn, and what is remembered of it."""

    def __init__(self, order: str) -> None:
        self.celery = CeleryFlower(order, room=10_000)
        self.reader = TaskScraper(1e-9)
        self._clock = itertools.count(1)
        for number in range(TASKS):
            self.send(f"task-{number}")
        self.read()

    def send(self, uuid: str) -> None:
        """A new task."""
        self.celery.now += 1.0
        self.celery.event("task-received", uuid, "celery@one", self.celery.now, next(self._clock), name="shop.pay")

    def read(self) -> None:
        """One turn, which counts what the list holds."""
        reading = self.reader.read(Flower(cast(Client, DirectClient(self.celery))), PAGE, never())
        assert reading.whole
        assert difference(self.celery, reading.tasks) is None


@pytest.fixture(params=[BY_STAMP, BY_CLOCK])
def shop(request: pytest.FixtureRequest) -> Shop:
    return Shop(request.param)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_what_was_remembered_wrong_is_told(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.read()
    assert told(caplog) == []
    assert shop.reader._memory is not None
    shop.reader._memory.tasks.drop(["task-3"])
    shop.read()
    assert told(caplog) == ["what was remembered was wrong, and is put right"]


def test_an_event_between_the_counters_and_the_list_is_nothing_that_was_remembered_wrong(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    def once(path: str) -> None:
        if path == "/api/tasks":
            shop.celery.before_answer = lambda _path: None
            shop.send("new")

    shop.celery.before_answer = once
    shop.read()
    assert told(caplog) == []
