"""Every query of both dashboards in various states of Flowers and pushes."""

import math
import time
from dataclasses import dataclass, field

import pytest

from grafana.queries import BAD, GOOD, ODD, UNKNOWN
from testbed.services import Prometheus, Testbed
from tests.panels.ask import Answer, shown
from tests.panels.boards import BOARDS, ROOT, PanelQuery, Values, panels, queries_of
from tests.panels.states import FRESH, JOBS, OLD, Group, of, put

NEVER_EMPTY = {panel["title"] for board in BOARDS for panel in panels(board) if panel["type"] == "stat"} | {
    "Firing alerts",
    "What is wrong now",
    "Each Flower",
    "Each worker over time",
    "Most failures",
    "Overdue types",
    "Runtime of every type",
}
"""Panels that show a text without data; tests/panels/test_first_screen.py has the texts."""

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

    def tile(self, job: str, title: str, board: str = BOARDS[0]) -> tuple[str, float]:
        """Return the text and the level of a tile."""
        (query,) = [query for query in queries_of(board) if query.where == title]
        ((labels, level),) = self.shows(job, query).items()
        return dict(labels)["text"], level


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


NOT_IN_STATES = {"Failures per minute (15 min)"}
"""Panels that are empty because nothing fails in these states."""


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
    "job", ["ok", "one-down", "one-too-old", "partial", "loops", "many-types", "many-workers", "many-flowers"]
)
@pytest.mark.parametrize("board", BOARDS)
def test_no_panel_is_empty_while_a_flower_is_up(world: World, board: str, job: str) -> None:
    expected = {"Flower down"} if job != "one-down" else set()
    assert empty(world, job, board) - NOT_IN_STATES == expected


def test_full_flower_hides_only_rates_of_falling_counts(world: World) -> None:
    # The rules may not have been evaluated since the last push.
    recorded = {"Finished per minute (15 min)"}
    assert empty(world, "full", BOARDS[0]) - NOT_IN_STATES - recorded == {"Busy processes by type", "Flower down"}


def test_old_data_is_hidden_except_for_its_age(world: World) -> None:
    shown = {query.where for query in queries_of(BOARDS[0])} - empty(world, "all-too-old", BOARDS[0])
    # The guard of recorded series has the limit of the rules.
    recorded = {"Finished per minute (15 min)"}
    assert shown <= {"Age of the data over time", "Data too old", "A worker went away"} | recorded | NEVER_EMPTY


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
    assert world.panel("loops", "Each Flower") == {(names[0], "loops"): 1, (names[1], "loops"): -1}
    assert world.panel("loops", "Data too old", "") == {(names[0], "loops"): 0, (names[1], "loops"): 1}
    assert len(world.panel("many-flowers", "Each Flower")) == 12


@pytest.mark.parametrize(
    ("job", "flowers", "workers"),
    [
        ("ok", ("3 of 3", GOOD), ("12 of 12", GOOD)),
        ("one-down", ("2 of 3", BAD), ("8 of 8", ODD)),
        ("one-too-old", ("2 of 3", BAD), ("8 of 8", ODD)),
        ("partial", ("1 of 2", BAD), ("4 of 4", ODD)),
        ("loops", ("1 of 2", BAD), ("4 of 4", ODD)),
        ("all-too-old", ("0 of 3", BAD), ("no fresh data", UNKNOWN)),
    ],
)
def test_number_of_workers_shows_missing_flowers(
    world: World, job: str, flowers: tuple[str, int], workers: tuple[str, int]
) -> None:
    for board in BOARDS[:2]:
        assert world.tile(job, "Flowers", board) == flowers
        assert world.tile(job, "Workers", board) == workers


@pytest.mark.parametrize(
    ("title", "extra"), [("Tasks in queues", "queues"), ("Idle workers", "activity"), ("Apdex (15 min)", "runtimes")]
)
def test_tile_of_a_missing_extra_says_not_pushed(world: World, title: str, extra: str) -> None:
    assert world.tile("no-extras", title, BOARDS[1]) == (f"--with {extra}: not pushed", UNKNOWN)
    assert world.tile("all-too-old", title, BOARDS[1]) == ("no fresh data", UNKNOWN)
    assert world.tile("ok", title, BOARDS[1])[1] >= GOOD


def test_alerts_panel_distinguishes_none_from_not_loaded(world: World, testbed: Testbed) -> None:
    assert world.tile("ok", "Alerts") == ("none", GOOD)
    assert world.panel("ok", "Firing alerts") == {("ok", "no alert fires"): 0.0}
    without_rules = testbed.prometheus(world.prometheus.target)
    without_rules.wait_for_scrape()
    unloaded = World(without_rules, time.time(), "300")
    assert unloaded.tile("ok", "Alerts") == ("not known", UNKNOWN)
    assert unloaded.tile("ok", "Failing now (15 min)") == ("rules not loaded", UNKNOWN)
    assert unloaded.panel("ok", "Firing alerts") == {("unknown", "rules not loaded"): 0.0}


def test_graphs_limit_their_lines_and_tables_do_not(world: World) -> None:
    by_type = world.panel("many-types", "FAILURE")
    assert len(by_type) == 10
    assert min(by_type.values()) == 51
    assert len(world.panel("many-types", "Runtime of every type")) == 60
    assert len(world.panel("many-workers", "Each worker over time")) == 20
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
    assert world.panel("ok", "Unfinished tasks by queue", board=IN_DEPTH) == {("celery",): 9, ("typo",): 6}
    assert world.panel("ok", "Orphaned tasks by queue", board=IN_DEPTH) == {("celery",): 0, ("typo",): 6}
    assert world.panel("ok", "Saturation: running / processes", "A", IN_DEPTH) == {(): 1 / 4}
    assert world.panel("ok", "Saturation: running / processes", "B", IN_DEPTH) == {
        (f"celery@w-{number}",): 1 / 4 for number in range(4)
    }
