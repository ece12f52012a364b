"""How many tasks a request asks for where nobody has said it: more where Flower sorts all its tasks for each page."""

import random
import time

from push_job.flower.api import Flower
from push_job.flower.full_scrape import scrape_all_tasks
from push_job.http.client import Client
from push_job.settings import PAGE_SIZE, SORTED_PAGE_SIZE, Endpoint
from tests.fakes.moving_flower import Move, MovingFlower

FULL = 100_000
BY_STAMP = [(PAGE_SIZE, 0), (SORTED_PAGE_SIZE, 12_500), (SORTED_PAGE_SIZE, 41_700), (SORTED_PAGE_SIZE, 70_900)]
BY_CLOCK = [(PAGE_SIZE, 12_500 * number) for number in range(8)]


def pages_asked(flower: MovingFlower, page_size: int | None = None, timeout: float = 15.0) -> list[tuple[int, int]]:
    """The limit and the offset of each page on the way down."""
    client = Client(Endpoint.parse(flower.url, "--flower"), timeout)
    try:
        tasks = scrape_all_tasks(Flower(client), page_size, time.monotonic() + 60)
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


def test_a_full_new_flower_is_four_pages() -> None:
    with new_flower(FULL) as flower:
        assert pages_asked(flower) == BY_STAMP


def test_a_full_older_flower_is_eight_pages() -> None:
    with MovingFlower(FULL) as flower:
        assert pages_asked(flower) == BY_CLOCK


def test_an_older_flower_whose_proxy_sends_a_new_ones_header_is_told_by_the_order_of_its_list() -> None:
    with new_flower(FULL) as flower:
        random.Random(5).shuffle(flower.tasks)
        assert pages_asked(flower) == BY_CLOCK


def test_pages_have_the_size_that_was_asked_for() -> None:
    with new_flower(3000) as flower:
        assert {limit for limit, _ in pages_asked(flower, 1000)} == {1000}


def test_a_flower_so_slow_that_a_larger_page_might_not_come_in_time_is_asked_for_no_more_at_once() -> None:
    with new_flower(2 * PAGE_SIZE, lambda _: time.sleep(0.6)) as flower:
        flower.answer("/api/tasks?limit=1")  # from the second answer on each is slow
        flower.asked.clear()
        assert {limit for limit, _ in pages_asked(flower, timeout=2.0)} == {PAGE_SIZE}


def test_a_larger_page_that_does_not_come_is_asked_for_in_halves() -> None:
    with new_flower(FULL) as flower:
        flower.trouble = lambda limit, _offset: 504 if limit > 20_000 else None
        limits = [limit for limit, _ in pages_asked(flower)]
        assert limits == [PAGE_SIZE, *[SORTED_PAGE_SIZE // 2] * 7]
        assert flower.whole_requests == 0
