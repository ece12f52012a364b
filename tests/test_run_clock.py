"""`push-job run` starts its cycles at the right times.

The clock is a fake that may be set forward and back.
"""

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
    """Time passes only in cycles and waits; the loop must stop after `end` seconds."""

    def __init__(self, end: float, set_by: Iterable[tuple[float, float]]) -> None:
        """`set_by` has the times at which the wall clock is set, and by how many seconds."""
        self.true = 0.0
        self._end = end
        self._set_by = sorted(set_by)

    def now(self, _zone: None = None) -> datetime:
        """Return the time of the wall clock."""
        off = sum(by for at, by in self._set_by if at <= self.true)
        return MIDNIGHT + timedelta(seconds=self.true + off)

    def is_set(self) -> bool:
        """See Stop."""
        return self.true >= self._end

    def wait(self, seconds: float) -> None:
        """See Stop; like every wait, it takes a little longer than it should."""
        self.true += seconds + 0.001


def cycles_of(
    every: float, lengths: Callable[[int], float], end: float = 600, set_by: Iterable[tuple[float, float]] = ()
) -> list[tuple[float, float]]:
    """Return the true start and end of each cycle; cycle n takes `lengths(n)` seconds."""
    clock = Clock(end, set_by)
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
        assert start - grid < 0.01  # delays of waits do not add up
        assert end < grid + 0.01
        assert grid - end <= 10


@settings(max_examples=200)
@given(
    st.floats(0, 25),
    st.lists(st.tuples(st.floats(0, 300), st.floats(-7200, 7200)), min_size=1, max_size=5),
)
def test_a_clock_that_is_set_neither_stalls_the_loop_nor_makes_it_race(
    length: float, set_by: list[tuple[float, float]]
) -> None:
    cycles = cycles_of(10, lambda _: length, set_by=set_by)
    gaps = [start - end for (_, end), (start, _) in pairwise(cycles)]
    assert max(gaps) < 10.01
    assert len(cycles) <= 600 / 10 + 2 + len(set_by)


def test_the_end_of_summer_time_during_a_wait_changes_nothing() -> None:
    usual = cycles_of(60, lambda _: 1)
    set_by = cycles_of(60, lambda _: 1, set_by=[(90, -3600)])
    assert [start for start, _ in set_by] == pytest.approx([start for start, _ in usual], abs=0.01)
