"""What is kept between scrapes."""

import pytest

from push_job.flower.incremental.state import merge_left_out
from tests.flower.tasks import event
from tests.incremental.units.states import read, state_of


@pytest.mark.parametrize(("order", "unplaced"), [("stamp", set()), ("clock", {"late"})])
def test_tasks_that_were_left_out_are_counted_but_have_no_known_place_by_logical_clock(
    order: str, unplaced: set[str]
) -> None:
    state = state_of(order, {"known": event(received=1.0, timestamp=1.0)})
    state.left_out = [read(state, {"late": event(received=2.0, timestamp=2.0)})]
    merge_left_out(state)
    assert set(state.tasks) == {"late", "known"}
    assert state.unplaced == unplaced
    assert state.left_out == []
