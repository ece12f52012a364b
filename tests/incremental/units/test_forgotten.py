"""Step 8 of the proof: known, new and gone tasks add up."""

import pytest

from push_job.flower.incremental.forgotten import MoreIsGoneError, membership
from push_job.flower.incremental.state import NotProvenError
from push_job.flower.task import EventFields
from tests.flower.tasks import event
from tests.incremental.units.states import read, state_of


def tasks(**stamps: float) -> dict[str, EventFields]:
    return {task_id: event(timestamp=stamp) for task_id, stamp in stamps.items()}


KNOWN = tasks(a=9, b=8, c=7, d=6)


@pytest.mark.parametrize(
    ("front", "end", "listed", "gone", "late"),
    [
        (tasks(a=9), tasks(c=7, d=6), 4, [], []),
        (tasks(x=10, a=9), tasks(c=7, d=6), 5, [], []),
        (tasks(x=10, a=9), tasks(c=7, d=6), 4, [], ["x"]),
        (tasks(x=10, a=9), tasks(b=8, c=7), 4, ["d"], []),
        (tasks(y=11, x=10, a=9), tasks(b=8, c=7), 4, ["d"], ["y"]),
        (tasks(d=10, a=9), tasks(b=8, c=7), 4, [], []),  # d moved to the front
        (tasks(a=9), tasks(c=7, d=6, x=5), 5, [], []),  # a new task at the end
    ],
)
@pytest.mark.parametrize("order", ["stamp", "clock"])
def test_tasks_that_add_up_are_gone_or_late(
    order: str,
    front: dict[str, EventFields],
    end: dict[str, EventFields],
    listed: int,
    gone: list[str],
    late: list[str],
) -> None:
    state = state_of(order, KNOWN)
    found = membership(state, [read(state, front)], read(state, end), listed)
    assert found.gone == gone
    assert list(found.late) == late
    assert found.left_out == (set() if found.has_room else set(late))


@pytest.mark.parametrize(
    ("front", "end", "listed", "error"),
    [
        (tasks(a=9), tasks(c=7, d=6), 5, NotProvenError),  # one more than is known
        (tasks(a=9), tasks(c=7, d=6), 3, MoreIsGoneError),
        (tasks(a=9), tasks(x=1), 4, NotProvenError),  # no known task at the end
        (tasks(a=9), tasks(c=7, b=8), 3, NotProvenError),  # in another order
    ],
)
def test_tasks_that_do_not_add_up_prove_nothing(
    front: dict[str, EventFields], end: dict[str, EventFields], listed: int, error: type[Exception]
) -> None:
    state = state_of("stamp", KNOWN)
    with pytest.raises(error):
        membership(state, [read(state, front)], read(state, end), listed)


def test_a_gone_task_whose_place_is_unknown_proves_nothing() -> None:
    state = state_of("clock", KNOWN)
    state.unplaced = {"d"}
    with pytest.raises(NotProvenError):
        membership(state, [read(state, tasks(a=9))], read(state, tasks(b=8, c=7)), 3)


def test_a_list_of_2_2_that_grows_has_room_for_late_tasks() -> None:
    for order, has_room in (("stamp", True), ("clock", False)):
        state = state_of(order, KNOWN)
        front = read(state, tasks(y=11, x=10, a=9))
        found = membership(state, [front], read(state, tasks(c=7, d=6)), 5)
        assert found.has_room is has_room
        assert list(found.late) == ["y"]
        assert found.left_out == (set() if has_room else {"y"})


def test_a_list_that_has_forgotten_a_task_has_no_room() -> None:
    state = state_of("stamp", KNOWN)
    front = read(state, tasks(z=12, y=11, x=10, a=9))
    found = membership(state, [front], read(state, tasks(b=8, c=7)), 5)
    assert (found.gone, list(found.late), found.left_out) == (["d"], ["z"], {"z"})
    assert not found.has_room


def test_the_depth_is_that_of_the_first_gone_task() -> None:
    state = state_of("stamp", KNOWN)
    found = membership(state, [read(state, tasks(x=10))], read(state, tasks(a=9, b=8, d=6)), 4)
    assert (found.gone, found.end_depth) == (["c"], 1)
