"""The queries in the user's notes work unchanged on the same data."""

from collections.abc import Callable
from typing import Any

import pytest

from testbed.queries import CRUFT, DURATIONS_BY_STATE, JOB, TASKS_BY_STATE, WORKERS, Query
from tests.panels.ask import Answer, answer
from tests.panels.conftest import MAIL, SHOP_AT_FIRST, SHOP_LATER, Scene
from tests.panels.scene import STATES, counted, seconds

SHOP = (*SHOP_AT_FIRST, *SHOP_LATER)

UNFINISHED = {"PENDING", "RECEIVED", "STARTED", "RETRY"}

# Pairs of name and state, of the shop and of the two jobs of the other Flower.
PAIRS = len({(group.name, group.state) for group in SHOP}) + 2 * len({(group.name, group.state) for group in MAIL})


def by_name(found: Answer, label: str = "name") -> dict[str, float]:
    """Return the numbers by one label."""
    return {dict(labels)[label]: number for labels, number in found.items()}


def ask(scene: Scene, query: Query, **variables: Any) -> Answer:
    """Return the result of a query at the time of the scene."""
    return answer(scene.prometheus, query.text(**variables), scene.at)


def test_singlestat_counts_live_workers(scene: Scene) -> None:
    assert ask(scene, WORKERS) == {frozenset(): 1.0}
    assert ask(scene, WORKERS, job=f"{JOB}|mail[.]eu") == {frozenset(): 2.0}


@pytest.mark.parametrize("state", STATES)
def test_graphs_of_states_count_tasks_by_type(scene: Scene, state: str) -> None:
    assert by_name(ask(scene, TASKS_BY_STATE, state=state), "task_type") == counted(SHOP, state)


@pytest.mark.parametrize("state", STATES)
def test_graph_of_durations_has_seconds_by_name(scene: Scene, state: str) -> None:
    found = by_name(ask(scene, DURATIONS_BY_STATE, state=state))
    expected = seconds(SHOP, state)
    assert found.keys() == expected.keys()
    for name, number in found.items():
        low, high = (0.99, 1.3) if state in UNFINISHED else (0.999, 1.001)
        assert expected[name] * low <= number <= expected[name] * high


def successes(found: Answer) -> None:
    assert by_name(found) == pytest.approx(seconds(SHOP, "SUCCESS"))


def waits(found: Answer) -> None:
    assert by_name(found).keys() == seconds(SHOP, "RECEIVED").keys()


def growth(found: Answer) -> None:
    assert {name: rate > 0 for name, rate in by_name(found).items()} == {"shop.pay": True, "shop.mail": False}


def the_longest_of_all(found: Answer) -> None:
    truth = [number for state in STATES for tasks in (SHOP, MAIL, MAIL) for number in seconds(tasks, state).values()]
    seventh = sorted(truth, reverse=True)[6]
    assert len(found) == 7
    assert min(found.values()) >= seventh * 0.999


def every_pair(found: Answer) -> None:
    assert len(found) == PAIRS


def sorted_successes(found: Answer) -> None:
    successes(found)
    assert list(found.values()) == sorted(found.values(), reverse=True)


CHECKS = (
    successes,
    waits,
    growth,
    successes,
    the_longest_of_all,
    every_pair,
    every_pair,
    sorted_successes,
)


@pytest.mark.parametrize(
    ("query", "check"), list(zip(CRUFT, CHECKS, strict=True)), ids=[query.about for query in CRUFT]
)
def test_queries_under_cruft_have_results(scene: Scene, query: Query, check: Callable[[Answer], None]) -> None:
    check(ask(scene, query, time_frame="5m"))
