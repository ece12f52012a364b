"""Totals count each end and each retry once.

The tests compare them with Celery's own state of events.
"""

import logging
import math
import pickle
from pathlib import Path
from typing import Any, cast

import pytest

from push_job.flower.api import Flower
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.incremental.state_file import StateFile
from push_job.flower.totals import Totals
from push_job.http.client import Client
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower, never
from tests.incremental.shared import PAGE, Scene

BOUNDS = (1.0, 10.0)
FEW, MANY = 5, 150


class CountedScene(Scene):
    """A scene with totals."""

    def __init__(self, order: str, room: int = 10_000, path: Path | None = None) -> None:
        super().__init__(order, room)
        self.path = path
        self.restart_job()

    def restart_job(self) -> None:
        """Go on with what the state file has; without one, with nothing."""
        file = StateFile(self.path, self.client.endpoint.url, "flower") if self.path else None
        self.scraper = TaskScraper(math.inf, file, BOUNDS)

    def restart_flower(self, seconds: float, saved: bytes | None = None) -> None:
        """Start another process of Flower `seconds` seconds later.

        It starts with the state `saved`, if any.
        """
        former = self.flower
        self.flower = self.client.flower = CeleryFlower(former.order, former.room, former.now + seconds)
        self.flower.now = former.now + seconds
        if saved:
            self.flower.state = pickle.loads(saved)

    def end(self, kind: str, uuid: str, **fields: Any) -> None:
        """End a task."""
        self.send(f"task-{kind}", uuid, **fields)

    @property
    def totals(self) -> Totals:
        """What has been counted."""
        assert self.state.totals is not None
        return self.state.totals

    def ends(self, name: str = "shop.pay") -> dict[str, int]:
        """The ends of a task type by state, without zeros."""
        return {state: count for state, count in self.totals.types[name].ends.items() if count}

    def missed(self, name: str = "shop.pay") -> int:
        """The missed events of a task type."""
        return self.totals.types[name].missed


@pytest.fixture(params=[(BY_STAMP, FEW), (BY_STAMP, MANY), (BY_CLOCK, MANY)], ids=["few", "by stamp", "by clock"])
def scene(request: pytest.FixtureRequest) -> CountedScene:
    """A scene that has been scraped once.

    It has few tasks, for full scrapes, or many, for incremental ones.
    """
    order, count = request.param
    scene = CountedScene(order)
    for uuid in scene.receive(count, "old"):
        scene.end("succeeded", uuid, runtime=0.5)
    scene.scrape()
    return scene


def test_the_tasks_of_the_first_scrape_are_not_counted(scene: CountedScene) -> None:
    assert scene.ends() == {}
    scene.scrape()
    assert scene.ends() == {}
    assert scene.missed() == 0


def test_a_task_that_comes_and_ends_between_two_scrapes_counts(scene: CountedScene) -> None:
    for kind in ("succeeded", "failed", "revoked", "rejected"):
        [uuid] = scene.receive(1, kind)
        scene.end(kind, uuid)
    scene.scrape()
    scene.scrape()
    assert scene.ends() == {"SUCCESS": 1, "FAILURE": 1, "REVOKED": 1, "REJECTED": 1}
    assert scene.missed() == 0


def test_a_known_task_counts_when_it_ends(scene: CountedScene) -> None:
    [uuid] = scene.receive(1, "new")
    scene.scrape()
    scene.send("task-started", uuid)
    scene.scrape()
    assert scene.ends() == {}
    scene.end("succeeded", uuid, runtime=3.0)
    scene.scrape()
    assert scene.ends() == {"SUCCESS": 1}
    assert scene.totals.types["shop.pay"].buckets == [0, 1, 0]
    assert scene.totals.types["shop.pay"].runtime == 3.0


@pytest.mark.parametrize("scrape_between", [True, False])
def test_a_task_that_fails_and_then_succeeds_counts_in_both_states(scene: CountedScene, scrape_between: bool) -> None:
    [uuid] = scene.receive(1, "new")
    scene.end("failed", uuid, exception="ValueError('no')")
    if scrape_between:
        scene.scrape()
    scene.send("task-received", uuid, name="shop.pay")
    scene.end("succeeded", uuid)
    scene.scrape()
    assert scene.ends() == {"SUCCESS": 1, "FAILURE": 1}
    assert scene.missed() == 0
    failures = scene.totals.types["shop.pay"].failures
    assert {name: found.count for name, found in failures.items()} == {"ValueError": 1}


