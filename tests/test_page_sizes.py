"""Pages are larger by default where Flower sorts all its tasks for every page."""

import random
import time

import pytest

from push_job.flower.api import Flower
from push_job.flower.full_scrape import scrape_all_tasks
from push_job.http.client import Client
from push_job.settings import PAGE_SIZE, SORTED_PAGE_SIZE, Endpoint
from tests.fakes.moving_flower import Move, MovingFlower

FULL = 100_000
BY_STAMP = [(PAGE_SIZE, 0), (SORTED_PAGE_SIZE, 12_500), (SORTED_PAGE_SIZE, 41_700), (SORTED_PAGE_SIZE, 70_900)]
BY_CLOCK = [(PAGE_SIZE, 12_500 * number) for number in range(8)]


def pages_asked(flower: MovingFlower, page_size: int | None = None, timeout: float = 300.0) -> list[tuple[int, int]]:
    """Return limit and offset of each page of step 1."""
    client = Client(Endpoint.parse(flower.url, "--flower"), timeout)
    try:
        tasks = scrape_all_tasks(Flower(client), page_size, time.monotonic() + 600)
    finally:
        client.close()
    assert len(tasks) == len(flower.tasks)
    front_again = flower.asked[-1]
    assert front_again == (500, 0)
    return [(limit, offset) for limit, offset in flower.asked[:-1] if limit is not None and offset is not None]


def new_flower(count: int, move: Move = lambda _: None) -> MovingFlower:
    flower = MovingFlower(count, move)
    flower.is_new = True
    return flower


@pytest.mark.slow
def test_a_full_new_flower_is_four_pages() -> None:
    with new_flower(FULL) as flower:
        assert pages_asked(flower) == BY_STAMP


@pytest.mark.slow
def test_a_full_older_flower_is_eight_pages() -> None:
    with MovingFlower(FULL) as flower:
        assert pages_asked(flower) == BY_CLOCK


@pytest.mark.slow
def test_an_older_flower_with_the_header_of_2_2_is_known_by_its_order() -> None:
    with new_flower(FULL) as flower:
        random.Random(5).shuffle(flower.tasks)
        assert pages_asked(flower) == BY_CLOCK


def test_pages_have_the_size_that_was_asked_for() -> None:
    with new_flower(3000) as flower:
        assert {limit for limit, _ in pages_asked(flower, 1000)} == {1000}


@pytest.mark.slow
def test_a_slow_flower_is_not_asked_for_larger_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    # A page takes at least 0.5 s, so a larger one would take more than a hundredth of the timeout.
    monkeypatch.setattr("push_job.flower.page_reader._LARGEST_FRACTION", 0.01)
    with new_flower(2 * PAGE_SIZE, lambda _: time.sleep(0.5)) as flower:
        flower.answer("/api/tasks?limit=1")  # the first answer is fast, all others are slow
        flower.asked.clear()
        assert {limit for limit, _ in pages_asked(flower, timeout=100.0)} == {PAGE_SIZE}


@pytest.mark.slow
def test_a_larger_page_that_fails_is_requested_in_halves() -> None:
    with new_flower(FULL) as flower:
        flower.problem = lambda limit, _offset: 504 if limit > 20_000 else None
        limits = [limit for limit, _ in pages_asked(flower)]
        assert limits == [PAGE_SIZE, *[SORTED_PAGE_SIZE // 2] * 7]
        assert flower.requests_for_all == 0
