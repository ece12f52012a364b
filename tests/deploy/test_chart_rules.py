"""The rules as the chart renders them: promtool's tests pass with the defaults, and other limits are what they say."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from release.render import ROOT, template

TESTS = sorted((ROOT / "prometheus/tests").glob("*.yml"))
GROUP = 'job="flower", instance="a:5555"'


def rendered(**values: Any) -> list[dict[str, Any]]:
    """The groups of the PrometheusRule."""
    [rule] = template({"rules": {"enabled": True, **values}}, "--show-only", "templates/prometheus-rule.yaml")
    groups: list[dict[str, Any]] = rule["spec"]["groups"]
    return groups


def alert(groups: list[dict[str, Any]], name: str) -> dict[str, Any]:
    [found] = [rule for group in groups for rule in group["rules"] if rule.get("alert") == name]
    return dict(found)


def promtool(folder: Path, groups: list[dict[str, Any]], tests: list[dict[str, Any]]) -> None:
    """Run these tests on these rules; fail with what it says if they do not pass."""
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    asked = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "test.yml").write_text(yaml.safe_dump(asked))
    _run(folder / "test.yml")


def _run(test: Path) -> None:
    command = ["promtool", "test", "rules", str(test)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def firing(groups: list[dict[str, Any]], at: dict[str, dict[str, set[str]]]) -> list[dict[str, Any]]:
    """Promql tests: at each time, the alerts that fire and that do not.

    `at` maps a time to {"fire": names, "quiet": names}.
    """
    expectations = []
    for when, names in at.items():
        for name in names.get("fire", set()) | names.get("quiet", set()):
            samples = [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name in names.get("fire", set()) else []
            query = f'max by (alertname) (ALERTS{{alertname="{name}", alertstate="firing"}})'
            expectations.append({"expr": query, "eval_time": when, "exp_samples": samples})
    assert all(alert(groups, name) for names in at.values() for kind in names.values() for name in kind)
    return expectations


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_promtools_tests_pass_on_the_rules_of_the_chart(path: Path, tmp_path: Path) -> None:
    """But for the annotations, which the files' tests compare too: those of the chart have a test below."""
    by_group = {group["name"]: group for group in rendered()}
    (tmp_path / "rules").mkdir()
    for source in (ROOT / "prometheus/rules").glob("*.yml"):
        [group] = yaml.safe_load(source.read_text(encoding="utf-8"))["groups"]
        ours = by_group.pop(group["name"])
        for rule, written in zip(ours["rules"], group["rules"], strict=True):
            rule.update({key: value for key, value in written.items() if key == "annotations"})
        (tmp_path / "rules" / source.name).write_text(yaml.safe_dump({"groups": [ours]}))
    assert by_group == {}
    (tmp_path / "tests").mkdir()
    _run(Path(shutil.copy(path, tmp_path / "tests")))


def test_every_alert_has_what_kube_prometheus_alerts_have() -> None:
    for rule in (rule for group in rendered() for rule in group["rules"] if "alert" in rule):
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        page, _, fragment = rule["annotations"]["runbook_url"].partition("#")
        headings = (ROOT / page).read_text(encoding="utf-8").splitlines()
        assert [line for line in headings if line.lower() == f"### {fragment}"]


def test_labels_severities_times_urls_and_alerts_can_be_chosen() -> None:
    groups = rendered(
        alertLabels={"team": "shop"},
        severity={"FlowerDown": "info"},
        disabled=["FlowerUnsteady"],
        runbookUrl="https://r.example/alerts",
        **{"for": {"FlowerDown": "9m"}},
    )
    down = alert(groups, "FlowerDown")
    assert down["labels"] == {"team": "shop", "severity": "info"}
    assert down["for"] == "9m"
    assert down["annotations"]["runbook_url"] == "https://r.example/alerts#flowerdown"
    assert alert(groups, "FlowerPushStale")["labels"]["severity"] == "critical"
    assert "FlowerUnsteady" not in str(groups)


def test_another_age_is_used_everywhere() -> None:
    assert not re.search(r"push_time_seconds\s*[<>]\s*300", str(rendered(age=901)))
    assert str(rendered(age=901)).count("901") == str(rendered(age=902)).count("902") > 5


@pytest.mark.parametrize(("age", "at_ten_minutes"), [(300, "fire"), (900, "quiet")])
def test_the_age_after_which_a_push_is_old(age: int, at_ten_minutes: str, tmp_path: Path) -> None:
    groups = rendered(age=age)
    series = {
        f'push_job_build_info{{{GROUP}, version="1"}}': "1x60",
        f"push_time_seconds{{{GROUP}}}": "0x60",
        f"flower_up{{{GROUP}}}": "0x60",
        'pushgateway_build_info{job="p", instance="p:9091"}': "1x60",
    }
    other = {"fire": "quiet", "quiet": "fire"}[at_ten_minutes]
    at = {"10m": {at_ten_minutes: {"FlowerPushStale"}, other: {"FlowerDown"}}, "20m": {"fire": {"FlowerPushStale"}}}
    promtool(tmp_path, groups, [_test(series, firing(groups, at))])


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ({}, "fire"),
        ({"failureRatio": 0.5}, "quiet"),
        ({"failureMinimum": 161}, "quiet"),
        ({"failureIgnore": "t|shop\\..*"}, "quiet"),
        ({"failureIgnore": "other"}, "fire"),
    ],
    ids=["as it is", "a higher ratio", "a higher minimum", "left out", "another type left out"],
)
def test_the_ratio_of_failures(values: dict[str, Any], outcome: str, tmp_path: Path) -> None:
    """Of 80 tasks that finished lately 20 failed, and of 80 before that none."""
    groups = rendered(**values)
    series = {
        f"push_time_seconds{{{GROUP}}}": "0+60x60",
        f"flower_up{{{GROUP}}}": "1x60",
        f'celery_task_types_by_state{{{GROUP}, task_type="t", state="FAILURE"}}': "0x20 20x40",
        f'celery_task_types_by_state{{{GROUP}, task_type="t", state="SUCCESS"}}': "80x20 140x40",
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"30m": {outcome: {"CeleryFailureRatioHigh"}}}))])


