"""The two orders of Flower's list."""

import math

import pytest

from push_job.flower.incremental.list_order import ORDERS, ByClock, ByStamp, order_of, possibly_moved, tasks_at_front
from push_job.flower.task import EventFields
from tests.flower.tasks import event, successes, table_of
from tests.incremental.units.states import read, state_of


def by_clock(**clocks: int) -> dict[str, EventFields]:
    return {task_id: event(timestamp=1.0, clock=clock) for task_id, clock in clocks.items()}


def test_orders_are_found_by_their_names() -> None:
    assert {name: order.is_by_stamp for name, order in ORDERS.items()} == {"stamp": True, "clock": False}


@pytest.mark.parametrize(("stamps", "name"), [({"a": 2, "b": 1}, "stamp"), ({"a": 1, "b": 2}, "clock"), ({}, "stamp")])
def test_the_order_is_that_in_which_the_tasks_are_sorted(stamps: dict[str, float], name: str) -> None:
    state = state_of("stamp", {})
    assert order_of(table_of(state.tasks.shared, successes(**stamps))).name == name


def test_positions_are_stamps_or_clocks() -> None:
    task = event(timestamp=5.0, clock=7)
    assert (ByStamp().position(task), ByClock().position(task)) == (5.0, 7.0)
    for odd in (event(timestamp=None, clock=None), event(timestamp="x", clock=-1), event(timestamp=True, clock=2**53)):
        assert (ByStamp().position(odd), ByClock().position(odd)) == (0.0, 0.0)


def test_the_bottom_is_the_last_stamp_or_the_highest_of_the_last_clocks() -> None:
    state = state_of("stamp", {})
    page = read(state, {str(n): event(timestamp=100.0 - n, clock=n) for n in range(50)})
    assert ByStamp().bottom(page, state.tasks) == 51.0
    assert ByClock().bottom(page, state.tasks) == 49.0
    high = read(state, {str(n): event(timestamp=1.0, clock=1000 if n == 19 else n) for n in range(50)})
    assert ByClock().bottom(high, state.tasks) == 49.0  # the twentieth is not one of the last thirty
    high = read(state, {str(n): event(timestamp=1.0, clock=1000 if n == 20 else n) for n in range(50)})
    assert ByClock().bottom(high, state.tasks) == 1000.0
    nothing = read(state, {})
    assert (ByStamp().bottom(nothing, state.tasks), ByClock().bottom(nothing, state.tasks)) == (math.inf, 0.0)


def test_no_task_below_a_page_has_a_higher_clock_than_its_bottom() -> None:
    # The last tasks of the page stand there by an earlier event of another worker, and show a low clock.
    raised = {f"raised-{n}": event(timestamp=1.0, clock=n) for n in range(40)}
    state = state_of("clock", {**raised, "below": event(timestamp=1.0, clock=700)})
    assert ByClock().bottom(read(state, raised), state.tasks) == 700.0


@pytest.mark.parametrize(("name", "alone"), [("stamp", True), ("clock", False)])
def test_only_stamps_prove_something_without_news(name: str, alone: bool) -> None:
    assert ORDERS[name].settles_without_news() is alone


def test_pages_show_only_the_order_by_stamp() -> None:
    state = state_of("stamp", {})
    pages = [
        read(state, {"a": event(timestamp=2.0), "b": event(timestamp=1.0)}),
        read(state, {"c": event(timestamp=5.0)}),
    ]
    swapped = [read(state, {"b": event(timestamp=1.0), "a": event(timestamp=2.0)})]
    assert ByStamp().matches(pages)
    assert not ByStamp().matches(swapped)
    assert ByClock().matches(swapped)


def test_arranging_by_stamp_sorts() -> None:
    state = state_of("stamp", {"a": event(timestamp=1.0), "b": event(timestamp=2.0)})
    ByStamp().arrange(state.tasks, [], set(), [], [])
    assert list(state.tasks) == ["b", "a"]


@pytest.mark.parametrize(
    ("moved", "front", "end", "arranged"),
    [
        (set(), [], [], ["a", "b", "c", "d"]),
        ({"d"}, ["d"], [], ["d", "a", "b", "c"]),
        ({"a"}, [], ["a"], ["b", "c", "d", "a"]),
        ({"m"}, [], [], ["a", "b", "m", "c", "d"]),  # after the last task with a higher clock
        ({"b"}, [], [], ["a", "b", "c", "d"]),
    ],
)
def test_arranging_by_clock_keeps_the_former_order(
    moved: set[str], front: list[str], end: list[str], arranged: list[str]
) -> None:
    clocks = {"a": 40, "b": 30, "c": 20, "d": 10} | ({"m": 25} if "m" in moved else {})
    state = state_of("clock", by_clock(**clocks))
    ByClock().arrange(state.tasks, ["a", "b", "c", "d"], moved, front, end)
    assert list(state.tasks) == arranged


def test_a_moved_task_with_a_lower_clock_stays_as_high_as_it_stood() -> None:
    state = state_of("clock", by_clock(a=40, b=5, c=20, d=10))
    ByClock().arrange(state.tasks, ["a", "b", "c", "d"], {"b"}, [], [])
    assert list(state.tasks) == ["a", "b", "c", "d"]


def test_tasks_at_the_front_are_those_that_no_later_page_has_otherwise() -> None:
    state = state_of("stamp", {})
    front = read(state, successes_with_fields(a=3, b=2, c=1))
    later = read(state, successes_with_fields(b=9, c=1))
    assert tasks_at_front(front, [later], {"a"}) == ["c"]
    assert tasks_at_front(front, [], set()) == ["a", "b", "c"]


def successes_with_fields(**stamps: float) -> dict[str, EventFields]:
    return {task_id: event(timestamp=stamp) for task_id, stamp in stamps.items()}


def test_a_task_that_was_received_again_may_have_moved() -> None:
    state = state_of("clock", {"a": event(timestamp=1.0, received=1.0), "b": event(timestamp=2.0, received=2.0)})
    page = read(
        state,
        {
            "a": event(timestamp=1.0, received=5.0),
            "b": event(timestamp=2.0, received=2.0),
            "new": event(timestamp=3.0, received=3.0),
        },
    )
    assert possibly_moved(state.tasks, page) == {"a", "new"}
