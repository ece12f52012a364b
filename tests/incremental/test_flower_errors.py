"""A failed request of an incremental scrape costs only a full scrape."""

import logging
import math
import time
from typing import Any, cast

import pytest

from push_job.flower.api import Flower, FlowerError
from push_job.flower.incremental.scraper import TaskScraper
from push_job.http.client import Client
from push_job.http.errors import TransportError
from tests.fakes.celery_flower import BY_STAMP, CeleryFlower, DirectAnswer, DirectClient
from tests.incremental.shared import PAGE, Scene

FORBIDDEN = TransportError("it answered 403", status=403)
SILENT = TransportError("it sent nothing for 5 s", transient=True, overloaded=True)
RESET = TransportError("the connection broke", transient=True)
REFUSED = TransportError("it refused the connection", transient=True)


class FailingScene(Scene):
    """A scene with one new task, whose Flower can fail."""

    def __init__(self) -> None:
        super().__init__(BY_STAMP)
        self.failures = 0
        self.receive(4 * PAGE, "task")
        assert self.scrape().full
        self.receive(1, "new")

    def fail(self, error: TransportError, path: str | None, times: float = math.inf) -> None:
        """Let requests for a path fail (None: for every path), this number of times."""

        def before(asked: str) -> None:
            if path in (asked, None) and self.failures < times:
                self.failures += 1
                raise error

        self.flower.before_answer = before


@pytest.mark.parametrize("error", [FORBIDDEN, SILENT, REFUSED], ids=str)
def test_without_counters_every_scrape_is_full(error: TransportError, caplog: pytest.LogCaptureFixture) -> None:
    scene = FailingScene()
    scene.fail(error, "/metrics")
    with caplog.at_level(logging.INFO):
        assert [scene.scrape().full for _ in range(3)] == [True] * 3
    (line,) = [record for record in caplog.records if "not possible" in record.getMessage()]
    assert str(error) in line.__dict__["fields"]["reason"]
    scene.flower.before_answer = lambda _path: None
    assert [scene.scrape().full for _ in range(2)] == [True, False]


def test_counters_that_fail_once_are_requested_again() -> None:
    scene = FailingScene()
    scene.fail(RESET, "/metrics", times=1)
    assert not scene.scrape().full
    assert scene.failures == 1


def test_a_page_that_cannot_be_read_makes_the_scrape_full() -> None:
    scene = FailingScene()
    scene.fail(SILENT, "/api/tasks", times=2)
    assert scene.scrape().full
    assert not scene.scrape().full


def test_a_flower_that_is_down_is_an_error() -> None:
    scene = FailingScene()
    scene.fail(REFUSED, None)
    with pytest.raises(FlowerError, match="refused the connection"):
        scene.scrape()


class TimedClient(DirectClient):
    """Client that notes the time in seconds that each request may take.

    The keys of `seconds` are the request's path and the state that it filters by.
    """

    def __init__(self, flower: CeleryFlower) -> None:
        super().__init__(flower)
        self.seconds: dict[tuple[str, str | None], float] = {}

    def get(self, path: str, _until: float, **params: Any) -> DirectAnswer:
        """See Client."""
        self.seconds[path, params.get("state")] = _until - time.monotonic()
        return super().get(path, _until, **params)


@pytest.mark.parametrize(("seconds", "part"), [(400.0, 100.0), (40.0, 10.0), (4.0, 2.0), (1.0, 1.0)])
def test_an_answer_that_is_not_needed_gets_a_part_of_the_time(seconds: float, part: float) -> None:
    scene, scraper = FailingScene(), TaskScraper(math.inf)
    client = TimedClient(scene.flower)
    assert scraper.scrape(Flower(cast(Client, client)), PAGE, time.monotonic() + seconds).full
    assert client.seconds["/metrics", None] <= part
    assert client.seconds["/api/tasks", "received"] <= part
    assert part < client.seconds["/api/tasks", None] <= seconds or part == seconds
    assert not scraper.scrape(Flower(cast(Client, client)), PAGE, time.monotonic() + seconds).full
    assert client.seconds["/metrics", None] <= part
