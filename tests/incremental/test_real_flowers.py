"""On each Flower version, full or not, a turn that reads only what changed counts just what Flower lists."""

import time
from collections.abc import Iterator

import pytest

from push_job.flower.api import Flower as FlowerApi
from push_job.flower.incremental.scraper import ScrapedTasks, TaskScraper
from testbed.services import Flower, Testbed
from tests.incremental.shop import (
    PAGE,
    ROOM,
    TASKS,
    VERSIONS,
    Shop,
    asking,
    assert_counts_what_is_listed,
)

#: Of a Flower that is full, and of one with room for more.
TURNS, TURNS_WITH_ROOM = 24, 12


@pytest.fixture(params=[(version, room) for version in VERSIONS for room in (ROOM, 100_000)], ids=str)
def flower(request: pytest.FixtureRequest, testbed: Testbed) -> Iterator[Flower]:
    version, room = request.param
    redis = testbed.redis()
    started = testbed.flower(redis, version=version, options=[f"--max_tasks={room}"])
    yield started
    started.stop()
    redis.stop()


def test_dozens_of_turns_that_read_what_changed_count_what_is_listed(
    flower: Flower, request: pytest.FixtureRequest
) -> None:
    version, room = request.node.callspec.params["flower"]
    turns = TURNS if room == ROOM else TURNS_WITH_ROOM
    reader = TaskScraper(full_every=3600)
    with Shop(flower.broker, seed=5) as shop, asking(flower) as client:
        readings: list[ScrapedTasks] = []

        def read() -> ScrapedTasks:
            readings.append(reader.scrape(FlowerApi(client), PAGE, time.monotonic() + 60))
            return readings[-1]

        def turn() -> bool:
            """Whether nothing was read whole."""
            readings.clear()
            shop.settle(flower)
            assert_counts_what_is_listed(flower, read)
            return not any(reading.full for reading in readings)

        def is_warm_after_a_burst() -> bool:
            shop.burst()
            return turn()

        shop.arrive(TASKS)
        shop.settle(flower)
        warm = sum(is_warm_after_a_burst() for _ in range(turns))
        # Some bursts are not proven, by the one whose logical clock began again or by tasks without a name.
        assert warm >= turns * 0.7
        if room == ROOM:
            shop.arrive(PAGE * 3 // 2)
            turn()  # by chance the rest is found among each worker's own tasks, or all is read
            assert any(is_warm_after_a_burst() for _ in range(6))
            shop.arrive(ROOM * 3 // 2)
            turn()
            # What is new is all there is: it was transferred, by one way or other.
            assert sum(reading.tasks_read for reading in readings) >= ROOM
            assert any(is_warm_after_a_burst() for _ in range(6))
        quiet = assert_counts_what_is_listed(flower, read)
        assert (quiet.tasks_read == 0) == (version is None)
