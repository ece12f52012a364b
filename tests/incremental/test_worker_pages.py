"""Events that are not at the front of the list are found.

They are found on a worker's own page, or all tasks are read.
"""

import gc
import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.incremental.state_file import StateFile
from push_job.flower.incremental.state_format import Saved
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP
from tests.incremental.shared import PAGE, Scene

OWN = 250


class Workers(Scene):
    """A scene with workers that have different logical clocks, and a client.

    Two workers have high clocks, the clock of one has restarted, and that of one is low.
    """

    def __init__(self, order: str, room: int = 10_000, own: int = OWN, ones: int = 4 * PAGE) -> None:
        super().__init__(order, room)
        self.clocks = {"celery@one": itertools.count(10_000), "celery@two": itertools.count(9000)}
        self.receive(ones, "one", "celery@one")
        self.receive(own, "reborn", "celery@reborn", "shop.mail")

    def before_worker_page(self, action: Callable[[], object]) -> None:
        """Do something once, between the front page and the first page of a worker."""
        self.before_request(3, action)


def reasons_in(caplog: pytest.LogCaptureFixture) -> str:
    return str([record.__dict__.get("fields", {}).get("reason") for record in caplog.records])


def test_events_of_a_restarted_clock_are_counted_on_the_workers_page() -> None:
    scene = Workers(BY_CLOCK)
    assert scene.scrape().full
    scene.send("task-received", "new", "celery@reborn", name="shop.mail")
    assert not scene.scrape().full
    assert scene.requested(workername="celery@reborn")


