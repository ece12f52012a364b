"""Where no event came since the last turn, Flower is asked for its counters and for no task."""

import itertools
import math
from typing import cast

import pytest

from push_job.flower.api import Flower
from push_job.flower.incremental.scraper import Reading, TaskScraper
from push_job.http.client import Client
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower, DirectClient, never
from tests.independent import durations_by_labels

PAGE, TASKS = 40, 150


class Shop:
    """A Flower with tasks that were received, and who reads it."""

    def __init__(self, order: str) -> None:
        self.celery = CeleryFlower(order, room=10_000)
        self._clock = itertools.count(1)
        self._flower = Flower(cast(Client, DirectClient(self.celery)))
        self._reader = TaskScraper(math.inf)
        for number in range(TASKS):
            self.send("task-received", f"task-{number}")
        assert self.read().whole
        self.celery.requests.clear()

    def send(self, kind: str, uuid: str) -> None:
        self.celery.now += 1.0
        self.celery.event(kind, uuid, "celery@one", self.celery.now, next(self._clock), name="shop.pay")

    def read(self) -> Reading:
        """What is read, which is what Flower lists now."""
        reading = self._reader.read(self._flower, PAGE, never())
        listed = [task for _, task in self.celery.tasks()]
        counts, seconds = durations_by_labels(listed, self.celery.now)
        tallies = reading.tasks.tally()
        assert {labels: tally.count for labels, tally in tallies.items()} == counts
        assert {labels: tally.seconds for labels, tally in tallies.items()} == pytest.approx(seconds)
        return reading

    @property
    def paths_asked(self) -> list[str]:
        return [path for path, _ in self.celery.requests]


def test_a_quiet_turn_asks_for_no_task_and_ages_go_on() -> None:
    shop = Shop(BY_STAMP)
    shop.celery.now += 3600.0
    quiet = shop.read()
    assert (quiet.whole, quiet.tasks_read) == (False, 0)
    assert shop.paths_asked == ["/metrics"]


@pytest.mark.parametrize("order", [BY_STAMP, BY_CLOCK])
@pytest.mark.parametrize("is_quiet", [True, False])
def test_ages_are_those_of_the_newest_answer_though_flowers_clock_is_set_back(order: str, is_quiet: bool) -> None:
    shop = Shop(order)
    shop.celery.now += 3600.0
    shop.read()
    shop.celery.now -= 3600.0
    if not is_quiet:
        shop.send("task-started", "task-3")
    assert not shop.read().whole


def test_after_quiet_turns_what_has_changed_is_read() -> None:
    shop = Shop(BY_STAMP)
    shop.read()
    shop.send("task-started", "task-3")
    changed = shop.read()
    assert not changed.whole
    assert 0 < changed.tasks_read < TASKS
    assert shop.read().tasks_read == 0


def test_a_list_that_loses_tasks_without_an_event_is_looked_at_all_the_same() -> None:
    shop = Shop(BY_CLOCK)
    assert not shop.read().whole
    assert "/api/tasks" in shop.paths_asked


def test_a_counter_that_was_begun_again_and_came_to_the_same_number_is_no_quiet() -> None:
    shop = Shop(BY_STAMP)
    shop.celery.counters.clear()
    shop.celery.begun = shop.celery.now  # a worker was purged, and came back
    for number in range(TASKS):
        shop.send("task-started", f"task-{number}")
    of_starts = shop.celery.counters.copy()
    shop.celery.counters.clear()
    for (worker, _, name), number in of_starts.items():
        shop.celery.counters[worker, "task-received", name] = number
    assert shop.read().tasks_read > 0


@pytest.mark.parametrize("is_old", [True, False])
def test_an_answer_that_a_proxy_has_kept_is_no_quiet(is_old: bool) -> None:
    shop = Shop(BY_STAMP)
    assert shop.read().tasks_read == 0
    if is_old:
        shop.celery.kept_metrics = shop.celery.metrics()
    shop.send("task-started", "task-3")
    assert shop.read().tasks_read > 0


def test_a_flower_that_does_not_tell_when_its_counters_were_begun_is_never_quiet() -> None:
    shop = Shop(BY_STAMP)
    assert shop.read().tasks_read == 0
    shop.celery.begun = None
    shop.read()
    assert shop.read().tasks_read > 0
