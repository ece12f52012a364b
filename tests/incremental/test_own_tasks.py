"""What the list's front does not show is found among a worker's own tasks, or all is read: what makes it a proof."""

import gc
import itertools
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from push_job.flower.api import Flower
from push_job.flower.incremental.scraper import Reading, TaskScraper
from push_job.flower.incremental.state_file import StateFile
from push_job.http.client import Client
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower, DirectClient, never
from tests.incremental.fuzz import difference, disorder

PAGE, OWN = 100, 250


class Shop:
    """A Flower with a worker whose logical clock is that of all, one whose clock began again, and a client."""

    def __init__(self, order: str, room: int = 10_000, own: int = OWN, ones: int = 4 * PAGE) -> None:
        self.celery = CeleryFlower(order, room)
        self.flower = Flower(cast(Client, DirectClient(self.celery)), ())
        self.reader = TaskScraper(math.inf)
        self.clocks = {
            "celery@one": itertools.count(10_000),
            "celery@two": itertools.count(9000),
            "celery@reborn": itertools.count(1),
            "celery@low": itertools.count(1),
            "gen1@web": itertools.count(1),
        }
        for number in range(ones):
            self.send("task-received", f"one-{number}", "celery@one", name="shop.pay")
        for number in range(own):
            self.send("task-received", f"reborn-{number}", "celery@reborn", name="shop.mail")

    def send(self, kind: str, uuid: str, sender: str, **fields: Any) -> None:
        """One event."""
        self.celery.now += 1.0
        self.celery.event(kind, uuid, sender, self.celery.now, next(self.clocks[sender]), **fields)

    def read(self) -> Reading:
        """One turn, which counts what the list holds, and remembers it in its order."""
        self.celery.requests.clear()
        reading = self.reader.read(self.flower, PAGE, never())
        assert difference(self.celery, reading.tasks) is None
        assert disorder(self.celery, self.reader) is None
        return reading

    def before_own_tasks(self, happens: Callable[[], None]) -> None:
        """Let something happen once, between the list's front and a worker's own tasks."""

        def when_both_pages_were_read(_path: str) -> None:
            if sum(path == "/api/tasks" for path, _ in self.celery.requests) == 2:
                self.celery.before_answer = lambda _path: None
                happens()

        self.celery.before_answer = when_both_pages_were_read

    @property
    def unplaced(self) -> set[str]:
        """The tasks of which it is not remembered where they stand."""
        assert self.reader._memory is not None
        return self.reader._memory.unplaced

    def asked_for(self, **having: str) -> bool:
        """Whether the last turn asked for tasks with these alone."""
        return any(having.items() <= params.items() for _, params in self.celery.requests)


def test_what_a_clock_that_began_again_has_sent_is_counted_on_the_workers_own_tasks() -> None:
    shop = Shop(BY_CLOCK)
    assert shop.read().whole
    shop.send("task-received", "new", "celery@reborn", name="shop.mail")
    assert not shop.read().whole
    assert shop.asked_for(workername="celery@reborn")


