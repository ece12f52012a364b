"""Every query of the main dashboard and the rules has the expected result."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from testbed.queries import JOB
from tests.panels.ask import answer, offered, shown
from tests.panels.boards import ALL, ROOT, PanelQuery, Values, annotations, panels, queries_of, variables
from tests.panels.conftest import SHOP_AT_FIRST, Scene
from tests.panels.expected import (
    NOTHING,
    Between,
    Expected,
    by_type,
    durations_by_name,
    each_group,
    failed_most,
    failure_ratio,
    in_states,
    increased,
    live_workers,
    longest_wait,
    mean_durations,
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
    ("Live workers", "A"): live_workers,
    ("Tasks in flight", "A"): in_states("PENDING", "RECEIVED", "STARTED", "RETRY"),
    ("Failure ratio", "A"): failure_ratio,
    ("Longest mean wait", "A"): longest_wait,
    # No alert fires yet, because each waits for its duration. The rules are loaded.
    ("Firing alerts", "A"): lambda _: of(0),
    ("Alerts", "A"): lambda _: of(0, alertname="no alert fires", severity="ok"),
    # Every push is fresh and every Flower up; tests/panels/test_states.py has other states.
    ("Flowers", "A"): lambda _: of(0),
    ("Flowers", "B"): nothing,
    ("Live workers", "B"): nothing,
    ("Each Flower", "A"): each_group(1),
    ("Each Flower", "B"): each_group(Between(0, 120)),
    ("Each Flower", "C"): workers_of_each_group,
    **{(state, "A"): by_type(state) for state in STATES if state != "REVOKED"},
    ("REVOKED and other states", "A"): by_type("REVOKED"),
    ("REVOKED and other states", "B"): other_states,
    ("Most failures", "A"): failed_most("count"),
    ("Most failures", "B"): failed_most("share"),
    ("Duration by name: $state", "A"): durations_by_name("SUCCESS"),
    ("Mean duration by type: $state", "A"): mean_durations("SUCCESS"),
    ("Top 15 by duration: $state", "A"): durations_by_name("SUCCESS"),
    ("Waiting longest: PENDING, RECEIVED", "A"): mean_durations("PENDING", "RECEIVED", with_state=True),
    ("Running longest: STARTED", "A"): mean_durations("STARTED"),
    ("Work per second: SUCCESS", "A"): increased,
    ("By duration: $state", "A"): table_of_durations("seconds"),
    ("By duration: $state", "B"): table_of_durations("tasks"),
    ("By duration: $state", "C"): table_of_durations("mean"),
    ("Workers over time", "A"): workers_by_name,
    ("Workers now", "A"): workers_by_group,
    ("Age of the data over time", "A"): each_group(Between(0, 120)),
    ("Scrape duration", "A"): each_group(Between(0.001, 50)),
    ("Tasks in Flower's list", "A"): tasks_listed,
    # No Flower was down, and a worker is marked only after minutes; see tests/panels/test_annotations.py.
    ("A worker went away", ""): nothing,
    ("Flower down", ""): nothing,
    # Grafana draws an annotation where the value is above 0.
    ("Data too old", ""): each_group(0),
}


def rules() -> list[dict[str, Any]]:
    """Return every rule of every rule file."""
    files = sorted(ROOT.glob("prometheus/rules/*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def test_every_query_has_an_expectation() -> None:
    assert {(query.where, query.ref) for query in queries_of(BOARD)} == PANELS.keys()


@pytest.mark.parametrize("query", queries_of(BOARD), ids=str)
def test_panel_shows_tasks_and_workers_of_the_selected_jobs(scene: Scene, query: PanelQuery) -> None:
    found = shown(scene.prometheus, query, CHOSEN, scene.at)
    assert found == rounded(PANELS[query.where, query.ref](scene), found)


@pytest.mark.parametrize("query", queries_of(BOARD), ids=str)
def test_panel_with_all_selected_shows_at_least_as_much(scene: Scene, query: PanelQuery) -> None:
    everything: Values = {"job": ALL, "instance": ALL, "task_type": ALL}
    chosen, all_of_it = (shown(scene.prometheus, query, values, scene.at) for values in (CHOSEN, everything))
    assert chosen.keys() <= all_of_it.keys()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("title", ["Duration by name: $state", "Mean duration by type: $state"])
def test_selected_state_is_shown(scene: Scene, title: str, state: str) -> None:
    (query,) = [query for query in queries_of(BOARD) if query.where == title]
    found = shown(scene.prometheus, query, {**CHOSEN, "state": state}, scene.at)
    if title.startswith("Mean"):
        has_seconds = {labels for labels, value in durations_by_name(state)(scene).items() if value}
        expected = {labels: value for labels, value in mean_durations(state)(scene).items() if labels in has_seconds}
    else:
        exact = {labels: value for labels, value in durations_by_name(state)(scene).items() if value}
        unfinished = state in {"PENDING", "RECEIVED", "STARTED", "RETRY"}
        expected = {
            labels: Between(value * 0.99, value * 1.3) if unfinished and isinstance(value, float) else value
            for labels, value in exact.items()
        }
    assert found == rounded(expected, found)


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
        ("state", lambda _: sorted([*STATES, "REJECTED"])),
    ],
)
def test_variable_has_the_values_of_the_data(scene: Scene, name: str, expected: Callable[[Scene], list[str]]) -> None:
    found = offered(scene.prometheus, BOARD, variables(BOARD)[name], {}, scene.at)
    assert found == expected(scene)


def test_every_query_variable_is_tested() -> None:
    asking = {name for name, variable in variables(BOARD).items() if variable["type"] == "query"}
    assert asking == {"job", "instance", "task_type", "state"}


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


def per_group_and_type(state: str, *, added: bool = False) -> Callable[[Scene], Expected]:
    """Return the number of tasks of each type and group in a state, or those `added` by the group's last push."""

    def expected(scene: Scene) -> Expected:
        jobs = {"mail.eu": ["mail.eu", "mailxeu"], JOB: [JOB]}
        found: dict[frozenset[tuple[str, str]], float | Between] = {}
        for (job, instance), tasks in scene.tasks.items():
            counts = counted(tasks, state)
            before = counted(SHOP_AT_FIRST if job == JOB else tasks, state)
            for name, count in counts.items():
                number = count - before.get(name, count) if added else count
                for its_job in jobs[job]:
                    found |= of(number, job=its_job, instance=instance, task_type=name)
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
    "instance_type:celery_tasks_failed:added1h": per_group_and_type("FAILURE", added=True),
    "instance_type:celery_tasks_succeeded:added1h": per_group_and_type("SUCCESS", added=True),
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
