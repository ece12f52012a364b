"""A Flower that was restarted or replaced is scraped correctly.

It may have restarted with or without its saved state.
"""

import time
from pathlib import Path

import pytest

from push_job.flower.api import Flower as FlowerApi
from push_job.flower.incremental.scraper import TaskScraper
from testbed.services import Flower, Testbed
from tests.incremental.real_shop import (
    PAGE,
    TASKS,
    VERSIONS,
    Shop,
    assert_equals_list,
    client_of,
    count_all,
)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_restarted_flower_is_scraped_fully_and_then_incrementally(
    version: str | None, testbed: Testbed, tmp_path: Path
) -> None:
    redis = testbed.redis()
    kept = tmp_path / "flower"
    flower = testbed.flower(redis, version=version, options=["--persistent=True", f"--db={kept}"])
    scraper = TaskScraper(full_every=3600)

    def full_then_incremental(read_flower: Flower) -> None:
        """Scrape twice: the first scrape is full, because it is another process."""
        with client_of(read_flower) as client:
            for full in (True, False):
                scraped = assert_equals_list(
                    read_flower, lambda: scraper.scrape(FlowerApi(client), PAGE, time.monotonic() + 60)
                )
                assert scraped.full is full
                shop.burst()
                shop.settle(read_flower)

    with Shop(redis, seed=6) as shop:
        shop.arrive(TASKS)
        shop.settle(flower)
        full_then_incremental(flower)
        known = len(count_all(flower)[0])
        flower.stop()
        flower.start()
        assert len(count_all(flower)[0]) == known  # it has loaded them from its file
        full_then_incremental(flower)
        flower.stop()
        for file in tmp_path.iterdir():
            file.unlink()
        flower.start()
        shop.arrive(TASKS)  # it has forgotten everything
        shop.settle(flower)
        full_then_incremental(flower)
        other = testbed.flower(redis, version=version, options=[f"--max_tasks={3 * TASKS}"])
        shop.arrive(TASKS)
        shop.settle(other)
        full_then_incremental(other)
        other.stop()
    flower.stop()
    redis.stop()