def test_all_tasks_of_a_worker_show_what_it_has_sent_though_it_cannot_be_counted() -> None:
    shop = Shop(BY_CLOCK, own=PAGE // 2)
    assert shop.read().whole
    shop.send("task-started", "reborn-7", "celery@reborn")
    shop.send("task-succeeded", "reborn-7", "celery@reborn", runtime=1.0)
    assert not shop.read().whole
    assert shop.asked_for(workername="celery@reborn")


def test_what_is_not_among_the_newest_of_its_own_makes_all_be_read(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(BY_CLOCK)
    assert shop.read().whole
    shop.send("task-received", "new", "celery@reborn", name="shop.mail")
    with caplog.at_level(logging.INFO):
        # This one stands lower still, by a clock that began again once more.
        shop.clocks["celery@reborn"] = itertools.count(1)
        shop.send("task-started", "reborn-0", "celery@reborn")
        assert shop.read().whole
    assert "not all events of celery@reborn were found" in str([vars(record) for record in caplog.records])


def test_tasks_of_another_worker_are_not_taken_for_a_workers_own(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(BY_STAMP)
    long_ago = shop.celery.now - 300.0
    for number, name in enumerate([*[" celery@lead"] * 30, *["celery@lead"] * 3]):
        shop.celery.event("task-received", f"lead-{number}", name, long_ago, number, name="shop.pay")
    assert shop.read().whole
    # Flower looks for the name without its space.
    shop.celery.event("task-started", "lead-0", " celery@lead", long_ago + 1.0, 100)
    with caplog.at_level(logging.INFO):
        assert shop.read().whole
    assert shop.asked_for(workername=" celery@lead")
    assert "not the tasks of  celery@lead" in str([vars(record) for record in caplog.records])


@pytest.mark.parametrize("order", [BY_CLOCK, BY_STAMP])
def test_a_sending_that_is_found_is_no_doubt_though_a_task_without_a_name_is_known(order: str) -> None:
    shop = Shop(order)
    shop.send("task-started", "unnamed", "celery@one")
    for number in range(2 * PAGE):
        shop.send("task-received", f"later-{number}", "celery@one", name="shop.pay")
    assert shop.read().whole
    for turn in range(3):
        shop.send("task-sent", f"sent-{turn}", "gen1@web", name="shop.mail")
        assert not shop.read().whole


@pytest.mark.parametrize("order", [BY_CLOCK, BY_STAMP])
def test_a_name_that_is_told_late_is_learnt_in_the_same_turn(order: str) -> None:
    shop = Shop(order)
    shop.send("task-started", "unnamed", "celery@one")
    for number in range(2 * PAGE):
        shop.send("task-received", f"later-{number}", "celery@one", name="shop.pay")
    shop.send("task-sent", "sent", "gen1@web", name="shop.mail")
    assert shop.read().tasks.labels_of("unnamed") == ("unknown", "STARTED")
    shop.send("task-sent", "sent too", "gen1@web", name="shop.mail")
    shop.send("task-sent", "unnamed", "gen1@web", name="shop.mail")
    reading = shop.read()
    assert reading.tasks.labels_of("unnamed") == ("shop.mail", "STARTED")
    # By time stamps it moves to the list's front; by the client's logical clock it stays where it is.
    assert reading.whole == (order == BY_CLOCK)


def test_what_two_pages_show_was_received_once_so_that_a_name_told_late_is_missed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(BY_STAMP)
    shop.send("task-started", "unnamed", "celery@one")
    for sender in ("celery@one", "celery@reborn"):
        for number in range(2 * PAGE):
            shop.send("task-received", f"later-{sender}-{number}", sender, name="shop.mail")
    assert shop.read().whole
    shop.send("task-received", "new", "celery@one", name="shop.pay")
    shop.send("task-started", "new", "celery@one")  # so what it has sent cannot be counted at the list's front
    shop.send("task-received", "unnamed", "celery@one", name="shop.pay")
    with caplog.at_level(logging.INFO):
        assert shop.read().whole
    assert shop.asked_for(workername="celery@one")
    assert "may have learnt its name" in str([vars(record) for record in caplog.records])


def test_by_logical_clocks_what_is_remembered_stays_in_the_lists_order() -> None:
    shop = Shop(BY_CLOCK)
    shop.send("task-started", "one-7", "celery@reborn")  # it stands by the clock of the other's event
    assert shop.read().whole
    for turn in range(5):
        shop.send("task-received", f"new-{turn}", "celery@reborn", name="shop.mail")
        shop.send("task-succeeded", "one-9", "celery@reborn", runtime=1.0)
        shop.send("task-started", f"one-{390 - turn}", "celery@one")
        reading = shop.read()
        assert not reading.whole
        assert list(reading.tasks) == [uuid for uuid, _ in shop.celery.tasks()]


def test_by_logical_clocks_what_the_front_and_a_workers_own_tasks_show_stays_where_it_is() -> None:
    shop = Shop(BY_CLOCK)
    shop.send("task-started", "one-390", "celery@reborn")
    shop.send("task-started", "one-380", "celery@reborn")
    assert shop.read().whole
    shop.send("task-received", "new", "celery@reborn", name="shop.mail")
    reading = shop.read()
    assert not reading.whole
    assert shop.asked_for(workername="celery@reborn")
    assert list(reading.tasks) == [uuid for uuid, _ in shop.celery.tasks()]


@pytest.mark.parametrize("in_file", [False, True], ids=["in the loop", "in a file"])
def test_what_may_stand_above_the_lists_end_is_not_taken_for_gone(
    in_file: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ones, twos, own, new = 95, 400, 50, 10
    shop = Shop(BY_CLOCK, room=ones + twos + own + new + 1, own=own, ones=ones)
    for number in range(twos):  # what came first, one-0, stands above these
        shop.send("task-received", f"two-{number}", "celery@two", name="shop.pay")
    assert shop.read().whole
    shop.send("task-received", "fresh", "celery@two", name="shop.pay")
    shop.send("task-started", "reborn-10", "celery@reborn")
    # It stays where it is, and tells a low clock.
    shop.before_own_tasks(lambda: shop.send("task-started", "fresh", "celery@reborn"))
    assert not shop.read().whole
    assert shop.unplaced == {"fresh"}
    for number in range(new):  # now the list's front does not reach to "fresh"
        shop.send("task-received", f"new-{number}", "celery@one", name="shop.pay")
    assert not shop.read().whole
    if in_file:
        file = StateFile(tmp_path / "memory", "http://flower:5555", "flower:5555")
        memory = shop.reader._memory
        assert memory is not None
        file.save(memory)
        shop.reader = TaskScraper(math.inf, file)
    for number in range(15):  # these leave the list's end, whose page reaches higher then
        shop.send("task-started", f"reborn-{number}", "celery@one")
    shop.send("task-received", "newest", "celery@one", name="shop.pay")  # Flower forgets one-0
    gc.collect()
    with caplog.at_level(logging.INFO):
        assert shop.read().whole
    assert "may stand above it" in str([vars(record) for record in caplog.records])


def test_a_task_of_which_the_place_is_not_known_says_nothing_of_those_behind_it() -> None:
    shop = Shop(BY_CLOCK, own=PAGE * 3 // 4)  # the page at the list's end begins with the highest of them
    for number in range(20):
        shop.send("task-received", f"two-{number}", "celery@two", name="shop.pay")
    for number in range(10):  # these stand higher than they tell
        shop.send("task-started", f"two-{number}", "celery@low")
    assert shop.read().whole
    shop.send("task-started", "reborn-5", "celery@reborn")
    shop.before_own_tasks(lambda: shop.send("task-started", "reborn-0", "celery@reborn"))
    assert not shop.read().whole
    assert shop.unplaced == {"reborn-0"}
    assert not shop.read().whole
    assert shop.unplaced == set()


def test_where_a_task_stands_is_not_known_once_it_was_received_again_though_it_looks_as_it_was() -> None:
    shop = Shop(BY_CLOCK, own=PAGE // 2)
    shop.send("task-started", "reborn-0", "celery@reborn")
    for number in range(PAGE):  # higher than all that the other one whose clock began again has sent
        shop.send("task-received", f"low-{number}", "celery@low", name="shop.mail")
    assert shop.read().whole
    shop.clocks["celery@reborn"] = itertools.count(2 * PAGE)
    shop.send("task-received", "reborn-0", "celery@reborn", name="shop.mail")
    shop.send("task-received", "new", "celery@reborn", name="shop.mail")
    assert not shop.read().whole
    assert shop.unplaced == {"reborn-0", "new"}


def test_a_task_that_moved_though_it_looks_as_it_was_makes_all_be_read(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(BY_CLOCK, own=PAGE // 2)
    shop.send("task-started", "reborn-7", "celery@reborn")
    shop.send("task-received", "later", "celery@reborn", name="shop.mail")
    assert shop.read().whole
    shop.send("task-received", "reborn-7", "celery@reborn", name="shop.mail")
    shop.send("task-received", "new", "celery@reborn", name="shop.mail")
    with caplog.at_level(logging.INFO):
        assert shop.read().whole
    assert "celery@reborn are not in the order that" in str([vars(record) for record in caplog.records])


def test_a_full_flower_is_read_warm_though_a_low_clock_puts_new_tasks_at_its_end() -> None:
    shop = Shop(BY_CLOCK, room=OWN + 4 * PAGE)
    assert shop.read().whole
    turns = []
    for turn in range(10):
        shop.send("task-received", f"new-{turn}", "celery@reborn", name="shop.mail")
        shop.send("task-received", f"newest-{turn}", "celery@one", name="shop.mail")
        turns.append(shop.read().whole)
    assert turns.count(False) >= 8