def test_a_task_that_succeeds_and_then_fails_counts_in_both_states(scene: CountedScene) -> None:
    [uuid] = scene.receive(1, "new")
    scene.end("succeeded", uuid)
    scene.scrape()
    scene.end("failed", uuid)
    scene.scrape()
    assert scene.ends() == {"SUCCESS": 1, "FAILURE": 1}


def test_a_redelivered_task_counts_twice_and_a_hidden_end_is_missed(scene: CountedScene) -> None:
    [uuid] = scene.receive(1, "new")
    scene.end("succeeded", uuid)
    scene.scrape()
    scene.send("task-received", uuid, name="shop.pay")
    scene.scrape()
    scene.end("succeeded", uuid)
    scene.scrape()
    assert (scene.ends(), scene.missed()) == ({"SUCCESS": 2}, 0)
    scene.end("succeeded", uuid)
    scene.end("succeeded", uuid)
    scene.scrape()
    assert (scene.ends(), scene.missed()) == ({"SUCCESS": 3}, 1)


@pytest.mark.parametrize("sent_events", [True, False])
@pytest.mark.parametrize("scrapes", [True, False])
def test_each_retry_counts_once(scene: CountedScene, scrapes: bool, sent_events: bool) -> None:
    [uuid] = scene.receive(1, "new")
    for number in range(1, 4):
        scene.send("task-started", uuid)
        if sent_events:
            scene.send("task-sent", uuid, name="shop.pay", retries=number)
            if scrapes:
                scene.scrape()
        scene.send("task-retried", uuid)
        if scrapes:
            scene.scrape()
        scene.send("task-received", uuid, name="shop.pay", retries=number)
        if scrapes:
            scene.scrape()
    scene.end("succeeded", uuid)
    scene.scrape()
    scene.scrape()
    assert scene.totals.types["shop.pay"].retries == 3
    assert (scene.ends(), scene.missed()) == ({"SUCCESS": 1}, 0)


def test_retries_from_before_flower_knew_the_task_are_not_counted(scene: CountedScene) -> None:
    scene.send("task-received", "again", name="shop.pay", retries=2)
    scene.scrape()
    scene.send("task-received", "new", name="shop.pay", retries=5)
    scene.send("task-started", "new")
    scene.send("task-retried", "new")
    scene.scrape()
    scene.scrape()
    assert scene.totals.types["shop.pay"].retries == 1
    assert scene.missed() == 0


@pytest.mark.parametrize("order", [BY_STAMP, BY_CLOCK])
def test_what_a_full_flower_forgets_between_two_scrapes_is_missed(order: str) -> None:
    scene = CountedScene(order, room=150)
    scene.receive(150, "old")
    scene.scrape()
    for number in range(200):
        [uuid] = scene.receive(1, f"new{number}", name="shop.mail")
        scene.end("succeeded", uuid)
    scene.scrape()
    scene.scrape()
    found = scene.totals.types["shop.mail"]
    assert found.ends["SUCCESS"] + found.missed == 200
    assert found.missed == 50 or order == BY_CLOCK  # which lists forgotten tasks for a while
    assert scene.missed() == 0


def test_a_restarted_flower_without_its_state_goes_on(scene: CountedScene) -> None:
    [uuid] = scene.receive(1, "new")
    scene.scrape()
    scene.restart_flower(20)
    scene.end("succeeded", uuid)  # its name is not known to this process
    [other] = scene.receive(1, "other")
    scene.end("failed", other)
    scene.scrape()
    scene.scrape()
    assert scene.ends() == {"FAILURE": 1}
    assert scene.ends("unknown") == {"SUCCESS": 1}
    assert scene.missed() == 0
    assert 19 <= scene.totals.unwatched <= 21


def test_a_restarted_flower_with_an_older_state_counts_nothing_twice() -> None:
    scene = CountedScene(BY_STAMP, room=150)
    for uuid in scene.receive(150, "old"):
        scene.end("succeeded", uuid)
    scene.scrape()
    saved = pickle.dumps(scene.flower.state)
    for uuid in scene.receive(80, "new"):
        scene.end("succeeded", uuid)
    scene.scrape()
    assert scene.ends() == {"SUCCESS": 80}
    scene.restart_flower(5, saved)
    for uuid in scene.receive(10, "newer"):
        scene.end("failed", uuid)
    scene.scrape()
    scene.scrape()
    assert scene.ends() == {"SUCCESS": 80, "FAILURE": 10}
    assert scene.missed() == 0
    assert scene.totals.unwatched > 0


