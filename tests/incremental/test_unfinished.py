"""A full scrape that runs out of time goes on in the next cycle."""

import contextlib
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from push_job.flower.api import FlowerError
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.incremental.state_file import StateFile
from push_job.http.errors import TransportError
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower
from tests.incremental.shared import PAGE, Scene

ORDERS = pytest.mark.parametrize("order", [BY_STAMP, BY_CLOCK])


def fail_after(scene: Scene, pages: int) -> None:
    """Let the scrape run out of time after some pages.

    Check that it says so.
    """
    left = pages

    def before(path: str) -> None:
        nonlocal left
        if path == "/api/tasks":
            left -= 1
        if left < 0:
            raise TransportError("the time is up")

    scene.flower.before_answer = before
    with pytest.raises(FlowerError):
        scene.scrape()
    scene.flower.before_answer = lambda _path: None


def offsets(scene: Scene) -> list[int]:
    """Return the offsets of the pages of the last scrape."""
    return [params["offset"] for path, params in scene.flower.requests if path == "/api/tasks" and "offset" in params]


@ORDERS
@pytest.mark.parametrize("pages", [1, 3, 8, 11])
def test_pages_that_were_read_are_not_read_again(order: str, pages: int) -> None:
    scene = Scene(order)
    scene.receive(8 * PAGE, "task")
    fail_after(scene, pages)
    assert scene.scrape().full
    # Pages overlap by a quarter, and eleven are the whole list, whose end is read again.
    assert offsets(scene)[0] == min(75 * pages, 775)
    assert offsets(scene).count(75) == (pages == 1)
    assert not scene.scrape().full


@ORDERS
@pytest.mark.parametrize(
    "change",
    [
        lambda scene: scene.receive(30, "new"),
        lambda scene: [scene.send("task-succeeded", f"task-{number}", runtime=1.0) for number in range(0, 800, 7)],
        lambda scene: [scene.send("task-received", f"task-{number}", name="shop.mail") for number in range(20)],
    ],
    ids=["new tasks", "ends", "receptions"],
)
def test_what_happens_between_the_cycles_is_counted(order: str, change: Callable[[Scene], object]) -> None:
    scene = Scene(order, room=8 * PAGE)
    scene.receive(8 * PAGE, "task")
    for _ in range(3):
        fail_after(scene, 2)
        change(scene)
    assert scene.scrape().full  # it is compared with Flower's list
    scene.scrape()


@ORDERS
@pytest.mark.parametrize("has_state", [False, True], ids=["first scrape", "with a state"])
def test_another_process_goes_on_with_what_the_state_file_has(order: str, has_state: bool, tmp_path: Path) -> None:
    scene = Scene(order)

    def restart_job() -> None:
        scene.scraper = TaskScraper(math.inf, StateFile(tmp_path / "state", "http://flower", "flower"))

    restart_job()
    scene.receive(8 * PAGE, "task")
    if has_state:
        assert scene.scrape().full
        scene.state.incremental.pause = 24
    for number in range(3):
        fail_after(scene, 3)
        assert offsets(scene)[0] == 225 * number
        scene.send("task-succeeded", f"task-{number}", runtime=1.0)
        restart_job()
    assert scene.scrape().full
    assert offsets(scene)[0] == 675
    scene.scraper.save()
    restart_job()
    assert not scene.scrape().full


def test_a_full_scrape_that_was_begun_long_ago_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(BY_STAMP, full_every=600.0)
    scene.receive(8 * PAGE, "task")
    fail_after(scene, 4)
    now = time.time()
    monkeypatch.setattr("push_job.flower.incremental.scraper.time.time", lambda: now + 601)
    assert scene.scrape().full
    assert offsets(scene)[0] == 0


def test_a_full_scrape_does_not_go_on_in_another_process_of_flower() -> None:
    scene = Scene(BY_STAMP)
    scene.receive(8 * PAGE, "task")
    fail_after(scene, 4)
    scene.flower = scene.client.flower = CeleryFlower(BY_STAMP, 10_000, started=2.0)
    scene.receive(4 * PAGE, "other")
    assert scene.scrape().full
    assert offsets(scene)[0] == 0


def test_a_full_scrape_does_not_go_on_without_counters_that_prove_the_process() -> None:
    scene = Scene(BY_STAMP)
    scene.flower.started = 0.0
    scene.receive(8 * PAGE, "task")
    fail_after(scene, 4)
    assert scene.scrape().full
    assert offsets(scene)[0] == 0


@ORDERS
def test_a_task_that_moved_to_a_place_behind_the_front_is_noticed(order: str) -> None:
    scene = Scene(order, room=8 * PAGE)
    scene.receive(8 * PAGE, "task")
    assert scene.scrape().full
    scene.state.incremental.pause = 24  # every scrape is full
    scene.clocks["celery@slow"] = itertools.count(1)
    fail_after(scene, 5)
    for number in range(700, 710):  # these events do not stand at the front
        scene.send("task-succeeded", f"task-{number}", "celery@slow", skew=-300.0, runtime=1.0)
    with contextlib.suppress(FlowerError):
        scene.scrape()
    scene.scrape()  # it is compared with Flower's list


def test_without_state_nothing_goes_on() -> None:
    scene = Scene(BY_STAMP)
    scene.scraper = TaskScraper(0.0)
    scene.receive(8 * PAGE, "task")
    fail_after(scene, 4)
    assert scene.scraper._unfinished is None


def test_one_cycle_after_another_makes_progress_until_all_tasks_are_read() -> None:
    scene = Scene(BY_STAMP)
    scene.scraper = TaskScraper(math.inf)
    scene.receive(12 * PAGE, "task")
    for _ in range(3):
        fail_after(scene, 4)
        scene.receive(5, f"new-{scene.flower.now}")
    assert scene.scrape().full
