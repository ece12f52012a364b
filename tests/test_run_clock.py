"""When `push-job run` begins its turns, on a clock that is ours: to the millisecond, and when it is turned."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
import schedule
from hypothesis import given, settings
from hypothesis import strategies as st

from push_job import scheduler as repeat_module
from push_job.scheduler import Stop, repeat

MIDNIGHT = datetime(2024, 10, 27)


class Clock(Stop):
    """Time passes only in turns and while the loop waits; the loop is told to stop after `end` seconds."""

    def __init__(self, end: float, turned: Iterable[tuple[float, float]]) -> None:
        """`turned` has when the wall clock is turned, and by how many seconds (negative: set back)."""
        self.true = 0.0
        self._end = end
        self._turned = sorted(turned)

    def now(self, _zone: None = None) -> datetime:
        """What the wall clock shows."""
        off = sum(by for at, by in self._turned if at <= self.true)
        return MIDNIGHT + timedelta(seconds=self.true + off)

    def is_set(self) -> bool:
        """See Stop."""
        return self.true >= self._end

    def wait(self, seconds: float) -> None:
        """See Stop; it takes a little longer than it was told, as all waiting does."""
        self.true += seconds + 0.001


def turns_of(
    every: float, lengths: Callable[[int], float], end: float = 600, turned: Iterable[tuple[float, float]] = ()
) -> list[tuple[float, float]]:
    """When each turn truly began and ended, where the turn with number n takes `lengths(n)` seconds."""
    clock = Clock(end, turned)
    turns: list[tuple[float, float]] = []

    def turn() -> None:
        began = clock.true
        clock.true += lengths(len(turns))
        turns.append((began, clock.true))
        assert len(turns) < 10_000, "the loop does not wait"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeat_module, "datetime", clock)
        patch.setattr(schedule, "datetime", SimpleNamespace(datetime=clock, timedelta=timedelta))
        repeat(turn, every, clock)
    return turns


@given(st.lists(st.floats(0, 35), min_size=1, max_size=20))
def test_a_turn_begins_at_the_first_time_of_the_grid_after_the_one_before(lengths: list[float]) -> None:
    turns = turns_of(10, lambda number: lengths[number % len(lengths)])
    assert turns[0][0] == 0
    for (_, end), (start, _) in pairwise(turns):
        grid = start - start % 10
        assert start - grid < 0.01  # what a wait takes longer than asked for does not add up
        assert end < grid + 0.01
        assert grid - end <= 10


@settings(max_examples=200)
@given(
    st.floats(0, 25),
    st.lists(st.tuples(st.floats(0, 300), st.floats(-7200, 7200)), min_size=1, max_size=5),
)
def test_a_clock_that_is_turned_neither_stalls_the_loop_nor_makes_it_race(
    length: float, turned: list[tuple[float, float]]
) -> None:
    turns = turns_of(10, lambda _: length, turned=turned)
    gaps = [start - end for (_, end), (start, _) in pairwise(turns)]
    assert max(gaps) < 10.01
    assert len(turns) <= 600 / 10 + 2 + len(turned)


def test_the_end_of_summer_time_during_a_wait_changes_nothing() -> None:
    usual = turns_of(60, lambda _: 1)
    turned = turns_of(60, lambda _: 1, turned=[(90, -3600)])
    assert [start for start, _ in turned] == pytest.approx([start for start, _ in usual], abs=0.01)
