"""Every query of both dashboards answers in each state: well, partly down, too old, many of everything."""

import math
import time
from dataclasses import dataclass, field

import pytest

from testbed.services import Prometheus, Testbed
from tests.panels.ask import Answer, shown
from tests.panels.boards import BOARDS, ROOT, Asked, Values, asked
from tests.panels.states import FRESH, JOBS, OLD, Group, of, put

ALERTS = {"Alerts that fire", "Alerts"}
"""They ask for alerts and rules of every job."""

FORGETS = Group(of(1)[0])
"""A full Flower: the second push has less than the first."""


@dataclass(frozen=True)
class World:
    """What Prometheus knows: `at` and `max_age` are so that what is in OLD is too old."""

    prometheus: Prometheus
    at: float
    max_age: str
    answers: dict[tuple[str, Asked], Answer] = field(default_factory=dict)

    def shows(self, job: str, query: Asked) -> Answer:
        """What a query answers for the job of one state; each is asked once."""
        values: Values = {"job": [job], "max_age": self.max_age, "TIME_FRAME": "1m"}
        if (job, query) not in self.answers:
            self.answers[job, query] = shown(self.prometheus, query, values, self.at, past=2)
        return self.answers[job, query]

    def panel(self, job: str, title: str, ref: str = "A", board: str = BOARDS[0]) -> dict[tuple[str, ...], float]:
        """What one query of a panel answers, by its labels' values in the order of their names."""
        (query,) = [query for query in asked(board) if (query.where, query.ref) == (title, ref)]
        return {tuple(text for _, text in sorted(labels)): n for labels, n in self.shows(job, query).items()}


@pytest.fixture(scope="module")
def world(testbed: Testbed) -> World:
    pushgateway = testbed.pushgateway()
    prometheus = testbed.prometheus(pushgateway, rule_files=sorted(ROOT.glob("prometheus/rules/*.yml")))

    def push(groups: dict[str, list[Group]], turn: int) -> None:
        for job, its in groups.items():
            for group in its:
                put(pushgateway.url, job, group.instance, group.text(turn))

    push({job: list(its) for job, its in OLD.items()}, turn=1)
    old_at = time.time()
    prometheus.wait_for_scrape()
    for turn in (1, 2):
        push({job: list(its) for job, its in FRESH.items()}, turn)
        put(pushgateway.url, "full", FORGETS.instance, FORGETS.text(3 - turn))
        if turn == 1:
            prometheus.wait_for_scrape()
            fresh_at = time.time()
    prometheus.wait_for_scrape()
    prometheus.wait_for_scrape()
    at = time.time()
    return World(prometheus, at, f"{at - (old_at + fresh_at) / 2:.3f}")


def empty(world: World, job: str, board: str) -> set[str]:
    """The panels and annotations whose every query answers nothing, or NaN.

    A worker that went away is in tests/panels/test_annotations.py: it takes minutes.
    """
    answers: dict[str, bool] = {}
    for query in asked(board):
        found = any(not math.isnan(number) for number in world.shows(job, query).values())
        answers[query.where] = answers.get(query.where, False) or found
    return {where for where, found in answers.items() if not found} - {"A worker went away"}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("board", BOARDS)
def test_prometheus_answers_every_query_in_every_state(world: World, board: str, job: str) -> None:
    for query in asked(board):
        world.shows(job, query)


@pytest.mark.parametrize(
    "job", ["well", "one-down", "one-too-old", "a-part", "many-types", "many-workers", "many-flowers"]
)
@pytest.mark.parametrize("board", BOARDS)
def test_no_panel_is_empty_while_some_flower_is_seen(world: World, board: str, job: str) -> None:
    expected = {"Flower down"} if job != "one-down" else set()
    assert empty(world, job, board) == expected


def test_of_a_full_flower_only_what_a_rate_takes_for_a_restart_is_left_out(world: World) -> None:
    assert empty(world, "full", BOARDS[0]) == {"Work per second: SUCCESS", "Flower down"}


def test_when_all_is_too_old_only_what_tells_of_it_is_shown(world: World) -> None:
    shown_still = {"Flowers", "Each Flower", "Age of the data over time", "Data too old"} | ALERTS
    assert {query.where for query in asked(BOARDS[0])} - empty(world, "all-too-old", BOARDS[0]) == shown_still | {
        "A worker went away"
    }


def test_a_flower_that_is_down_or_too_old_stays_in_the_table_by_its_name(world: World) -> None:
    names = of(3)
    assert world.panel("one-down", "Each Flower") == {
        (names[0], "one-down"): 1,
        (names[1], "one-down"): 1,
        (names[2], "one-down"): 0,
    }
    assert world.panel("one-too-old", "Each Flower")[names[2], "one-too-old"] == -1
    assert set(world.panel("all-too-old", "Each Flower").values()) == {-1}
    assert world.panel("all-too-old", "Each Flower").keys() == {(name, "all-too-old") for name in names}
    assert world.panel("a-part", "Each Flower")[names[1], "a-part"] == -2
    assert len(world.panel("many-flowers", "Each Flower")) == 12


