"""Steps 4 and 5 of the proof: whose events are all on the pages."""

from collections import Counter
from typing import Any

import pytest

from push_job.flower.incremental.event_counts import Sender
from push_job.flower.incremental.senders import (
    anchors_on,
    counted_senders,
    has_unnamed,
    note_clients,
    sender_of,
    unsettled_senders,
)
from push_job.flower.task import EventFields
from tests.flower.tasks import event
from tests.incremental.units.states import read, state_of

A, B, CLIENT = Sender("celery@a", False), Sender("celery@b", False), Sender("client", True)


@pytest.mark.parametrize(
    ("task", "sender"),
    [
        (event(worker="celery@a", timestamp=2.0, sent=1.0, client="client"), A),
        (event(worker="celery@a", timestamp=1.0, sent=1.0, client="client"), CLIENT),
        (event(worker=None, timestamp=1.0, sent=1.0, client="client"), CLIENT),
        (event(worker=None, timestamp=None, sent=None), Sender("", False)),
        (event(worker=7, timestamp=2.0), Sender("", False)),
        (event(timestamp=1.0, sent=1.0, client=None), Sender("", True)),
    ],
)
def test_the_sender_is_that_of_the_newest_event(task: EventFields, sender: Sender) -> None:
    assert sender_of(task) == sender


def by(worker: str, stamp: float, **fields: Any) -> EventFields:
    return event(worker=worker, timestamp=stamp, clock=int(stamp), **fields)


#: The list before: three tasks of worker a and one of worker b.
KNOWN = {
    "a1": by("celery@a", 9.0),
    "a2": by("celery@a", 8.0),
    "b1": by("celery@b", 7.0),
    "a3": by("celery@a", 6.0),
}


@pytest.mark.parametrize(
    ("front", "anchors"),
    [
        (["a1", "a2", "b1", "a3"], {A: 2, B: 1}),  # a3 is the bottom, which is no anchor
        (["a1", "a2"], {A: 1}),
        (["a1"], {}),
    ],
)
def test_anchors_are_unchanged_tasks_above_the_bottom(front: list[str], anchors: dict[Sender, int]) -> None:
    state = state_of("stamp", KNOWN)
    assert anchors_on(state, read(state, {task_id: KNOWN[task_id] for task_id in front})) == anchors


def test_a_changed_task_is_no_anchor() -> None:
    state = state_of("stamp", KNOWN)
    page = read(state, {"a1": by("celery@a", 9.5), "a2": KNOWN["a2"], "b1": KNOWN["b1"]})
    assert anchors_on(state, page) == {A: 1}


@pytest.mark.parametrize(
    ("order", "front", "before", "unsettled"),
    [
        # Two anchors and a new event.
        ("stamp", {"x": by("celery@a", 10.0), **KNOWN}, {A: 1}, set()),
        # Two anchors, but an event that was counted before the page is not on it.
        ("stamp", KNOWN, {A: 1}, {A}),
        # Two anchors and no event before the page: later ones are left to the next scrape.
        ("stamp", KNOWN, {}, set()),
        ("clock", KNOWN, {}, {A}),
        # One anchor is not enough.
        ("stamp", {"x": by("celery@a", 10.0), "a1": KNOWN["a1"], "b1": KNOWN["b1"]}, {A: 1}, {A}),
    ],
)
def test_a_sender_needs_two_anchors_and_its_news(
    order: str, front: dict[str, EventFields], before: dict[Sender, int], unsettled: set[Sender]
) -> None:
    state = state_of(order, KNOWN)
    if order == "clock":  # the bottom is the highest clock of the last thirty tasks
        many = {str(n): by("celery@b", 1.0) for n in range(30)}
        state = state_of(order, {**KNOWN, **many})
        front = {**front, **many}
    assert unsettled_senders(state, read(state, front), [A], Counter(before)) == unsettled


def test_a_client_that_sent_below_the_bottom_is_settled() -> None:
    state = state_of("stamp", KNOWN)
    page = read(state, {"a1": KNOWN["a1"], "a2": KNOWN["a2"]})
    for sent, unsettled in ((8.5, set()), (8.0, {CLIENT}), (5.0, {CLIENT})):
        state.sent_at = {"client": sent}
        assert unsettled_senders(state, page, [CLIENT], Counter({CLIENT: 1})) == unsettled


@pytest.mark.parametrize(("active", "counted"), [(1, True), (2, True), (3, False), (0, True)])
def test_a_sender_is_counted_if_the_pages_show_as_many_events(active: int, counted: bool) -> None:
    state = state_of("stamp", KNOWN)
    front = read(state, {"x": by("celery@a", 11.0), "a1": by("celery@a", 10.0), "a2": KNOWN["a2"]})
    found = counted_senders(state, [front], read(state, {}), [A], Counter({A: active}))
    assert (A in found) is counted


def test_a_sender_without_any_event_on_the_pages_is_not_counted() -> None:
    state = state_of("stamp", KNOWN)
    assert counted_senders(state, [read(state, KNOWN)], read(state, {}), [B], Counter()) == set()


def test_a_new_task_that_was_received_shows_its_sending_too() -> None:
    state = state_of("stamp", KNOWN)
    task = event(state="RECEIVED", worker="celery@a", timestamp=11.0, sent=10.5, client="client")
    front = read(state, {"x": task})
    active = Counter({A: 1, CLIENT: 1})
    assert counted_senders(state, [front], read(state, {}), [A, CLIENT], active) == {A, CLIENT}


def test_an_event_that_came_late_counts_for_nobody() -> None:
    state = state_of("stamp", KNOWN)
    renamed = event("other", worker="celery@a", timestamp=9.0)
    front = read(state, {"a1": renamed})
    assert counted_senders(state, [front], read(state, {}), [A], Counter({A: 1})) == set()


def test_clients_are_noted_only_by_stamp() -> None:
    task = event(worker="celery@a", timestamp=5.0, sent=4.0, client="client")
    for order, noted in (("stamp", {"client": 4.0}), ("clock", {})):
        state = state_of(order, {})
        note_clients(state, read(state, {"x": task}))
        note_clients(state, read(state, {"y": event(timestamp=3.0, sent=3.0, client="client")}))
        assert state.noted_sent_at == noted


@pytest.mark.parametrize(
    ("name", "state_name", "on_front", "unnamed"),
    [
        (None, "SUCCESS", False, True),
        (None, "SUCCESS", True, False),
        (None, "PENDING", False, False),
        (None, "RETRY", False, False),
        ("t", "SUCCESS", False, False),
    ],
)
def test_a_task_without_a_name_below_the_front_may_learn_it(
    name: str | None, state_name: str, on_front: bool, unnamed: bool
) -> None:
    task = event(name, state_name, timestamp=1.0)  # type: ignore[arg-type]  # the missing name
    state = state_of("stamp", {"x": task})
    assert has_unnamed(state.tasks, read(state, {"x": task} if on_front else {})) is unnamed