def test_a_page_with_all_tasks_of_a_worker_needs_no_count() -> None:
    scene = Workers(BY_CLOCK, own=PAGE // 2)
    assert scene.scrape().full
    scene.send("task-started", "reborn-7", "celery@reborn")
    scene.send("task-succeeded", "reborn-7", "celery@reborn", runtime=1.0)
    assert not scene.scrape().full
    assert scene.requested(workername="celery@reborn")


def test_events_below_the_workers_page_make_the_scrape_full(caplog: pytest.LogCaptureFixture) -> None:
    scene = Workers(BY_CLOCK)
    assert scene.scrape().full
    scene.send("task-received", "new", "celery@reborn", name="shop.mail")
    with caplog.at_level(logging.INFO):
        # This task stands lower, because the clock restarted again.
        scene.clocks["celery@reborn"] = itertools.count(1)
        scene.send("task-started", "reborn-0", "celery@reborn")
        assert scene.scrape().full
    assert "celery@reborn" in reasons_in(caplog)


def test_tasks_of_another_worker_are_not_taken_for_a_workers_own(caplog: pytest.LogCaptureFixture) -> None:
    scene = Workers(BY_STAMP)
    long_ago = scene.flower.now - 300.0
    for number, name in enumerate([*[" celery@lead"] * 30, *["celery@lead"] * 3]):
        scene.flower.event("task-received", f"lead-{number}", name, long_ago, number, name="shop.pay")
    assert scene.scrape().full
    # Flower looks for the name without its blank.
    scene.flower.event("task-started", "lead-0", " celery@lead", long_ago + 1.0, 100)
    with caplog.at_level(logging.INFO):
        assert scene.scrape().full
    assert scene.requested(workername=" celery@lead")
    assert "celery@lead" in reasons_in(caplog)


@pytest.mark.parametrize("order", [BY_CLOCK, BY_STAMP])
def test_a_sent_task_is_found_although_a_task_without_a_name_is_known(order: str) -> None:
    scene = Workers(order)
    scene.send("task-started", "unnamed")
    scene.receive(2 * PAGE, "later")
    assert scene.scrape().full
    for number in range(3):
        scene.send("task-sent", f"sent-{number}", "gen1@web", name="shop.mail")
        assert not scene.scrape().full


@pytest.mark.parametrize("order", [BY_CLOCK, BY_STAMP])
def test_a_name_that_arrives_late_is_known_in_the_same_cycle(order: str) -> None:
    scene = Workers(order)
    scene.send("task-started", "unnamed")
    scene.receive(2 * PAGE, "later")
    scene.send("task-sent", "sent", "gen1@web", name="shop.mail")
    assert scene.scrape().tasks.labels_of("unnamed") == ("unknown", "STARTED")
    scene.send("task-sent", "sent too", "gen1@web", name="shop.mail")
    scene.send("task-sent", "unnamed", "gen1@web", name="shop.mail")
    scraped = scene.scrape()
    assert scraped.tasks.labels_of("unnamed") == ("shop.mail", "STARTED")
    # By time stamps the task moves to the front; by the client's logical clock it stays where it is.
    assert scraped.full == (order == BY_CLOCK)


def test_a_late_reception_in_place_is_not_hidden_by_one_that_two_pages_show(caplog: pytest.LogCaptureFixture) -> None:
    scene = Workers(BY_STAMP)
    scene.send("task-started", "unnamed")
    for sender in ("celery@one", "celery@reborn"):
        scene.receive(2 * PAGE, f"later-{sender}", sender, "shop.mail")
    assert scene.scrape().full
    scene.send("task-received", "new", name="shop.pay")
    scene.send("task-started", "new")  # so that the worker's events cannot be counted at the front
    scene.send("task-received", "unnamed", name="shop.pay")
    with caplog.at_level(logging.INFO):
        assert scene.scrape().full
    assert scene.requested(workername="celery@one")
    assert reasons_in(caplog)


def test_by_logical_clock_the_state_keeps_the_lists_order() -> None:
    scene = Workers(BY_CLOCK)
    scene.send("task-started", "one-7", "celery@reborn")  # it stands by the clock of the other worker's event
    assert scene.scrape().full
    for cycle in range(5):
        scene.send("task-received", f"new-{cycle}", "celery@reborn", name="shop.mail")
        scene.send("task-succeeded", "one-9", "celery@reborn", runtime=1.0)
        scene.send("task-started", f"one-{390 - cycle}")
        scraped = scene.scrape()
        assert not scraped.full
        assert list(scraped.tasks) == [uuid for uuid, _ in scene.flower.tasks()]


def test_by_logical_clock_tasks_on_the_front_and_on_a_workers_page_keep_their_places() -> None:
    scene = Workers(BY_CLOCK)
    scene.send("task-started", "one-390", "celery@reborn")
    scene.send("task-started", "one-380", "celery@reborn")
    assert scene.scrape().full
    scene.send("task-received", "new", "celery@reborn", name="shop.mail")
    scraped = scene.scrape()
    assert not scraped.full
    assert scene.requested(workername="celery@reborn")
    assert list(scraped.tasks) == [uuid for uuid, _ in scene.flower.tasks()]


@pytest.mark.parametrize("in_file", [False, True], ids=["in memory", "in a file"])
def test_a_task_that_may_stand_above_the_end_is_not_taken_for_gone(
    in_file: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ones, twos, own, new = 95, 400, 50, 10
    scene = Workers(BY_CLOCK, room=ones + twos + own + new + 1, own=own, ones=ones)
    scene.receive(twos, "two", "celery@two")  # one-0 came first and stands above these
    assert scene.scrape().full
    scene.send("task-received", "fresh", "celery@two", name="shop.pay")
    scene.send("task-started", "reborn-10", "celery@reborn")
    # This event leaves the task where it is, and shows a low clock.
    scene.before_worker_page(lambda: scene.send("task-started", "fresh", "celery@reborn"))
    assert not scene.scrape().full
    assert scene.state.unplaced == {"fresh"}
    scene.receive(new, "new")  # now the front does not reach to "fresh"
    assert not scene.scrape().full
    if in_file:
        file = StateFile(tmp_path / "state", "http://flower:5555", "flower:5555")
        file.save(Saved(scene.state))
        scene.scraper = TaskScraper(1e9, file)
    for number in range(15):  # these leave the end of the list, whose page then reaches higher
        scene.send("task-started", f"reborn-{number}")
    scene.receive(1, "newest")  # Flower forgets one-0
    gc.collect()
    with caplog.at_level(logging.INFO):
        assert scene.scrape().full
    assert "may stand above it" in reasons_in(caplog)


def test_a_task_without_a_known_place_says_nothing_about_those_after_it() -> None:
    scene = Workers(BY_CLOCK, own=PAGE * 3 // 4)  # the end page begins with the highest of them
    scene.receive(20, "two", "celery@two")
    for number in range(10):  # these stand higher than their clock
        scene.send("task-started", f"two-{number}", "celery@low")
    assert scene.scrape().full
    scene.send("task-started", "reborn-5", "celery@reborn")
    scene.before_worker_page(lambda: scene.send("task-started", "reborn-0", "celery@reborn"))
    assert not scene.scrape().full
    assert scene.state.unplaced == {"reborn-0"}
    assert not scene.scrape().full
    assert scene.state.unplaced == set()


def test_the_place_of_a_task_that_was_received_again_is_not_known() -> None:
    scene = Workers(BY_CLOCK, own=PAGE // 2)
    scene.send("task-started", "reborn-0", "celery@reborn")
    scene.receive(PAGE, "low", "celery@low", "shop.mail")  # higher than all tasks of celery@reborn
    assert scene.scrape().full
    scene.clocks["celery@reborn"] = itertools.count(2 * PAGE)
    scene.send("task-received", "reborn-0", "celery@reborn", name="shop.mail")
    scene.send("task-received", "new", "celery@reborn", name="shop.mail")
    assert not scene.scrape().full
    assert scene.state.unplaced == {"reborn-0", "new"}


def test_a_task_that_moved_although_it_looks_unchanged_makes_the_scrape_full(caplog: pytest.LogCaptureFixture) -> None:
    scene = Workers(BY_CLOCK, own=PAGE // 2)
    scene.send("task-started", "reborn-7", "celery@reborn")
    scene.send("task-received", "later", "celery@reborn", name="shop.mail")
    assert scene.scrape().full
    scene.send("task-received", "reborn-7", "celery@reborn", name="shop.mail")
    scene.send("task-received", "new", "celery@reborn", name="shop.mail")
    with caplog.at_level(logging.INFO):
        assert scene.scrape().full
    assert "celery@reborn are in another order" in reasons_in(caplog)


def test_a_full_flower_is_scraped_incrementally_although_new_tasks_stand_at_its_end() -> None:
    scene = Workers(BY_CLOCK, room=OWN + 4 * PAGE)
    assert scene.scrape().full
    was_full = []
    for cycle in range(10):
        scene.send("task-received", f"new-{cycle}", "celery@reborn", name="shop.mail")
        scene.send("task-received", f"newest-{cycle}", name="shop.mail")
        was_full.append(scene.scrape().full)
    assert was_full.count(False) >= 8
