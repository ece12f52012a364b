"""Rules of the chart: promtool's tests pass, and other limits take effect."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from release.render import ROOT, template

RULES = ROOT / "prometheus/rules"
TESTS = sorted((ROOT / "prometheus/tests").glob("*.yml"))
GROUP = 'job="flower", instance="a:5555"'


def rendered(**values: Any) -> list[dict[str, Any]]:
    """Return the groups of the PrometheusRule."""
    [rule] = template({"rules": {"enabled": True, **values}}, "--show-only", "templates/prometheus-rule.yaml")
    groups: list[dict[str, Any]] = rule["spec"]["groups"]
    return groups


def alert(groups: list[dict[str, Any]], name: str) -> dict[str, Any]:
    [found] = [rule for group in groups for rule in group["rules"] if rule.get("alert") == name]
    return dict(found)


def promtool(folder: Path, groups: list[dict[str, Any]], tests: list[dict[str, Any]]) -> None:
    """Run promtool's tests on these rules; fail with its output."""
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    test_file = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "test.yml").write_text(yaml.safe_dump(test_file))
    run_promtool(folder / "test.yml")


def run_promtool(test: Path) -> None:
    """Run a test file of promtool; fail with its output."""
    command = ["promtool", "test", "rules", str(test)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def firing(groups: list[dict[str, Any]], at: dict[str, dict[str, set[str]]]) -> list[dict[str, Any]]:
    """Return promql tests of the alerts that fire, or do not, at given times.

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


@pytest.mark.slow
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_promtool_tests_pass_on_the_rules_of_the_chart(path: Path, tmp_path: Path) -> None:
    """Without the annotations, which have their own test below."""
    by_group = {group["name"]: group for group in rendered()}
    (tmp_path / "rules").mkdir()
    for source in RULES.glob("*.yml"):
        [group] = yaml.safe_load(source.read_text(encoding="utf-8"))["groups"]
        ours = by_group.pop(group["name"])
        for rule, written in zip(ours["rules"], group["rules"], strict=True):
            rule.update({key: value for key, value in written.items() if key == "annotations"})
        (tmp_path / "rules" / source.name).write_text(yaml.safe_dump({"groups": [ours]}))
    assert by_group == {}
    (tmp_path / "tests").mkdir()
    run_promtool(Path(shutil.copy(path, tmp_path / "tests")))


def test_default_values_are_the_limits_of_the_rules() -> None:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RULES.glob("*.yml"))]
    expected = [
        (rule.get("alert"), rule["expr"]) for file in files for group in file["groups"] for rule in group["rules"]
    ]
    assert [(rule.get("alert"), rule["expr"]) for group in rendered() for rule in group["rules"]] == expected


def test_alerts_have_the_annotations_of_kube_prometheus() -> None:
    for rule in (rule for group in rendered() for rule in group["rules"] if "alert" in rule):
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description"}, "a relative runbook_url would lead nowhere"


def test_urls_in_alerts_are_absolute() -> None:
    page = (ROOT / "docs/alerts.md").read_text(encoding="utf-8").lower().splitlines()
    for group in rendered(runbookUrl="https://r.example/alerts", grafanaUrl="https://g.example/"):
        for rule in (rule for rule in group["rules"] if "alert" in rule):
            url, _, fragment = rule["annotations"]["runbook_url"].partition("#")
            assert url == "https://r.example/alerts"
            assert f"### {fragment}" in page
            assert rule["annotations"]["dashboard_url"] == "https://g.example/d/celery-by-flower"


@pytest.mark.slow
def test_labels_severities_times_and_urls_are_configurable() -> None:
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


@pytest.mark.slow
def test_age_is_used_in_every_rule() -> None:
    assert not re.search(r"push_time_seconds\s*[<>]\s*300", str(rendered(age=901)))
    assert str(rendered(age=901)).count("901") == str(rendered(age=902)).count("902") > 5


@pytest.mark.slow
@pytest.mark.parametrize(("age", "at_ten_minutes"), [(300, "fire"), (900, "quiet")])
def test_age_of_an_old_push(age: int, at_ten_minutes: str, tmp_path: Path) -> None:
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


@pytest.mark.slow
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
def test_failure_ratio(values: dict[str, Any], outcome: str, tmp_path: Path) -> None:
    """Of 80 recently finished tasks 20 failed, and none of the 80 before."""
    groups = rendered(**values)
    series = {
        f"push_time_seconds{{{GROUP}}}": "0+60x60",
        f"flower_up{{{GROUP}}}": "1x60",
        f'celery_task_types_by_state{{{GROUP}, task_type="t", state="FAILURE"}}': "0x20 20x40",
        f'celery_task_types_by_state{{{GROUP}, task_type="t", state="SUCCESS"}}': "80x20 140x40",
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"30m": {outcome: {"CeleryFailureRatioHigh"}}}))])


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "outcome"), [(300, "quiet"), (60, "fire")])
def test_wait_seconds(seconds: int, outcome: str, tmp_path: Path) -> None:
    """Two tasks have waited 100 s each."""
    groups = rendered(waitSeconds=seconds)
    series = {
        f"push_time_seconds{{{GROUP}}}": "0+60x60",
        f"flower_up{{{GROUP}}}": "1x60",
        f'celery_task_types_by_state{{{GROUP}, task_type="t", state="PENDING"}}': "2x60",
        f'celery_task_duration_seconds_by_state{{{GROUP}, name="t", state="PENDING"}}': "200x60",
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"30m": {outcome: {"CeleryTasksWaitTooLong"}}}))])


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "outcome"), [(0.8, "quiet"), (0.95, "fire")])
def test_steady_ratio(ratio: float, outcome: str, tmp_path: Path) -> None:
    """One of ten scrapes fails."""
    groups = rendered(steadyRatio=ratio)
    series = {f"push_time_seconds{{{GROUP}}}": "0+60x90", f"flower_up{{{GROUP}}}": " ".join(["1x8 0"] * 9)}
    promtool(tmp_path, groups, [_test(series, firing(groups, {"60m": {outcome: {"FlowerUnsteady"}}}))])


def _group_with(name: str, labels: str, values: str) -> dict[str, str]:
    return {
        f"push_time_seconds{{{GROUP}}}": "0+60x90",
        f"flower_up{{{GROUP}}}": "1x90",
        f"{name}{{{GROUP}, {labels}}}": values,
    }


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "outcome"), [(3600, "quiet"), (1200, "fire")])
def test_stuck_seconds(seconds: int, outcome: str, tmp_path: Path) -> None:
    groups = rendered(stuckSeconds=seconds)
    series = _group_with("celery_task_oldest_seconds", 'name="t", state="STARTED"', "1800x90")
    promtool(tmp_path, groups, [_test(series, firing(groups, {"30m": {outcome: {"CeleryTaskStuck"}}}))])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "interval", "outcome"),
    [
        ({}, 300, "fire"),
        ({"overdueIntervals": 10}, 300, "quiet"),
        ({"shortestInterval": 600}, 300, "quiet"),
        ({}, 59.98, "fire"),
        ({}, 49, "quiet"),
    ],
    ids=["default", "more intervals", "longer shortest interval", "almost a minute", "too short"],
)
def test_overdue_intervals(values: dict[str, Any], interval: float, outcome: str, tmp_path: Path) -> None:
    """It last ran at the beginning."""
    groups = rendered(**values)
    series = {
        **_group_with("celery_task_last_success_timestamp_seconds", 'name="t"', "0x90"),
        **_group_with("celery_task_interval_seconds", 'name="t"', f"{interval}x90"),
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"30m": {outcome: {"CeleryPeriodicTaskOverdue"}}}))])


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "outcome"), [(0.95, "quiet"), (0.7, "fire")])
def test_busy_ratio(ratio: float, outcome: str, tmp_path: Path) -> None:
    """Three of four processes are busy."""
    groups = rendered(busyRatio=ratio)
    series = {
        **_group_with("celery_worker_active_tasks", 'worker="w"', "3x90"),
        **_group_with("celery_worker_pool_processes", 'worker="w"', "4x90"),
        **_group_with("celery_queue_length", 'queue="q"', "9x90"),
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"60m": {outcome: {"CeleryWorkersFull"}}}))])


@pytest.mark.slow
@pytest.mark.parametrize(("budget", "outcome"), [(0.01, "fire"), (0.05, "quiet")])
def test_failure_budget(budget: float, outcome: str, tmp_path: Path) -> None:
    """One of five tasks fails."""
    groups = rendered(failureBudget=budget)
    series = {
        **_group_with("celery_tasks_total", 'name="t", state="SUCCESS"', "0+80x90"),
        f'celery_tasks_total{{{GROUP}, name="t", state="FAILURE"}}': "0+20x90",
    }
    names = {"CeleryErrorBudgetBurnsFast", "CeleryErrorBudgetBurns"}
    promtool(tmp_path, groups, [_test(series, firing(groups, {"80m": {outcome: names}}))])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "outcome"), [(1, "fire"), (5, "quiet")])
def test_new_failures(count: int, outcome: str, tmp_path: Path) -> None:
    groups = rendered(newFailures=count)
    series = {
        **_group_with("flower_scrape_extra_success", 'extra="failures"', "1x90"),
        **_group_with("celery_task_failures", 'name="t", exception="ValueError"', "_x70 3x20"),
    }
    promtool(tmp_path, groups, [_test(series, firing(groups, {"80m": {outcome: {"CeleryNewException"}}}))])


def _test(series: dict[str, str], expectations: list[dict[str, Any]]) -> dict[str, Any]:
    given = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": given, "promql_expr_test": expectations}
