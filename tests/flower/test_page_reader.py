"""Reading of pages: sizes, halving and offsets."""

import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from push_job.flower.api import Flower, FlowerError
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.page_reader import SMALLEST_PAGE, PageReader
from push_job.flower.table import TaskTable
from push_job.http.errors import TransportError
from push_job.settings import PAGE_SIZE, SORTED_PAGE_SIZE
from tests.flower.tasks import page_of, successes


class FakeFlower:
    """Stand-in for a Flower that answers with `tasks`.

    For limits above `largest`, it answers with `error`.
    """

    def __init__(self, error: TransportError | None = None, largest: int = 10**9) -> None:
        self.client = self
        self.timeout = 10.0
        self.asked: list[tuple[int, int]] = []
        self.tasks = successes(a=2, b=1)
        self._error = error
        self._largest = largest

    def page(self, shared: SharedIndex, offset: int, limit: int, _until: float) -> TaskPage:
        """See Flower."""
        self.asked.append((offset, limit))
        if self._error and limit > self._largest:
            raise self._error
        return page_of(shared, self.tasks)

    def retrying(self, attempt: Callable[[], Any], _until: float) -> Any:
        """See Client; this one tries ten times."""
        for _ in range(10):
            try:
                return attempt()
            except TransportError as error:
                last = error
        raise last


def reader_of(flower: FakeFlower, size: int | None = None, until: float | None = None) -> PageReader:
    return PageReader(cast("Flower", flower), size, time.monotonic() + 300 if until is None else until, lambda _: None)


def table() -> TaskTable:
    return TaskTable(SharedIndex())


OVERLOADED = TransportError("it sent nothing", transient=True, overloaded=True)


@pytest.mark.parametrize("error", [OVERLOADED, FlowerError("it answered 504", transient=True, status=504)])
def test_a_page_of_an_overloaded_flower_is_halved_until_it_arrives(error: TransportError) -> None:
    flower = FakeFlower(error, largest=300)
    reader = reader_of(flower, 1000)
    page, limit = reader.read(table(), 5, 10**9)
    assert [asked for _, asked in flower.asked] == [1000, 500, 250]
    assert (len(page), limit, reader.size) == (2, 250, 250)


def test_a_page_of_another_failure_is_not_halved() -> None:
    flower = FakeFlower(FlowerError("it answered 503", transient=True, status=503), largest=300)
    with pytest.raises(FlowerError):
        reader_of(flower, 1000).read(table(), 0, 10**9)
    assert {asked for _, asked in flower.asked} == {1000}


def test_no_page_is_smaller_than_the_smallest_one() -> None:
    flower = FakeFlower(OVERLOADED, largest=0)
    with pytest.raises(TransportError):
        reader_of(flower, 1000).read(table(), 0, 10**9)
    assert min(asked for _, asked in flower.asked) == SMALLEST_PAGE == 100
    flower = FakeFlower(OVERLOADED, largest=0)
    with pytest.raises(TransportError):
        reader_of(flower, 40).read(table(), 0, 10**9)
    assert {asked for _, asked in flower.asked} == {40}


def test_a_page_that_was_small_already_leaves_the_size_of_others() -> None:
    reader = reader_of(FakeFlower(OVERLOADED, largest=150), 1000)
    reader.read(table(), 0, 200)
    assert reader.size == 1000


def test_the_limit_of_one_page_may_be_smaller_than_the_size() -> None:
    flower = FakeFlower()
    assert reader_of(flower, 1000).read(table(), 7, 20)[1] == 20
    assert flower.asked == [(7, 20)]


def test_a_larger_size_is_chosen_only_without_a_given_one() -> None:
    free, given = reader_of(FakeFlower()), reader_of(FakeFlower(), 500)
    for reader in (free, given):
        reader.enlarge()
    assert (free.size, given.size) == (SORTED_PAGE_SIZE, 500)
    for reader in (free, given):
        reader.restore()
    assert (free.size, given.size) == (PAGE_SIZE, 500)


@pytest.mark.parametrize(("seconds", "size"), [(2.0, SORTED_PAGE_SIZE), (2.2, PAGE_SIZE), (9.0, PAGE_SIZE)])
def test_pages_are_enlarged_only_if_they_arrive_in_half_the_timeout(
    seconds: float, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 2.15 s for 12,600 tasks would be 5 s for 29,300.
    now = 0.0
    monkeypatch.setattr("push_job.flower.page_reader.time.monotonic", lambda: now)

    class SlowFlower(FakeFlower):
        def page(self, *args: Any) -> TaskPage:
            nonlocal now
            now += seconds
            return super().page(*args)

    reader = reader_of(SlowFlower(), until=1000.0)
    reader.read(table(), 0, 10**9)
    reader.enlarge()
    assert reader.size == size


def test_no_page_is_requested_after_the_deadline() -> None:
    flower = FakeFlower()
    with pytest.raises(FlowerError):
        reader_of(flower, until=time.monotonic()).read(table(), 0, 10)
    assert flower.asked == []


def test_a_server_that_answers_an_offset_beyond_its_list_ignores_offsets() -> None:
    flower = FakeFlower()
    assert reader_of(flower).ignores_offset(table())
    flower.tasks = {}
    assert not reader_of(flower).ignores_offset(table())