def test_a_flower_that_restarts_and_forgets_before_the_scrape_has_missed_events() -> None:
    scene = CountedScene(BY_STAMP, room=150)
    scene.receive(150, "old")
    scene.scrape()
    scene.restart_flower(5)
    for number in range(170):
        [uuid] = scene.receive(1, f"new{number}")
        scene.end("succeeded", uuid)
    scene.scrape()
    scene.scrape()
    assert (scene.ends(), scene.missed()) == ({"SUCCESS": 150}, 20)


@pytest.mark.parametrize("count", [FEW, MANY])
def test_a_job_that_is_killed_goes_on_from_the_state_file(tmp_path: Path, count: int) -> None:
    scene = CountedScene(BY_STAMP, path=tmp_path / "state")
    scene.receive(count, "old")
    scene.scrape()
    scene.scraper.save()
    for uuid in scene.receive(3, "new"):
        scene.end("succeeded", uuid)
    scene.scrape()
    assert scene.ends() == {"SUCCESS": 3}
    scene.restart_job()  # before the state was saved
    for uuid in scene.receive(2, "newer"):
        scene.end("failed", uuid)
    scene.scrape()
    scene.scraper.save()
    assert scene.ends() == {"SUCCESS": 3, "FAILURE": 2}
    scene.restart_job()
    scene.scrape()
    assert (scene.ends(), scene.missed()) == ({"SUCCESS": 3, "FAILURE": 2}, 0)


def test_without_the_state_file_totals_start_at_0_and_say_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = CountedScene(BY_STAMP, path=tmp_path / "state")
    for uuid in scene.receive(3, "new"):
        scene.end("succeeded", uuid)
    with caplog.at_level(logging.INFO, "push_job"):
        scene.scrape()
        scene.scraper.save()
        (tmp_path / "state").unlink()
        scene.restart_job()
        scene.scrape()
        scene.scrape()
    lines = [record.__dict__["fields"]["reason"] for record in caplog.records if "totals start" in record.getMessage()]
    assert len(lines) == 2
    assert all(lines)
    assert scene.ends() == {}


def test_totals_go_on_when_other_extras_are_selected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = CountedScene(BY_STAMP, path=tmp_path / "state")
    scene.receive(MANY, "old")
    scene.scrape()
    for uuid in scene.receive(3, "new"):
        scene.end("succeeded", uuid)
    scene.scrape()
    scene.scraper.save()
    monkeypatch.setattr("push_job.flower.incremental.state_format.__version__", "999")
    scene.restart_job()
    for uuid in scene.receive(2, "newer"):
        scene.end("failed", uuid)
    assert scene.scrape().full
    assert scene.ends() == {"SUCCESS": 3, "FAILURE": 2}


def test_tasks_that_are_left_out_of_a_scrape_count_in_the_next_one(tmp_path: Path) -> None:
    scene = CountedScene(BY_STAMP, MANY, path=tmp_path / "state")
    scene.receive(MANY, "old")
    scene.scrape()

    def end_two() -> None:
        for uuid in scene.receive(2, "late"):
            scene.end("succeeded", uuid)

    [uuid] = scene.receive(1, "new")
    scene.end("succeeded", uuid)
    scene.flower.requests.clear()
    scene.before_request(2, end_two)
    scene.scraper.scrape(Flower(cast(Client, scene.client)), PAGE, never())
    assert any(page.rows for page in scene.state.left_out)
    assert scene.ends() == {"SUCCESS": 1}
    scene.scraper.save()
    assert scene.ends() == {"SUCCESS": 3}
    scene.scrape()
    assert (scene.ends(), scene.missed()) == ({"SUCCESS": 3}, 0)


def test_a_runtime_with_other_bounds_is_counted_from_0(tmp_path: Path) -> None:
    scene = CountedScene(BY_STAMP, path=tmp_path / "state")
    [one, two] = scene.receive(2, "new")
    scene.scrape()
    scene.end("succeeded", one, runtime=0.5)
    scene.scrape()
    scene.scraper.save()
    file = StateFile(tmp_path / "state", scene.client.endpoint.url, "flower")
    scene.scraper = TaskScraper(math.inf, file, (0.1, 1.0, 5.0))
    scene.end("succeeded", two, runtime=2.0)
    scene.scrape()
    assert scene.totals.types["shop.pay"].buckets == [0, 0, 1, 0]
    assert scene.ends() == {"SUCCESS": 2}
