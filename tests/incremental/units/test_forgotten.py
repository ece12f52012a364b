"""Step 8 of the proof: known, new and gone tasks add up."""

from collections import Counter

import pytest

from push_job.flower.incremental.event_counts import EventKind, Sender
from push_job.flower.incremental.forgotten import EndPageTooShortError, membership
from push_job.flower.incremental.state import NotProvenError
from push_job.flower.task import EventFields
from tests.flower.tasks import event
from tests.incremental.units.states import read, state_of


def tasks(**stamps: float) -> dict[str, EventFields]:
    return {task_id: event(timestamp=stamp) for task_id, stamp in stamps.items()}


KNOWN = tasks(a=9, b=8, c=7, d=6)

#: Events that came after the counters before the end page.
EVENTS = Counter({EventKind("received", "t"): 2, EventKind("succeeded", "t"): 9})
SENDERS = Counter({Sender("", False): 9})


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
    found = membership(state, [read(state, front)], read(state, end), listed, EVENTS, SENDERS)
    assert found.gone == gone
    assert list(found.late) == late
    assert found.left_out == (set() if found.has_room else set(late))


@pytest.mark.parametrize(
    ("front", "end", "listed", "error"),
    [
        (tasks(a=9), tasks(c=7, d=6), 5, NotProvenError),  # one more than is known
        (tasks(a=9), tasks(c=7, d=6), 3, EndPageTooShortError),
        (tasks(a=9), tasks(x=1), 4, NotProvenError),  # no known task at the end
        (tasks(a=9), tasks(c=7, b=8), 3, NotProvenError),  # in another order
    ],
)
def test_tasks_that_do_not_add_up_prove_nothing(
    front: dict[str, EventFields], end: dict[str, EventFields], listed: int, error: type[Exception]
) -> None:
    state = state_of("stamp", KNOWN)
    with pytest.raises(error):
        membership(state, [read(state, front)], read(state, end), listed, EVENTS, SENDERS)


def test_a_gone_task_whose_place_is_unknown_proves_nothing() -> None:
    state = state_of("clock", KNOWN)
    state.unplaced = {"d"}
    with pytest.raises(NotProvenError):
        membership(state, [read(state, tasks(a=9))], read(state, tasks(b=8, c=7)), 3, EVENTS, SENDERS)


def test_a_list_of_2_2_that_grows_has_room_for_late_tasks() -> None:
    for order, has_room in (("stamp", True), ("clock", False)):
        state = state_of(order, KNOWN)
        front = read(state, tasks(y=11, x=10, a=9))
        found = membership(state, [front], read(state, tasks(c=7, d=6)), 5, EVENTS, SENDERS)
        assert found.has_room is has_room
        assert list(found.late) == ["y"]
        assert found.left_out == (set() if has_room else {"y"})


def test_a_list_that_has_forgotten_a_task_has_no_room() -> None:
    state = state_of("stamp", KNOWN)
    front = read(state, tasks(z=12, y=11, x=10, a=9))
    found = membership(state, [front], read(state, tasks(b=8, c=7)), 5, EVENTS, SENDERS)
    assert (found.gone, list(found.late), found.left_out) == (["d"], ["z"], {"z"})
    assert not found.has_room


def test_the_depth_is_that_of_the_first_gone_task() -> None:
    state = state_of("stamp", KNOWN)
    found = membership(state, [read(state, tasks(x=10))], read(state, tasks(a=9, b=8, d=6)), 4, EVENTS, SENDERS)
    assert (found.gone, found.end_depth) == (["c"], 1)


def test_late_tasks_are_those_that_came_last_and_not_those_that_ended_last() -> None:
    state = state_of("stamp", KNOWN)
    front = {
        "ended": event(received=3.0, succeeded=12.0, timestamp=12.0),
        "second": event(received=11.0, timestamp=11.0),
        "first": event(received=10.0, timestamp=10.0),
    }
    found = membership(state, [read(state, front | tasks(a=9))], read(state, tasks(c=7, d=6)), 5, EVENTS, SENDERS)
    assert sorted(found.late) == ["first", "second"]


@pytest.mark.parametrize(
    ("events", "senders"),
    [
        (Counter({EventKind("received", "t"): 1}), SENDERS),
        (Counter({EventKind("received", "other"): 2}), SENDERS),
        (EVENTS, Counter({Sender("", False): 1})),
        (EVENTS, Counter({Sender("other", False): 2})),
    ],
)
def test_late_tasks_must_be_explained_by_events_that_came(events: Counter[EventKind], senders: Counter[Sender]) -> None:
    state = state_of("stamp", KNOWN)
    front = {"y": event(received=11.0, timestamp=11.0), "x": event(received=10.0, timestamp=10.0)}
    with pytest.raises(EndPageTooShortError):
        membership(state, [read(state, front | tasks(a=9))], read(state, tasks(c=7, d=6)), 4, events, senders)


def test_a_task_before_one_that_came_earlier_did_not_come_late() -> None:
    state = state_of("stamp", KNOWN)
    front = {
        "y": event("other", received=11.0, timestamp=11.0),  # no event of this task type came
        "x": event(received=10.0, timestamp=10.0),
    }
    with pytest.raises(EndPageTooShortError):
        membership(state, [read(state, front | tasks(a=9))], read(state, tasks(c=7, d=6)), 5, EVENTS, SENDERS)
