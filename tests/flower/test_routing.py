"""Routing of tasks to queues."""

from typing import Any

import pytest

from push_job.flower.routing import ROUTE, ConsumedQueue, Route, queues_in, route, route_in
from push_job.flower.task import TaskFields

CELERY = ConsumedQueue("celery", "celery", "celery", "direct")


@pytest.mark.parametrize(
    ("key", "exchange", "queue", "expected"),
    [
        ("celery", "", CELERY, True),
        ("clery", "", CELERY, False),
        ("shop.orders.new", "shop", ConsumedQueue("q", "shop.#", "shop", "topic"), True),
        ("shop", "shop", ConsumedQueue("q", "shop.#", "shop", "topic"), True),
        ("shpo.orders", "shop", ConsumedQueue("q", "shop.#", "shop", "topic"), False),
        ("shop.orders.new", "shop", ConsumedQueue("q", "shop.*", "shop", "topic"), False),
        ("shop.new", "shop", ConsumedQueue("q", "#.new", "shop", "topic"), True),
        ("new", "shop", ConsumedQueue("q", "#.new", "shop", "topic"), True),
        ("clery", "", ConsumedQueue("q", "#", "shop", "topic"), True),
        ("clery", "other", ConsumedQueue("q", "#", "shop", "topic"), False),
        ("anything", "all", ConsumedQueue("q", "", "all", "fanout"), True),
    ],
)
def test_a_queue_receives_tasks_by_routing_key_and_exchange(
    key: str, exchange: str, queue: ConsumedQueue, expected: bool
) -> None:
    assert queue.receives(Route(exchange, key)) is expected


@pytest.mark.parametrize(
    ("exchange", "routing_key", "expected"),
    [
        ("", "celery", Route("", "celery")),
        ("shop", "shop.new", Route("shop", "shop.new")),
        (None, None, Route("", "")),
        ({"name": "shop"}, 7, Route("", "")),
        # The key of a task with native delayed delivery begins with a bit per exchange.
        ("celery_delayed_27", "0." * 25 + "1.0.1." + "celery", Route("", "celery")),
    ],
)
def test_route_is_that_of_the_queue(exchange: Any, routing_key: Any, expected: Route) -> None:
    assert route(exchange, routing_key) == expected


@pytest.mark.parametrize("odd", [[{}], [{"routing_key": 7}], [{"routing_key": "q", "exchange": ["odd"]}]])
def test_routes_of_many_tasks_equal_those_of_each(odd: list[dict[str, Any]]) -> None:
    usual = [{"routing_key": "celery", "exchange": ""}, {"routing_key": "new", "exchange": "shop"}]
    tasks = [TaskFields(**fields) for fields in (*usual, *odd, *usual)]
    assert ROUTE.of_many is not None
    texts = ROUTE.of_many(tasks)
    assert texts == [ROUTE.of(task) for task in tasks]
    assert [route_in(text) for text in texts[:2]] == [Route("", "celery"), Route("shop", "new")]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({}, None),
        ({"active_queues": None}, None),
        ({"active_queues": []}, ()),
        (
            {"active_queues": [{"name": "celery", "routing_key": "celery", "exchange": {"name": "celery"}}, "odd"]},
            (CELERY,),
        ),
        ({"active_queues": [{"exchange": "odd"}]}, (ConsumedQueue("unknown", "", "", "direct"),)),
    ],
)
def test_queues_of_a_worker_are_unknown_unless_it_reports_them(reply: dict[str, Any], expected: Any) -> None:
    assert queues_in(reply) == expected
