"""Every query of both dashboards in various states of Flowers and pushes."""

import math
import time
from dataclasses import dataclass, field

import pytest

from testbed.services import Prometheus, Testbed
from tests.panels.ask import Answer, shown
from tests.panels.boards import BOARDS, ROOT, PanelQuery, Values, queries_of
from tests.panels.states import FRESH, JOBS, OLD, Group, of, put

ALERTS = {"Firing alerts", "Alerts"}
"""Panels whose queries cover alerts and rules of every job."""

FULL = Group(of(1)[0])
"""A full Flower that drops tasks: the second push has fewer than the first."""


@dataclass(frozen=True)
class World:
    """The data in Prometheus; at `at`, the groups in OLD exceed `max_age`."""

    prometheus: Prometheus
    at: float
    max_age: str
    answers: dict[tuple[str, PanelQuery], Answer] = field(default_factory=dict)

    def shows(self, job: str, query: PanelQuery) -> Answer:
        """Return the result of a query for the job of one state; results are cached."""
        values: Values = {"job": [job], "max_age": self.max_age, "TIME_FRAME": "1m"}
        if (job, query) not in self.answers:
            self.answers[job, query] = shown(self.prometheus, query, values, self.at, past=2)
        return self.answers[job, query]

    def panel(self, job: str, title: str, ref: str = "A", board: str = BOARDS[0]) -> dict[tuple[str, ...], float]:
        """Return the result of a panel's query by its label values, sorted by label."""
        (query,) = [query for query in queries_of(board) if (query.where, query.ref) == (title, ref)]
        return {tuple(text for _, text in sorted(labels)): n for labels, n in self.shows(job, query).items()}


@pytest.fixture(scope="module")
def world(testbed: Testbed) -> World:
    pushgateway = testbed.pushgateway()
    prometheus = testbed.prometheus(pushgateway, rule_files=sorted(ROOT.glob("prometheus/rules/*.yml")))

    def push(groups: dict[str, list[Group]], number: int) -> None:
        for job, its in groups.items():
            for group in its:
                put(pushgateway.url, job, group.instance, group.text(number))

    push({job: list(its) for job, its in OLD.items()}, number=1)
    old_at = time.time()
    prometheus.wait_for_scrape()
    for number in (1, 2):
        push({job: list(its) for job, its in FRESH.items()}, number)
        put(pushgateway.url, "full", FULL.instance, FULL.text(3 - number))
        if number == 1:
            prometheus.wait_for_scrape()
            fresh_at = time.time()
    prometheus.wait_for_scrape()
    prometheus.wait_for_scrape()
    at = time.time()
    return World(prometheus, at, f"{at - (old_at + fresh_at) / 2:.3f}")


def empty(world: World, job: str, board: str) -> set[str]:
    """Return the panels and annotations whose queries are all empty or NaN.

    "A worker went away" is excluded, because it takes minutes; see tests/panels/test_annotations.py.
    """
    answers: dict[str, bool] = {}
    for query in queries_of(board):
        found = any(not math.isnan(number) for number in world.shows(job, query).values())
        answers[query.where] = answers.get(query.where, False) or found
    return {where for where, found in answers.items() if not found} - {"A worker went away"}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("board", BOARDS)
def test_every_query_is_valid_in_every_state(world: World, board: str, job: str) -> None:
    for query in queries_of(board):
        world.shows(job, query)


@pytest.mark.parametrize(
    "job", ["ok", "one-down", "one-too-old", "partial", "many-types", "many-workers", "many-flowers"]
)
@pytest.mark.parametrize("board", BOARDS)
def test_no_panel_is_empty_while_a_flower_is_up(world: World, board: str, job: str) -> None:
    expected = {"Flower down"} if job != "one-down" else set()
    assert empty(world, job, board) == expected


def test_full_flower_hides_only_the_rate_of_a_falling_sum(world: World) -> None:
    assert empty(world, "full", BOARDS[0]) == {"Work per second: SUCCESS", "Flower down"}


def test_old_data_is_hidden_except_for_its_age(world: World) -> None:
    still_shown = {"Flowers", "Each Flower", "Age of the data over time", "Data too old"} | ALERTS
    assert {query.where for query in queries_of(BOARDS[0])} - empty(world, "all-too-old", BOARDS[0]) == still_shown | {
        "A worker went away"
    }


def test_table_lists_flowers_that_are_down_or_too_old(world: World) -> None:
    names = of(3)
    assert world.panel("one-down", "Each Flower") == {
        (names[0], "one-down"): 1,
        (names[1], "one-down"): 1,
        (names[2], "one-down"): 0,
    }
    assert world.panel("one-too-old", "Each Flower")[names[2], "one-too-old"] == -1
    assert set(world.panel("all-too-old", "Each Flower").values()) == {-1}
    assert world.panel("all-too-old", "Each Flower").keys() == {(name, "all-too-old") for name in names}
    assert world.panel("partial", "Each Flower")[names[1], "partial"] == -2
    assert len(world.panel("many-flowers", "Each Flower")) == 12


