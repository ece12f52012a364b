"""Step 7 of the proof: events that tasks show against events that Flower counted."""

from collections import Counter

import pytest

from push_job.flower.incremental.event_balance import (
    check_balance,
    events_of,
    hidden_renamings,
    shown_events,
    surplus_events,
    surplus_of_full_scrape,
)
from push_job.flower.incremental.event_counts import EventKind
from push_job.flower.incremental.state import NotProvenError
from push_job.flower.task import EventFields
from tests.flower.tasks import event
from tests.incremental.units.states import read, state_of

KNOWN = {"a": event(state="RECEIVED", received=1.0, timestamp=1.0), "b": event(succeeded=2.0, timestamp=2.0)}
KNOWN["c"] = event(state="RECEIVED", received=1.5, retries=2, timestamp=1.5)


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
        ("c", event(received=5.0, retries=3, timestamp=5.0), {"received": 1}),
        ("c", event(received=5.0, retries=2, timestamp=5.0), {"received": 1}),  # delivered again
        ("c", event(received=5.0, retries=5, timestamp=5.0), {"received": 3}),
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
    assert {kind.task_type for kind in found} <= {"t"}


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


def events(**by_type: int) -> Counter[EventKind]:
    """Return numbers of events of the task type ``t``.

    A trailing underscore means a task without a name.
    """
    kinds = {EventKind(name.rstrip("_"), "" if name.endswith("_") else "t"): count for name, count in by_type.items()}
    return Counter(kinds)


@pytest.mark.parametrize(
    ("counted", "shown", "balanced"),
    [
        (events(), events(), True),
        (events(succeeded=2), events(succeeded=2), True),
        (events(succeeded=2), events(succeeded=3), True),
        (events(succeeded=2), events(succeeded=1), False),
        (events(succeeded=1), events(failed=1), False),
        (events(received=1), events(), False),
        (events(sent=1), events(), False),
        (events(started=9, retried=9), events(), True),  # not one of the events that are counted on
        (events(succeeded_=1), events(succeeded=1), True),  # the task may have learnt its name since
        (events(succeeded_=1, succeeded=1), events(succeeded=1), False),
    ],
)
def test_every_counted_event_must_be_shown(
    counted: Counter[EventKind], shown: Counter[EventKind], balanced: bool
) -> None:
    if balanced:
        check_balance(counted, shown)
    else:
        with pytest.raises(NotProvenError):
            check_balance(counted, shown)


@pytest.mark.parametrize(
    ("since", "shown", "surplus"),
    [
        (events(), events(succeeded=5), events()),
        (events(succeeded=1), events(succeeded=5), events(succeeded=1)),
        (events(succeeded=7), events(succeeded=5), events(succeeded=3)),
        (events(succeeded=7), events(succeeded=2), events()),
    ],
)
def test_the_new_surplus_is_what_was_counted_after_the_pages(
    since: Counter[EventKind], shown: Counter[EventKind], surplus: Counter[EventKind]
) -> None:
    assert surplus_events(events(succeeded=2), shown, since) == surplus


@pytest.mark.parametrize(
    ("task", "counted", "since", "surplus"),
    [
        (event(received=5.0), events(), events(received=1), events(received=1)),
        (event(received=5.0), events(received=1), events(received=1), events()),  # that one is not shown
        (event(received=5.0, retries=1), events(received=1), events(received=1), events(received=1)),
        (event(received=5.0, retries=4), events(received=1), events(received=2), events(received=2)),
        (event(received=5.0), events(received=3), events(received=1), events()),  # Flower has forgotten some
        (event(sent=5.0), events(sent=1), events(sent=1, received=1), events()),
        (event(received=5.0), events(received=1), events(received=1, failed=2), events(failed=2)),  # not known: at most
        (event(received=5.0), events(received=1), events(received_=1), events(received_=1)),  # the same
        (event(received=5.0), events(received=1), events(failed=1), events(failed=1)),
    ],
)
def test_the_surplus_of_a_full_scrape_is_what_its_tasks_show_beyond_the_counters_before(
    task: EventFields, counted: Counter[EventKind], since: Counter[EventKind], surplus: Counter[EventKind]
) -> None:
    former, now = state_of("stamp", KNOWN), state_of("stamp", {**KNOWN, "new": task})
    found = surplus_of_full_scrape(former, now.tasks, counted, since)
    assert +found == surplus


def test_a_known_task_shows_in_a_full_scrape_how_often_it_was_received_since() -> None:
    former = state_of("stamp", KNOWN)
    again = {"a": event(received=4.0, retries=2), "c": event(received=1.5, retries=2)}
    now = state_of("stamp", {**KNOWN, **again})
    assert (
        surplus_of_full_scrape(former, now.tasks, events(received=1), events(received=5))[EventKind("received", "t")]
        == 1
    )


@pytest.mark.parametrize(
    ("counted", "shown", "hidden"),
    [
        (events(received=2), events(received=1), {"received"}),
        (events(sent=1), events(), {"sent"}),
        (events(received=2, sent=1), events(received=2, sent=1), set()),
        (events(succeeded=1), events(), set()),  # it moves its task
    ],
)
def test_only_events_that_do_not_move_their_task_need_a_later_page(
    counted: Counter[EventKind], shown: Counter[EventKind], hidden: set[str]
) -> None:
    assert {kind.type for kind in hidden_renamings(counted, shown)} == hidden
