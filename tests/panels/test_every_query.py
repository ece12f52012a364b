"""Every query of the main dashboard and the rules has the expected result."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from testbed.queries import JOB
from tests.panels.ask import answer, offered, shown
from tests.panels.boards import ALL, BOARDS, ROOT, PanelQuery, Values, annotations, panels, queries_of, variables
from tests.panels.conftest import SHOP_AT_FIRST, Scene
from tests.panels.expected import (
    NOTHING,
    Between,
    Expected,
    by_state,
    by_type,
    durations_by_name,
    each_group,
    failed_most,
    increased,
    live_workers,
    mean_durations,
    mean_durations_by_state,
    of,
    other_states,
    table_of_durations,
    tasks_listed,
    workers_by_group,
    workers_by_name,
    workers_of_each_group,
)
from tests.panels.scene import STATES, counted

BOARD = "celery-by-flower"

CHOSEN: Values = {"job": [JOB, "mail.eu"]}
"""Two jobs by name, one with a special character of regular expressions. Other variables have their saved values."""


def nothing(_: Scene) -> Expected:
    """Expect an empty result; each use has a comment with the reason."""
    return NOTHING


PANELS: Mapping[tuple[str, str], Callable[[Scene], Expected]] = {
    # No alert fires yet, because each waits for its duration. The rules are loaded.
    ("Alerts", "A"): lambda _: of(0, text="none"),
    ("Firing alerts", "A"): lambda _: of(0, text="no alert fires", severity="ok"),
    # Every push is fresh and every Flower up; tests/panels/test_first_screen.py has other states.
    ("Flowers", "A"): lambda _: of(0, text="2 of 2", seen="2", all="2"),
    ("Workers", "A"): lambda _: of(1, text="2 of 3", live="2", all="3"),
    ("Waiting", "A"): lambda _: of(2, text="7, 15 min", tasks="7", minutes="15"),
    ("Failing now (15 min)", "A"): lambda _: of(0, text="none", bad="0", all="4"),
    # One failed and one succeeded between the pushes. There is no data of an hour ago.
    ("Throughput (15 min)", "A"): lambda _: of(0, text="0.1/min", now="0.1", before="-1"),
    ("What is wrong now", "A"): lambda _: {
        **of(1, what="worker stopped", which="celery@shop-2"),
        **of(2, what="tasks wait", which="shop.pay", amount="15 min"),
        **of(2, what="tasks wait", which="mail.send", amount="6 min"),
    },
    ("Finished per minute (15 min)", "A"): lambda _: {
        **of(1 / 15, state="FAILURE"),
        **of(1 / 15, state="SUCCESS"),
        **of(0, state="REVOKED"),
    },
    ("Failures per minute (15 min)", "A"): lambda _: of(1 / 15, task_type="shop.pay"),
    ("Waiting tasks", "A"): lambda _: {**of(3, task_type="shop.pay"), **of(4, task_type="mail.send")},
    # The scene has no extras; tests/panels/test_in_depth.py has them.
    ("Waiting tasks", "B"): nothing,
    ("Workers over time", "A"): live_workers,
    ("Workers over time", "B"): lambda _: of(1),
    ("Each Flower", "A"): each_group(1),
    ("Each Flower", "B"): each_group(Between(0, 120)),
    ("Each Flower", "C"): workers_of_each_group,
    **{(state, "A"): by_type(state) for state in STATES if state != "REVOKED"},
    ("REVOKED and other states", "A"): by_type("REVOKED"),
    ("REVOKED and other states", "B"): other_states,
    ("Most failures", "A"): failed_most("count"),
    ("Most failures", "B"): failed_most("share"),
    ("Total runtime by type", "A"): durations_by_name("SUCCESS"),
    ("Mean runtime by type", "A"): mean_durations("SUCCESS"),
    ("Waiting longest: PENDING, RECEIVED", "A"): mean_durations("PENDING", "RECEIVED", with_state=True),
    ("Running longest: STARTED", "A"): mean_durations("STARTED"),
    ("Busy processes by type", "A"): increased,
    ("Runtime of every type", "A"): table_of_durations("seconds"),
    ("Runtime of every type", "B"): table_of_durations("tasks"),
    ("Runtime of every type", "C"): table_of_durations("mean"),
    ("Each worker over time", "A"): workers_by_name,
    ("Workers now", "A"): workers_by_group,
    ("Age of the data over time", "A"): each_group(Between(0, 120)),
    ("Scrape duration", "A"): each_group(Between(0.001, 50)),
    ("Tasks in Flower's list", "A"): tasks_listed,
    ("Numbers by state cover", "A"): each_group(Between(0, 1e9)),
    # No Flower was down, and a worker is marked only after minutes; see tests/panels/test_annotations.py.
    ("A worker went away", ""): nothing,
    ("Flower down", ""): nothing,
    # Grafana draws an annotation where the value is above 0.
    ("Data too old", ""): each_group(0),
}

TYPE_PANELS: Mapping[tuple[str, str], Callable[[Scene], Expected]] = {
    **{name: PANELS[name] for name in (("A worker went away", ""), ("Flower down", ""), ("Data too old", ""))},
    ("Finished per minute (15 min)", "A"): PANELS["Finished per minute (15 min)", "A"],
    # Two of the tasks of the scene finished within the window, one of them failed.
    ("Failure ratio (15 min)", "A"): lambda _: of(1 / 2),
    ("Tasks by state", "A"): by_state,
    ("Mean duration by state", "A"): mean_durations_by_state,
    # The scene has no extras; tests/panels/test_in_depth.py has these panels too.
    **{(title, "A"): nothing for title in ("Failures by exception", "Oldest task by type")},
    **{(title, ref): nothing for title in ("Runtime", "Wait") for ref in "ABC"},
}
"""The page of a task type, with all types selected."""

EXPECTED = {BOARD: PANELS, BOARDS[2]: TYPE_PANELS}
QUERIES = [query for board in EXPECTED for query in queries_of(board)]


def rules() -> list[dict[str, Any]]:
    """Return every rule of every rule file."""
    files = sorted(ROOT.glob("prometheus/rules/*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("board", EXPECTED)
def test_every_query_has_an_expectation(board: str) -> None:
    assert {(query.where, query.ref) for query in queries_of(board)} == EXPECTED[board].keys()


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_panel_shows_tasks_and_workers_of_the_selected_jobs(scene: Scene, query: PanelQuery) -> None:
    found = shown(scene.prometheus, query, CHOSEN, scene.at)
    assert found == rounded(EXPECTED[query.board][query.where, query.ref](scene), found)


@pytest.mark.parametrize("query", [query for query in QUERIES if not query.instant], ids=str)
def test_panel_with_all_selected_shows_at_least_as_much(scene: Scene, query: PanelQuery) -> None:
    everything: Values = {"job": ALL, "instance": ALL, "task_type": ALL}
    chosen, all_of_it = (shown(scene.prometheus, query, values, scene.at) for values in (CHOSEN, everything))
    assert chosen.keys() <= all_of_it.keys()


def test_one_flower_and_one_task_type_can_be_selected(scene: Scene) -> None:
    (query,) = [query for query in queries_of(BOARD) if query.where == "SUCCESS"]
    values: Values = {**CHOSEN, "instance": [scene.mail], "task_type": ["shop.mail"]}
    assert shown(scene.prometheus, query, values, scene.at) == of(2, task_type="shop.mail")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("job", lambda _: ["mail.eu", "mailxeu", JOB]),
        ("instance", lambda scene: sorted([scene.shop, scene.mail])),
        ("task_type", lambda _: ["mail.send", "shop.mail", "shop.pay", "shop.report"]),
    ],
)
def test_variable_has_the_values_of_the_data(scene: Scene, name: str, expected: Callable[[Scene], list[str]]) -> None:
    found = offered(scene.prometheus, BOARD, variables(BOARD)[name], {}, scene.at)
    assert found == expected(scene)


def test_every_query_variable_is_tested() -> None:
    asking = {name for name, variable in variables(BOARD).items() if variable["type"] == "query"}
    assert asking == {"job", "instance", "task_type"}


def test_legends_and_annotations_use_labels_of_their_query(scene: Scene) -> None:
    legends = {
        (panel["title"], target["refId"]): target["legendFormat"]
        for panel in panels(BOARD)
        for target in panel["targets"]
    }
    legends |= {(event["name"], ""): event["titleFormat"] for event in annotations(BOARD)}
    for query in queries_of(BOARD):
        for labels in shown(scene.prometheus, query, CHOSEN, scene.at):
            named = {part.split("}}")[0] for part in legends[query.where, query.ref].split("{{")[1:]}
            assert named <= {name for name, _ in labels}, query


def per_group(number: Callable[[Scene, str], float]) -> Callable[[Scene], Expected]:
    """Return a recorded number of each of the three pushed groups."""

    def expected(scene: Scene) -> Expected:
        mail = number(scene, "mail.eu")
        return {
            **of(number(scene, JOB), job=JOB, instance=scene.shop),
            **of(mail, job="mail.eu", instance=scene.mail),
            **of(mail, job="mailxeu", instance=scene.mail),
        }

    return expected


def per_group_and_type(*states: str, added: bool = False, by_state: bool = False) -> Callable[[Scene], Expected]:
    """Return a function that counts the tasks of each type and group in some states.

    With `added`, it counts the tasks that the group's last push has added.
    """

    def expected(scene: Scene) -> Expected:
        jobs = {"mail.eu": ["mail.eu", "mailxeu"], JOB: [JOB]}
        found: dict[frozenset[tuple[str, str]], float | Between] = {}
        for (job, instance), tasks in scene.tasks.items():
            old = SHOP_AT_FIRST if job == JOB else tasks
            for name in counted(tasks, ""):
                for group in states if by_state else [states]:
                    every = [group] if isinstance(group, str) else group
                    number = sum(
                        counted(tasks, state)[name] - added * counted(old, state).get(name, 0) for state in every
                    )
                    label = {"state": every[0]} if by_state else {}
                    for its_job in jobs[job]:
                        found |= of(number, job=its_job, instance=instance, task_type=name, **label)
        return found

    return expected


def waiting_too_long(scene: Scene) -> Expected:
    """Return the mean waits above 300 s of each group."""
    return {
        **of(Between(599, 690), job=JOB, instance=scene.shop, name="shop.pay", state="RECEIVED"),
        **of(Between(899, 990), job=JOB, instance=scene.shop, name="shop.pay", state="PENDING"),
        **of(Between(399, 490), job="mail.eu", instance=scene.mail, name="mail.send", state="RECEIVED"),
        **of(Between(399, 490), job="mailxeu", instance=scene.mail, name="mail.send", state="RECEIVED"),
    }


RULES: Mapping[str, Callable[[Scene], Expected]] = {
    "instance:celery_workers:sum": per_group(
        lambda scene, job: next(sum(up.values()) for (its_job, _), up in scene.workers.items() if its_job == job)
    ),
    "instance_type:celery_tasks_failed:sum": per_group_and_type("FAILURE"),
    "instance_type:celery_tasks_succeeded:sum": per_group_and_type("SUCCESS"),
    "instance_type_state:celery_tasks:added15m": per_group_and_type(
        "FAILURE", "REVOKED", "SUCCESS", added=True, by_state=True
    ),
    "instance_type:celery_tasks_failed:recent": per_group_and_type("FAILURE", added=True),
    "instance_type:celery_tasks_finished:recent": per_group_and_type("FAILURE", "SUCCESS", added=True),
    "CeleryWorkerWentAway": lambda scene: of(0, job=JOB, instance=scene.shop, app="celery@shop-2"),
    "CeleryFailureRatioHigh": lambda scene: of(4 / 21, job=JOB, instance=scene.shop, task_type="shop.pay"),
    "CeleryTasksWaitTooLong": waiting_too_long,
    # The scene has none of these problems; tests/panels/test_trouble.py makes each alert fire.
    "CeleryNoWorkers": nothing,
    "FlowerDown": nothing,
    "FlowerGroupGone": nothing,
    "FlowerPushMissing": nothing,
    "FlowerPushRefused": nothing,
    "FlowerPushStale": nothing,
    "PushgatewayDown": nothing,
    # It needs half an hour of data; prometheus/tests/push.yml makes it fire.
    "FlowerUnsteady": nothing,
    # The scene has no extras; tests/panels/test_in_depth.py has them.
    "instance:celery_workers_idle:count": nothing,
    # tests/panels/test_task_alerts.py makes these fire.
    "instance:celery_pools_busy:ratio": nothing,
    "CeleryTaskStuck": nothing,
    "CeleryPeriodicTaskOverdue": nothing,
    "CeleryTypeFailing": nothing,
    "CeleryQueueNotConsumed": nothing,
    "CeleryWorkersFull": nothing,
    "CeleryNewException": nothing,
    "CeleryBacklogAllWorkersIdle": nothing,
    "CeleryBacklogSomeWorkersIdle": nothing,
    "FlowerExtraFails": nothing,
    # prometheus/tests/slo.yml makes these fire.
    "CeleryErrorBudgetBurnsFast": nothing,
    "CeleryErrorBudgetBurns": nothing,
}


def test_every_rule_has_an_expectation() -> None:
    assert {rule.get("record") or rule["alert"] for rule in rules()} == RULES.keys()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("record") or rule["alert"])
def test_rule_has_a_result_for_each_affected_group(scene: Scene, rule: dict[str, Any]) -> None:
    found = answer(scene.prometheus, rule["expr"], scene.at)
    assert found == rounded(RULES[rule.get("record") or rule["alert"]](scene), found)


@pytest.mark.parametrize("record", [rule["record"] for rule in rules() if "record" in rule])
def test_recorded_series_equals_the_expression_of_its_rule(scene: Scene, record: str) -> None:
    found = answer(scene.prometheus, record, scene.at)
    assert found == rounded(RULES[record](scene), found)


def rounded(expected: Expected, found: Mapping[Any, float]) -> Expected:
    """Replace expected numbers by found ones that differ only by rounding."""
    return {
        labels: found[labels] if labels in found and found[labels] == pytest.approx(value) else value
        for labels, value in expected.items()
        if isinstance(value, int | float)
    } | {labels: value for labels, value in expected.items() if isinstance(value, Between)}
