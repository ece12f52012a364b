"""What a Flower refuses, or breaks off, costs a turn no more than that it is whole."""

import logging
import math
import time
from typing import Any, cast

import pytest

from push_job.flower.api import Flower, FlowerError
from push_job.flower.incremental.scraper import Reading, TaskScraper
from push_job.http.client import Client
from push_job.http.errors import TransportError
from tests.fakes.celery_flower import BY_STAMP, CeleryFlower, DirectAnswer, DirectClient, never
from tests.incremental.fuzz import difference

PAGE, TASKS = 100, 400
REFUSED = TransportError("it answered 403", status=403)
SILENT = TransportError("it was silent for 5 s", transient=True, overloaded=True)
RESET = TransportError("the connection was reset", transient=True)
DOWN = TransportError("connection refused", transient=True)


class Shop:
    """A Flower that was read, and what it does to requests of a path from now on."""

    def __init__(self) -> None:
        self.celery = CeleryFlower(BY_STAMP, room=10_000)
        self.reader = TaskScraper(math.inf)
        self.client = DirectClient(self.celery)
        self.times = 0
        for number in range(TASKS):
            self.send(f"task-{number}")
        assert self.read().whole
        self.send("new")

    def send(self, uuid: str) -> None:
        """A new task."""
        self.celery.now += 1.0
        self.celery.event("task-received", uuid, "celery@one", self.celery.now, int(self.celery.now), name="shop.pay")

    def answer_with(self, error: TransportError, path: str, times: float = math.inf) -> None:
        """Answer so many requests of the path so."""
        self.times = 0

        def answer(asked: str) -> None:
            if asked == path and self.times < times:
                self.times += 1
                raise error

        self.celery.before_answer = answer

    def read(self) -> Reading:
        """One turn, which counts what the list holds."""
        reading = self.reader.read(Flower(cast(Client, self.client)), PAGE, never())
        assert difference(self.celery, reading.tasks) is None
        return reading


@pytest.mark.parametrize("error", [REFUSED, SILENT], ids=str)
def test_counters_that_are_no_longer_told_make_turns_whole(
    error: TransportError, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop()
    shop.answer_with(error, "/metrics")
    with caplog.at_level(logging.INFO):
        assert [shop.read().whole for _ in range(3)] == [True] * 3
    (line,) = [record for record in caplog.records if record.getMessage() == "all tasks are read again"]
    assert str(error) in line.__dict__["fields"]["reason"]
    shop.celery.before_answer = lambda _path: None
    assert [shop.read().whole for _ in range(2)] == [True, False]


def test_counters_that_break_off_once_are_asked_for_again() -> None:
    shop = Shop()
    shop.answer_with(RESET, "/metrics", times=1)
    assert not shop.read().whole
    assert shop.times == 1


def test_a_page_that_is_not_to_be_had_makes_a_turn_whole() -> None:
    shop = Shop()
    shop.answer_with(SILENT, "/api/tasks", times=2)
    assert shop.read().whole
    assert not shop.read().whole


def test_a_flower_that_is_down_is_not_asked_twice_for_all() -> None:
    shop = Shop()
    shop.answer_with(DOWN, "/metrics")
    with pytest.raises(FlowerError, match="connection refused"):
        shop.read()
    assert shop.times == 2  # the second is the retry


class Timed(DirectClient):
    """Notes how many seconds each request may take at most, by its path and the state that it asks for."""

    def __init__(self, flower: CeleryFlower) -> None:
        super().__init__(flower)
        self.seconds: dict[tuple[str, str | None], float] = {}

    def get(self, path: str, _until: float, **params: Any) -> DirectAnswer:
        """See Client."""
        self.seconds[path, params.get("state")] = _until - time.monotonic()
        return super().get(path, _until, **params)


@pytest.mark.parametrize(("seconds", "part"), [(400.0, 100.0), (40.0, 10.0), (4.0, 2.0), (1.0, 1.0)])
def test_what_all_else_can_be_read_without_may_take_a_part_of_the_time(seconds: float, part: float) -> None:
    shop, reader = Shop(), TaskScraper(math.inf)
    client = Timed(shop.celery)
    assert reader.read(Flower(cast(Client, client)), PAGE, time.monotonic() + seconds).whole
    assert client.seconds["/metrics", None] == pytest.approx(part, abs=0.5)
    assert client.seconds["/api/tasks", "received"] == pytest.approx(part, abs=0.5)
    assert client.seconds["/api/tasks", None] == pytest.approx(seconds, abs=0.5)
    assert not reader.read(Flower(cast(Client, client)), PAGE, time.monotonic() + seconds).whole
    assert client.seconds["/metrics", None] == pytest.approx(part, abs=0.5)