@pytest.mark.parametrize(
    ("job", "whole", "part", "lost"),
    [
        ("well", {(): 12.0}, {}, {}),
        ("one-down", {}, {("3", "1"): 8.0}, {("3",): 1.0}),
        ("one-too-old", {}, {("3", "1"): 8.0}, {("3",): 1.0}),
        ("a-part", {}, {("2", "1"): 4.0}, {("2",): 1.0}),
        ("all-too-old", {}, {}, {("3",): 3.0}),
    ],
)
def test_the_number_of_workers_says_what_it_is_without(
    world: World,
    job: str,
    whole: dict[tuple[str, ...], float],
    part: dict[tuple[str, ...], float],
    lost: dict[tuple[str, ...], float],
) -> None:
    for board in BOARDS:
        assert world.panel(job, "Live workers", "A", board) == whole
        assert world.panel(job, "Live workers", "B", board) == part
        assert world.panel(job, "Flowers", "A", board) == ({} if lost else {(): 0.0})
        assert world.panel(job, "Flowers", "B", board) == lost


@pytest.mark.parametrize("title", ["Tasks in flight", "Longest mean wait", "Failure ratio"])
def test_a_number_with_a_line_ends_in_nan_when_nobody_knows(world: World, title: str) -> None:
    (number,) = world.panel("all-too-old", title).values()
    assert math.isnan(number)
    (known,) = world.panel("well", title).values()
    assert known >= 0


@pytest.mark.parametrize("title", ["Tasks in queues", "Idle workers", "Apdex", "Extras that fail"])
def test_without_the_extras_a_tile_says_that_they_are_not_pushed(world: World, title: str) -> None:
    assert world.panel("no-extras", title, board=BOARDS[1]) == {(): -1.0}
    assert world.panel("all-too-old", title, board=BOARDS[1]) == {}
    (known,) = world.panel("well", title, board=BOARDS[1]).values()
    assert known >= 0


def test_the_alerts_say_that_none_fires_unless_nobody_looks(world: World, testbed: Testbed) -> None:
    assert world.panel("well", "Alerts that fire") == {(): 0.0}
    assert world.panel("well", "Alerts") == {("no alert fires", "well"): 0.0}
    without_rules = testbed.prometheus(world.prometheus.target)
    without_rules.wait_for_scrape()
    blind = World(without_rules, time.time(), "300")
    assert blind.panel("well", "Alerts that fire") == {(): -1.0}
    assert blind.panel("well", "Alerts") == {("nobody looks: are the rules loaded?", "unknown"): 0.0}


def test_with_many_types_or_workers_a_graph_has_few_lines_and_a_table_all(world: World) -> None:
    by_type = world.panel("many-types", "FAILURE")
    assert len(by_type) == 10
    assert min(by_type.values()) == 51
    assert len(world.panel("many-types", "By duration: $state")) == 60
    assert len(world.panel("many-types", "Top 15 by duration: $state")) == 15
    assert len(world.panel("many-workers", "Workers over time")) == 20
    assert len(world.panel("many-workers", "Workers now")) == 40
    for board in BOARDS:
        for query in asked(board):
            if not query.instant and query.where not in {"Age of the data over time", "Flower down", "Data too old"}:
                for job in ("many-types", "many-workers"):
                    assert len(world.shows(job, query)) <= 20, query


IN_DEPTH = BOARDS[1]


def test_what_is_wrong_is_told_by_type_queue_and_worker(world: World) -> None:
    names = [f"shop.task_{number}" for number in range(3)]
    assert world.panel("well", "Oldest task by type", board=IN_DEPTH) == {
        ("STARTED", name): 100.0 * (place + 1) for place, name in enumerate(names)
    }
    assert world.panel("well", "Failures by exception", board=IN_DEPTH) == {("ValueError",): 3 * (1.0 + 2 + 3)}
    for place, name in enumerate(names):
        since, ago, interval = (world.panel("well", "Overdue types", ref, IN_DEPTH)[(name,)] for ref in "ABC")
        assert since == pytest.approx(2 * (place + 1), abs=0.1)
        assert ago == pytest.approx(120 * (place + 1), abs=6)
        assert interval == 60
    assert world.panel("well", "Consumers of each queue", board=IN_DEPTH) == {("celery",): 12, ("nobodys",): 0}
    assert world.panel("well", "Saturation: running / processes", "A", IN_DEPTH) == {(): 1 / 4}
    assert world.panel("well", "Saturation: running / processes", "B", IN_DEPTH) == {
        (f"celery@w-{number}",): 1 / 4 for number in range(4)
    }
