"""promtool accepts the configuration and the rules, and the rules' own tests pass, the quiet side too."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.panels.boards import ROOT
from tests.panels.test_every_query import rules

PROMETHEUS = ROOT / "prometheus"

ALERTS = sorted(rule["alert"] for rule in rules() if "alert" in rule)


def promtool(*arguments: str | Path) -> None:
    """Run it; fail with what it says if it is not content."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rule_tests() -> list[Path]:
    """The files with promtool's tests."""
    return sorted(PROMETHEUS.glob("tests/*.yml"))


def alert_tests() -> list[dict[str, Any]]:
    """Every expectation about an alert in them."""
    tests = [test for path in rule_tests() for test in yaml.safe_load(path.read_text())["tests"]]
    return [expectation for test in tests for expectation in test.get("alert_rule_test", [])]


def test_promtool_accepts_the_configuration_and_finds_its_rules() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", *sorted(PROMETHEUS.glob("rules/*.yml")))


@pytest.mark.parametrize("path", rule_tests(), ids=lambda path: path.name)
def test_promtools_tests_of_the_rules_pass(path: Path) -> None:
    promtool("test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_tested_firing_and_quiet(alert: str) -> None:
    fires = {bool(test["exp_alerts"]) for test in alert_tests() if test["alertname"] == alert}
    assert fires == {True, False}


def test_each_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
            assert rule["for"], rule["alert"]
            assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, rule["alert"]
            assert rule["annotations"]["description"].endswith("."), rule["alert"]
            assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{rule['alert'].lower()}"


def test_the_rules_hide_what_the_dashboards_hide_unless_told_otherwise() -> None:
    """The dashboards' default limit of age is the rules' too: red panels and alerts begin together."""
    for path in PROMETHEUS.glob("rules/*.yml"):
        text = path.read_text()
        assert text.count("time() - push_time_seconds") == text.count("push_time_seconds < 300") + text.count(
            "push_time_seconds > 300"
        )