@pytest.mark.parametrize(
    ("job", "complete", "incomplete", "lost"),
    [
        ("ok", {(): 12.0}, {}, {}),
        ("one-down", {}, {("3", "1"): 8.0}, {("3",): 1.0}),
        ("one-too-old", {}, {("3", "1"): 8.0}, {("3",): 1.0}),
        ("partial", {}, {("2", "1"): 4.0}, {("2",): 1.0}),
        ("all-too-old", {}, {}, {("3",): 3.0}),
    ],
)
def test_number_of_workers_shows_missing_flowers(
    world: World,
    job: str,
    complete: dict[tuple[str, ...], float],
    incomplete: dict[tuple[str, ...], float],
    lost: dict[tuple[str, ...], float],
) -> None:
    for board in BOARDS:
        assert world.panel(job, "Live workers", "A", board) == complete
        assert world.panel(job, "Live workers", "B", board) == incomplete
        assert world.panel(job, "Flowers", "A", board) == ({} if lost else {(): 0.0})
        assert world.panel(job, "Flowers", "B", board) == lost


@pytest.mark.parametrize("title", ["Tasks in flight", "Longest mean wait", "Failure ratio"])
def test_number_with_a_graph_ends_in_nan_without_data(world: World, title: str) -> None:
    (number,) = world.panel("all-too-old", title).values()
    assert math.isnan(number)
    (known,) = world.panel("ok", title).values()
    assert known >= 0


@pytest.mark.parametrize("title", ["Tasks in queues", "Idle workers", "Apdex", "Failing extras"])
def test_tile_of_a_missing_extra_says_not_pushed(world: World, title: str) -> None:
    assert world.panel("no-extras", title, board=BOARDS[1]) == {(): -1.0}
    assert world.panel("all-too-old", title, board=BOARDS[1]) == {}
    (known,) = world.panel("ok", title, board=BOARDS[1]).values()
    assert known >= 0


def test_alerts_panel_distinguishes_none_from_not_loaded(world: World, testbed: Testbed) -> None:
    assert world.panel("ok", "Firing alerts") == {(): 0.0}
    assert world.panel("ok", "Alerts") == {("no alert fires", "ok"): 0.0}
    without_rules = testbed.prometheus(world.prometheus.target)
    without_rules.wait_for_scrape()
    unloaded = World(without_rules, time.time(), "300")
    assert unloaded.panel("ok", "Firing alerts") == {(): -1.0}
    assert unloaded.panel("ok", "Alerts") == {("rules not loaded", "unknown"): 0.0}


def test_graphs_limit_their_lines_and_tables_do_not(world: World) -> None:
    by_type = world.panel("many-types", "FAILURE")
    assert len(by_type) == 10
    assert min(by_type.values()) == 51
    assert len(world.panel("many-types", "By duration: $state")) == 60
    assert len(world.panel("many-types", "Top 15 by duration: $state")) == 15
    assert len(world.panel("many-workers", "Workers over time")) == 20
    assert len(world.panel("many-workers", "Workers now")) == 40
    for board in BOARDS:
        for query in queries_of(board):
            if not query.instant and query.where not in {"Age of the data over time", "Flower down", "Data too old"}:
                for job in ("many-types", "many-workers"):
                    assert len(world.shows(job, query)) <= 20, query


IN_DEPTH = BOARDS[1]


def test_problems_are_shown_by_type_queue_and_worker(world: World) -> None:
    names = [f"shop.task_{number}" for number in range(3)]
    assert world.panel("ok", "Oldest task by type", board=IN_DEPTH) == {
        (name, "STARTED"): 100.0 * (place + 1) for place, name in enumerate(names)
    }
    assert world.panel("ok", "Failures by exception", board=IN_DEPTH) == {("ValueError",): 3 * (1.0 + 2 + 3)}
    for place, name in enumerate(names):
        since, ago, interval = (world.panel("ok", "Overdue types", ref, IN_DEPTH)[(name,)] for ref in "ABC")
        assert since == pytest.approx(2 * (place + 1), abs=0.1)
        assert ago == pytest.approx(120 * (place + 1), abs=6)
        assert interval == 60
    assert world.panel("ok", "Consumers of each queue", board=IN_DEPTH) == {("celery",): 12, ("unconsumed",): 0}
    assert world.panel("ok", "Saturation: running / processes", "A", IN_DEPTH) == {(): 1 / 4}
    assert world.panel("ok", "Saturation: running / processes", "B", IN_DEPTH) == {
        (f"celery@w-{number}",): 1 / 4 for number in range(4)
    }
