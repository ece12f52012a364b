"""Step 7 of the proof: events that tasks show against events that Flower counted."""

from collections import Counter

import pytest

from push_job.flower.incremental.event_balance import check_balance, events_of, shown_events
from push_job.flower.incremental.event_counts import EventCounts, EventKind
from push_job.flower.incremental.state import NotProvenError
from push_job.flower.task import EventFields
from tests.flower.tasks import event
from tests.incremental.units.states import read, state_of

KNOWN = {"a": event(state="RECEIVED", received=1.0, timestamp=1.0), "b": event(succeeded=2.0, timestamp=2.0)}


@pytest.mark.parametrize(
    ("task_id", "task", "shown"),
    [
        ("new", event(received=5.0, succeeded=6.0, timestamp=6.0), {"received": 1, "succeeded": 1}),
        ("new", event(received=5.0, retries=2, timestamp=5.0), {"received": 3}),
        ("new", event(received=5.0, retries=-1, timestamp=5.0), {"received": 1}),
        ("new", event(received=5.0, retries=True, timestamp=5.0), {"received": 1}),
        ("new", event(received=5.0, retries=1001, timestamp=5.0), {"received": 1}),
        ("new", event(sent=5.0, started=6.0, timestamp=6.0), {"sent": 1}),
        ("new", event(sent=5.0, received=6.0, retries=2, timestamp=6.0), {"sent": 3, "received": 3}),
        ("a", event(received=1.0, succeeded=6.0, timestamp=6.0), {"succeeded": 1}),
        ("a", event(received=5.0, failed=6.0, timestamp=6.0), {"received": 1, "failed": 1}),
        ("a", event(received=5.0, retries=3, timestamp=5.0), {"received": 3}),
        ("b", event(succeeded=2.0, timestamp=2.0), {}),
        ("b", event(succeeded=2.0, revoked=3.0, timestamp=3.0), {"revoked": 1}),
        ("b", event(succeeded=4.0, rejected=5.0, timestamp=5.0), {"succeeded": 1, "rejected": 1}),
    ],
)
def test_a_changed_task_shows_its_events_since_the_last_scrape(
    task_id: str, task: EventFields, shown: dict[str, int]
) -> None:
    state = state_of("stamp", KNOWN)
    page = read(state, {task_id: task})
    found = shown_events(state, {task_id: page})
    assert {kind.type: count for kind, count in found.items() if count} == shown
    assert {kind.task_type for kind in found} == {"t"}


def test_a_task_without_a_name_shows_events_of_no_type() -> None:
    state = state_of("stamp", {})
    page = read(state, {"x": event(None, failed=5.0, timestamp=5.0)})  # type: ignore[arg-type]  # the missing name
    assert shown_events(state, {"x": page})[EventKind("failed", "")] == 1


def test_all_events_of_a_task_are_those_with_a_time() -> None:
    state = state_of("stamp", {})
    page = read(state, {"x": event(sent=1.0, received=2.0, started=3.0, retried=4.0, succeeded=5.0)})
    assert events_of({"x": page}) == {
        EventKind(name, "t"): 1 for name in ("sent", "received", "started", "retried", "succeeded")
    }


def counts(**by_type: int) -> EventCounts:
    """Return counters of events of the task type ``t``; a trailing underscore means a task without a name."""
    kinds = {EventKind(name.rstrip("_"), "" if name.endswith("_") else "t"): count for name, count in by_type.items()}
    return EventCounts(1.0, 1.0, Counter(), Counter(kinds))


def shown(**by_type: int) -> Counter[EventKind]:
    return Counter({EventKind(name, "t"): count for name, count in by_type.items()})


@pytest.mark.parametrize(
    ("before", "found", "balanced"),
    [
        (counts(), shown(), True),
        (counts(succeeded=2), shown(succeeded=2), True),
        (counts(succeeded=2), shown(succeeded=3), True),
        (counts(succeeded=2), shown(succeeded=1), False),
        (counts(succeeded=1), shown(failed=1), False),
        (counts(received=1), shown(), False),
        (counts(sent=1), shown(), False),
        (counts(started=9, retried=9), shown(), True),  # not one of the events that are counted on
        (counts(succeeded_=1), shown(succeeded=1), True),  # the task may have learnt its name since
        (counts(succeeded_=1, succeeded=1), shown(succeeded=1), False),
    ],
)
def test_every_counted_event_must_be_shown(before: EventCounts, found: Counter[EventKind], balanced: bool) -> None:
    state = state_of("stamp", {})
    if balanced:
        check_balance(state, counts(), before, before, found)
    else:
        with pytest.raises(NotProvenError):
            check_balance(state, counts(), before, before, found)


def test_a_surplus_of_the_last_scrape_counts_as_shown() -> None:
    state = state_of("stamp", {})
    state.surplus = shown(succeeded=1)
    check_balance(state, counts(succeeded=5), counts(succeeded=7), counts(succeeded=7), shown(succeeded=1))
    with pytest.raises(NotProvenError):
        check_balance(state, counts(succeeded=5), counts(succeeded=8), counts(succeeded=8), shown(succeeded=1))


@pytest.mark.parametrize(
    ("last", "found", "surplus"),
    [
        (counts(succeeded=2), shown(succeeded=5), {}),
        (counts(succeeded=3), shown(succeeded=5), {"succeeded": 1}),
        (counts(succeeded=9), shown(succeeded=5), {"succeeded": 3}),
        (counts(succeeded=9), shown(succeeded=2), {}),
    ],
)
def test_the_new_surplus_is_what_was_counted_after_the_pages(
    last: EventCounts, found: Counter[EventKind], surplus: dict[str, int]
) -> None:
    state = state_of("stamp", {})
    result = check_balance(state, counts(), counts(succeeded=2), last, found)
    assert {kind.type: count for kind, count in result.items()} == surplus
