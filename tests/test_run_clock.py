"""When `push-job run` begins its cycles, on a clock that is ours: to the millisecond, and when it is turned."""

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
    """Time passes only in cycles and while the loop waits; the loop is told to stop after `end` seconds."""

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


def cycles_of(
    every: float, lengths: Callable[[int], float], end: float = 600, turned: Iterable[tuple[float, float]] = ()
) -> list[tuple[float, float]]:
    """When each cycle truly began and ended, where the cycle with number n takes `lengths(n)` seconds."""
    clock = Clock(end, turned)
    cycles: list[tuple[float, float]] = []

    def cycle() -> None:
        began = clock.true
        clock.true += lengths(len(cycles))
        cycles.append((began, clock.true))
        assert len(cycles) < 10_000, "the loop does not wait"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeat_module, "datetime", clock)
        patch.setattr(schedule, "datetime", SimpleNamespace(datetime=clock, timedelta=timedelta))
        repeat(cycle, every, clock)
    return cycles


@given(st.lists(st.floats(0, 35), min_size=1, max_size=20))
def test_a_cycle_starts_at_the_next_time_of_the_grid(lengths: list[float]) -> None:
    cycles = cycles_of(10, lambda number: lengths[number % len(lengths)])
    assert cycles[0][0] == 0
    for (_, end), (start, _) in pairwise(cycles):
        grid = start - start % 10
        assert start - grid < 0.01  # what a wait takes longer than asked for does not add up
        assert end < grid + 0.01
        assert grid - end <= 10


@settings(max_examples=200)
@given(
    st.floats(0, 25),
    st.lists(st.tuples(st.floats(0, 300), st.floats(-7200, 7200)), min_size=1, max_size=5),
)
def test_a_clock_that_is_set_neither_stalls_the_loop_nor_makes_it_race(
    length: float, turned: list[tuple[float, float]]
) -> None:
    cycles = cycles_of(10, lambda _: length, turned=turned)
    gaps = [start - end for (_, end), (start, _) in pairwise(cycles)]
    assert max(gaps) < 10.01
    assert len(cycles) <= 600 / 10 + 2 + len(turned)


def test_the_end_of_summer_time_during_a_wait_changes_nothing() -> None:
    usual = cycles_of(60, lambda _: 1)
    turned = cycles_of(60, lambda _: 1, turned=[(90, -3600)])
    assert [start for start, _ in turned] == pytest.approx([start for start, _ in usual], abs=0.01)
