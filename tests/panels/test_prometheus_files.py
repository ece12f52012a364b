"""Configuration and rules are valid, and every alert is tested firing and quiet."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.panels.boards import ROOT
from tests.panels.test_every_query import rules

PROMETHEUS = ROOT / "prometheus"

ALERTS = sorted(rule["alert"] for rule in rules() if "alert" in rule)


def promtool(*arguments: str | Path) -> None:
    """Run promtool; fail with its output."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rule_tests() -> list[Path]:
    """Return the files with promtool's tests."""
    return sorted(PROMETHEUS.glob("tests/*.yml"))


@cache
def alert_tests() -> list[dict[str, Any]]:
    """Return every expectation about an alert."""
    tests = [test for path in rule_tests() for test in yaml.safe_load(path.read_text())["tests"]]
    return [expectation for test in tests for expectation in test.get("alert_rule_test", [])]


@pytest.mark.slow
def test_configuration_and_rules_are_valid() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", *sorted(PROMETHEUS.glob("rules/*.yml")))


@pytest.mark.slow
@pytest.mark.parametrize("path", rule_tests(), ids=lambda path: path.name)
def test_promtool_tests_pass(path: Path) -> None:
    promtool("test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_is_tested_firing_and_quiet(alert: str) -> None:
    fires = {bool(test["exp_alerts"]) for test in alert_tests() if test["alertname"] == alert}
    assert fires == {True, False}


def test_alerts_have_severity_summary_description_and_runbook() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
            assert rule["for"], rule["alert"]
            assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, rule["alert"]
            assert rule["annotations"]["description"].endswith("."), rule["alert"]
            assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{rule['alert'].lower()}"


def test_rules_ignore_groups_whose_flower_is_down() -> None:
    """No rule has a bare `and flower_up`, which is also true for the value 0.

    A rule that looks back would see the values before Flower went down.
    """
    for path in PROMETHEUS.glob("rules/*.yml"):
        assert not re.findall(r"flower_up\)", path.read_text()), path


def test_rules_use_one_age_limit() -> None:
    """The dashboards' default is read from the rules (grafana/alert_limits.py)."""
    for path in PROMETHEUS.glob("rules/*.yml"):
        text = path.read_text()
        assert text.count("time() - push_time_seconds") == text.count("push_time_seconds < 300") + text.count(
            "push_time_seconds > 300"
        )


def test_every_guard_hides_groups_whose_next_push_is_late() -> None:
    late = re.compile(
        r"push_time_seconds < 300( and flower_up == 1)?\s+"
        r"unless timestamp\(push_time_seconds\) - push_time_seconds > push_job_max_age_seconds\s+\)"
    )
    for path in PROMETHEUS.glob("rules/*.yml"):
        text = path.read_text()
        assert len(late.findall(text)) == text.count("push_time_seconds < 300"), path
