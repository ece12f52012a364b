"""A Flower that was restarted, with or without what it knew, or replaced, is read right."""

import time
from pathlib import Path

import pytest

from push_job.flower.api import Flower as FlowerApi
from push_job.flower.incremental.scraper import TaskScraper
from testbed.services import Flower, Testbed
from tests.incremental.shop import (
    PAGE,
    TASKS,
    VERSIONS,
    Shop,
    asking,
    assert_counts_what_is_listed,
    whole_count,
)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_flower_that_begins_again_or_is_another_is_read_whole_and_then_what_changes(
    version: str | None, testbed: Testbed, tmp_path: Path
) -> None:
    redis = testbed.redis()
    kept = tmp_path / "flower"
    flower = testbed.flower(redis, version=version, options=["--persistent=True", f"--db={kept}"])
    reader = TaskScraper(full_every=3600)

    def whole_then_warm(read_flower: Flower) -> None:
        """All is read, as it is not the process that it was; then only what has changed."""
        with asking(read_flower) as client:
            for whole in (True, False):
                reading = assert_counts_what_is_listed(
                    read_flower, lambda: reader.scrape(FlowerApi(client), PAGE, time.monotonic() + 60)
                )
                assert reading.full is whole
                shop.burst()
                shop.settle(read_flower)

    with Shop(redis, seed=6) as shop:
        shop.arrive(TASKS)
        shop.settle(flower)
        whole_then_warm(flower)
        known = len(whole_count(flower)[0])
        flower.stop()
        flower.start()
        assert len(whole_count(flower)[0]) == known  # it has them from its file
        whole_then_warm(flower)
        flower.stop()
        for file in tmp_path.iterdir():
            file.unlink()
        flower.start()
        shop.arrive(TASKS)  # nothing of what it knew before
        shop.settle(flower)
        whole_then_warm(flower)
        other = testbed.flower(redis, version=version, options=[f"--max_tasks={3 * TASKS}"])
        shop.arrive(TASKS)
        shop.settle(other)
        whole_then_warm(other)
        other.stop()
    flower.stop()
    redis.stop()
