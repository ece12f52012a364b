"""Copies of tasks in the replies of workers."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest

from push_job.explain.facts import Facts
from push_job.explain.gather.copies import with_copies
from push_job.explain.gather.requests import OptionalRequests
from push_job.explain.model import HeldTwice
from push_job.flower.api import Flower
from push_job.http.client import Client
from tests.explain.made_up import a_type, facts, worker
from tests.fakes.celery_flower import never
from tests.metrics.extras.contexts import Answers

Reply = dict[str, list[dict[str, Any]]]

A, B = "celery@a", "celery@b"


def request(task_id: str = "id", *, redelivered: bool = False) -> dict[str, Any]:
    """Return a request of a worker's reply."""
    return {"id": task_id, "name": "shop.a", "delivery_info": {"redelivered": redelivered}}


def due(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the list `scheduled` of a reply."""
    return [{"eta": "2026-11-30T12:00:00", "request": one} for one in requests]


FIRST, AGAIN = request(), request(redelivered=True)


def received(count: int, state: str = "RECEIVED", **more: int) -> Facts:
    """Return facts about one task that each of two workers received `count` times."""
    events = {("shop.a", "task-received"): 2 * count, **{("shop.a", f"task-{event}"): n for event, n in more.items()}}
    return facts(
        types=a_type(counts={state: 1}),
        workers={A: worker(A), B: worker(B)},
        events=events,
        received={(A, "shop.a"): count, (B, "shop.a"): count},
    )


def held_twice(known: Facts, *rounds: dict[str, Reply]) -> tuple[HeldTwice, ...]:
    """Return the tasks that are held twice.

    Each item of `rounds` has the replies in one round of questions.
    """
    asked = Counter[str]()

    def reply(params: dict[str, Any]) -> dict[str, Any]:
        name = params["workername"]
        replies = rounds[min(asked[name], len(rounds) - 1)]
        asked[name] += 1
        return {name: replies.get(name, {})}

    flower = Flower(cast(Client, Answers({"/api/workers": reply} if rounds else {})))
    found = with_copies(OptionalRequests(flower, never()), known).held_twice
    assert bool(asked) == bool(rounds)
    return found


@pytest.mark.parametrize(
    ("a", "b", "copies"),
    [
        ({"scheduled": due(FIRST, AGAIN, AGAIN)}, {}, 3),
        ({"scheduled": due(FIRST)}, {"scheduled": due(AGAIN)}, 2),
        ({"active": [FIRST]}, {"reserved": [AGAIN]}, 2),
        ({"active": [FIRST], "reserved": [AGAIN]}, {}, 2),
        # It may have moved from one list to the other in the meantime.
        ({"active": [AGAIN], "reserved": [AGAIN]}, {}, 0),
        # It was sent twice with the same id.
        ({"scheduled": due(FIRST, FIRST)}, {}, 0),
        ({"scheduled": due(AGAIN)}, {}, 0),
        ({"scheduled": due(FIRST, request("other", redelivered=True))}, {}, 0),
        (cast(Reply, {"active": "many", "scheduled": [7, {"request": None}], "reserved": [{"id": 7}]}), {}, 0),
    ],
)
def test_copies_are_counted_in_the_lists_of_the_workers(a: Reply, b: Reply, copies: int) -> None:
    found = held_twice(received(2), {A: a, B: b})
    assert [task.copies for task in found] == [copies] * bool(copies)


def test_a_task_that_moves_to_another_worker_is_held_once() -> None:
    before: dict[str, Reply] = {A: {"reserved": [FIRST]}, B: {"reserved": [AGAIN]}}
    assert held_twice(received(2), before, {B: {"reserved": [AGAIN]}}) == ()


@pytest.mark.parametrize(
    "known",
    [
        received(1, retried=1),
        received(1, rejected=1),
        received(9, state="SUCCESS"),
        received(9, state="PENDING"),
    ],
)
def test_workers_are_not_asked_about_types_that_were_received_once_per_task(known: Facts) -> None:
    assert held_twice(known) == ()