@pytest.mark.parametrize(("seconds", "outcome"), [(300, "quiet"), (60, "fire")])
def test_how_long_tasks_may_wait(seconds: int, outcome: str, tmp_path: Path) -> None:
    """Two tasks that wait 100 s each."""
    groups = rendered(waitSeconds=seconds)
    series = {
        f"push_time_seconds{{{GROUP}}}": "0+60x60",
        f"flower_up{{{GROUP}}}": "1x60",
        f'celery_task_types_by_state{{{GROUP}, task_type="t", state="PENDING"}}': "2x60",
        f'celery_task_duration_seconds_by_state{{{GROUP}, name="t", state="PENDING"}}': "200x60",
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"30m": {outcome: {"CeleryTasksWaitTooLong"}}}))])


@pytest.mark.parametrize(("ratio", "outcome"), [(0.8, "quiet"), (0.95, "fire")])
def test_how_steady_flower_has_to_be(ratio: float, outcome: str, tmp_path: Path) -> None:
    """One scrape of ten fails."""
    groups = rendered(steadyRatio=ratio)
    series = {f"push_time_seconds{{{GROUP}}}": "0+60x90", f"flower_up{{{GROUP}}}": " ".join(["1x8 0"] * 9)}
    promtool(tmp_path, groups, [_test(series, firing(groups, {"60m": {outcome: {"FlowerUnsteady"}}}))])


def _group_with(name: str, labels: str, values: str) -> dict[str, str]:
    return {
        f"push_time_seconds{{{GROUP}}}": "0+60x90",
        f"flower_up{{{GROUP}}}": "1x90",
        f"{name}{{{GROUP}, {labels}}}": values,
    }


@pytest.mark.parametrize(("seconds", "outcome"), [(3600, "quiet"), (1200, "fire")])
def test_how_long_a_task_may_be_in_its_state(seconds: int, outcome: str, tmp_path: Path) -> None:
    groups = rendered(stuckSeconds=seconds)
    series = _group_with("celery_task_oldest_seconds", 'name="t", state="STARTED"', "1800x90")
    promtool(tmp_path, groups, [_test(series, firing(groups, {"30m": {outcome: {"CeleryTaskStuck"}}}))])


@pytest.mark.parametrize(
    ("values", "interval", "outcome"),
    [
        ({}, 300, "fire"),
        ({"overdueIntervals": 10}, 300, "quiet"),
        ({"shortestInterval": 600}, 300, "quiet"),
        ({}, 59.98, "fire"),
        ({}, 49, "quiet"),
    ],
    ids=["as it is", "more intervals", "a longer shortest one", "a minute as clocks tell it", "too short"],
)
def test_when_a_periodic_task_is_overdue(values: dict[str, Any], interval: float, outcome: str, tmp_path: Path) -> None:
    """It came last at the beginning."""
    groups = rendered(**values)
    series = {
        **_group_with("celery_task_last_success_timestamp_seconds", 'name="t"', "0x90"),
        **_group_with("celery_task_interval_seconds", 'name="t"', f"{interval}x90"),
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"30m": {outcome: {"CeleryPeriodicTaskOverdue"}}}))])


@pytest.mark.parametrize(("ratio", "outcome"), [(0.95, "quiet"), (0.7, "fire")])
def test_how_busy_the_workers_may_be(ratio: float, outcome: str, tmp_path: Path) -> None:
    """Three of four processes are busy."""
    groups = rendered(busyRatio=ratio)
    series = {
        **_group_with("celery_worker_active_tasks", 'worker="w"', "3x90"),
        **_group_with("celery_worker_pool_processes", 'worker="w"', "4x90"),
        **_group_with("celery_queue_length", 'queue="q"', "9x90"),
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"60m": {outcome: {"CeleryWorkersFull"}}}))])


@pytest.mark.parametrize(("count", "outcome"), [(1, "fire"), (5, "quiet")])
def test_how_many_tasks_may_fail_with_a_new_exception(count: int, outcome: str, tmp_path: Path) -> None:
    groups = rendered(newFailures=count)
    series = {
        **_group_with("flower_scrape_extra_success", 'extra="failures"', "1x90"),
        **_group_with("celery_task_failures", 'name="t", exception="ValueError"', "_x70 3x20"),
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"80m": {outcome: {"CeleryNewException"}}}))])


def _test(series: dict[str, str], expectations: list[dict[str, Any]]) -> dict[str, Any]:
    given = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": given, "promql_expr_test": expectations}
