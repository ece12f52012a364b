"""The balance of events: what Flower counted, the tasks have to show."""

from collections import Counter

import pytest

from push_job.flower.incremental.event_balance import check_balance
from push_job.flower.incremental.event_counts import EventCounts, EventKind, Sender
from push_job.flower.incremental.state import NotProvenError, ScrapeState
from tests.fakes.celery_flower import BY_CLOCK
from tests.incremental.shared import PAGE, Scene

#: Event types that a changed task shows.
SHOWN = ("sent", "received", "succeeded", "failed", "revoked", "rejected")


def a_state() -> ScrapeState:
    scene = Scene(BY_CLOCK)
    scene.receive(2 * PAGE, "task")
    scene.scrape()
    return scene.state


def counts(event: EventKind, number: int) -> EventCounts:
    return EventCounts(1.0, 1.0, Counter({Sender("celery@one", False): number}), Counter({event: number}))


@pytest.mark.parametrize("event_type", SHOWN)
def test_an_event_that_no_task_shows_proves_nothing(event_type: str) -> None:
    event = EventKind(event_type, "shop.pay")
    base, before = counts(event, 7), counts(event, 9)
    with pytest.raises(NotProvenError, match="counted 2"):
        check_balance(a_state(), base, before, before, Counter({event: 1}))


@pytest.mark.parametrize("event_type", SHOWN)
def test_events_that_came_between_the_counters_are_the_surplus(event_type: str) -> None:
    event = EventKind(event_type, "shop.pay")
    base, before, last = counts(event, 7), counts(event, 9), counts(event, 10)
    assert check_balance(a_state(), base, before, last, Counter({event: 3})) == Counter({event: 1})
