"""Incremental scrapes count all tasks that Flower lists.

The tests use each Flower version, full or not.
"""

import time
from collections.abc import Iterator

import pytest

from push_job.flower.api import Flower as FlowerApi
from push_job.flower.incremental.scraper import ScrapedTasks, TaskScraper
from testbed.services import Flower, Testbed
from tests.incremental.real_shop import (
    PAGE,
    ROOM,
    TASKS,
    VERSIONS,
    Shop,
    assert_equals_list,
    client_of,
)

#: Cycles on a full Flower, and on one with room for more tasks.
CYCLES, CYCLES_WITH_ROOM = 24, 12


@pytest.fixture(params=[(version, room) for version in VERSIONS for room in (ROOM, 100_000)], ids=str)
def flower(request: pytest.FixtureRequest, testbed: Testbed) -> Iterator[Flower]:
    version, room = request.param
    redis = testbed.redis()
    started = testbed.flower(redis, version=version, options=[f"--max_tasks={room}"])
    yield started
    started.stop()
    redis.stop()


def test_dozens_of_incremental_scrapes_equal_flowers_list(flower: Flower, request: pytest.FixtureRequest) -> None:
    version, room = request.node.callspec.params["flower"]
    cycles = CYCLES if room == ROOM else CYCLES_WITH_ROOM
    scraper = TaskScraper(full_every=3600)
    with Shop(flower.broker, seed=5) as shop, client_of(flower) as client:
        results: list[ScrapedTasks] = []

        def scrape() -> ScrapedTasks:
            results.append(scraper.scrape(FlowerApi(client), PAGE, time.monotonic() + 60))
            return results[-1]

        def cycle() -> bool:
            """Return whether no scrape was full."""
            results.clear()
            shop.settle(flower)
            assert_equals_list(flower, scrape)
            return not any(scraped.full for scraped in results)

        def cycle_after_a_burst() -> bool:
            shop.burst()
            return cycle()

        shop.arrive(TASKS)
        shop.settle(flower)
        incremental = sum(cycle_after_a_burst() for _ in range(cycles))
        # Some bursts cannot be proven, because of the restarted logical clock or of tasks that end twice.
        assert incremental >= cycles * 0.7
        if room == ROOM:
            shop.arrive(PAGE * 3 // 2)
            cycle()  # the rest is found on the workers' own pages, or everything is read
            assert any(cycle_after_a_burst() for _ in range(6))
            shop.arrive(ROOM * 3 // 2)
            cycle()
            # Every task is new, so every task was transferred.
            assert sum(scraped.tasks_read for scraped in results) >= ROOM
            assert any(cycle_after_a_burst() for _ in range(6))
        quiet = assert_equals_list(flower, scrape)
        assert (quiet.tasks_read == 0) == (version is None)
