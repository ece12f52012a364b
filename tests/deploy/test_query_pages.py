"""The queries, objects and names in three pages of docs/ are right.

The pages are migration.md, autoscaling.md and alertmanager.md.
"""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from push_job.checks.alert_names import ALERT_NAMES
from push_job.metrics.extras import EXTRAS, families_with
from release.render import ROOT
from testbed.command import PushJob
from testbed.services import Prometheus, Pushgateway
from tests.deploy.kubernetes import KUBERNETES, valid
from tests.deploy.test_run_pages import blocks
from tests.fakes.http import ScriptedServer, json_answer

AUTOSCALING, ALERTMANAGER, MIGRATION = (
    ROOT / f"docs/{name}.md" for name in ("autoscaling", "alertmanager", "migration")
)

#: The fields of KEDA's ScaledObject that the page uses, and the options of its Prometheus scaler (all strings). Written
#: by hand from kedacore/keda at commit of 2026-08-20: config/crd/bases/keda.sh_scaledobjects.yaml and
#: pkg/scalers/prometheus_scaler.go.
NUMBER = {"type": "integer", "minimum": 0}
SCALER = ("serverAddress", "query", "threshold", "activationThreshold", "ignoreNullValues")
SCALED_OBJECT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["scaleTargetRef", "triggers"],
    "properties": {
        "scaleTargetRef": {"type": "object", "required": ["name"]},
        **dict.fromkeys(("minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod"), NUMBER),
        "fallback": {
            "type": "object",
            "additionalProperties": False,
            "required": ["failureThreshold", "replicas"],
            "properties": {"failureThreshold": NUMBER, "replicas": NUMBER},
        },
        "triggers": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["type", "metadata"],
                "properties": {
                    "type": {"const": "prometheus"},
                    "metricType": {"enum": ["AverageValue", "Value", "Utilization"]},
                    "metadata": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": list(SCALER[:3]),
                        "properties": {name: {"type": "string"} for name in SCALER},
                    },
                },
            },
        },
    },
}


def objects(kind: str) -> dict[str, Any]:
    [found] = [found for block in blocks(AUTOSCALING, "yaml") if (found := yaml.safe_load(block)).get("kind") == kind]
    return dict(found)


def adapter_query() -> str:
    [rules] = [
        yaml.safe_load(block)["externalRules"] for block in blocks(AUTOSCALING, "yaml") if "externalRules" in block
    ]
    return str(rules[0]["metricsQuery"])


def test_scaled_object_is_valid_and_takes_no_data_for_an_error() -> None:
    spec = objects("ScaledObject")["spec"]
    jsonschema.Draft202012Validator(SCALED_OBJECT).validate(spec)
    [trigger] = spec["triggers"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert spec["fallback"]["replicas"] > 0


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_horizontal_pod_autoscaler_is_valid(kubernetes: str) -> None:
    valid(objects("HorizontalPodAutoscaler"), kubernetes)


def test_both_autoscalers_use_the_backlog() -> None:
    backlog, _ = (" ".join(block.split()) for block in blocks(AUTOSCALING, "promql"))
    [trigger] = objects("ScaledObject")["spec"]["triggers"]
    assert backlog == trigger["metadata"]["query"] == adapter_query()


def test_backlog_in_a_real_prometheus_is_empty_without_fresh_data(
    clean_pushgateway: Pushgateway, prometheus: Prometheus, push_job: PushJob
) -> None:
    """Four messages wait, two tasks run, and two workers are alive."""
    states = ["STARTED", "RECEIVED", "SUCCESS"]
    tasks = {state: {"name": "t", "state": state, "timestamp": time.time(), "runtime": 1} for state in states}
    answers = {
        "/api/workers": json_answer({"celery@a": True, "celery@b": True, "celery@dead": False}),
        "/api/tasks": json_answer(tasks),
        "/api/queues/length": json_answer({"active_queues": [{"name": "celery", "messages": 4}]}),
    }
    backlog, per_worker = (block.replace('"flower"', '"scaled"') for block in blocks(AUTOSCALING, "promql"))
    given = ("--job", "scaled", "--pushgateway", clean_pushgateway.url)
    with ScriptedServer(answers) as flower:
        assert push_job("push", *given, "--with", "queues", "--flower", flower.url).returncode == 0
    prometheus.wait_for_scrape()
    assert [value for _, value in prometheus.query(backlog)] == [6]
    assert [value for _, value in prometheus.query(per_worker)] == [3]
    for old in (backlog.replace("< 120", "< 0"), per_worker.replace("< 120", "< 0")):
        assert prometheus.query(old) == []
    # Flower is down now: 0 would stop all workers.
    assert push_job("push", *given, "--with", "queues", "--flower", flower.url, "--deadline", "2").returncode == 1
    prometheus.wait_for_scrape()
    assert prometheus.query(backlog) == prometheus.query(per_worker) == []
    # The broker is down, and the extra fails.
    with ScriptedServer({name: answer for name, answer in answers.items() if "queues" not in name}) as flower:
        assert push_job("push", *given, "--with", "queues", "--flower", flower.url).returncode == 0
    prometheus.wait_for_scrape()
    assert prometheus.query(backlog) == []


def migration_queries() -> list[str]:
    """Return the code in the second column of each table.

    Names of alerts and options are left out.
    """
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1] for line in MIGRATION.read_text(encoding="utf-8").splitlines() if "|" in line
    ]
    found = [text for row in rows for text in re.findall(r"`([^`]+)`", row[1])]
    return [text.replace("\\|", "|") for text in found if not text.startswith(("PUSH_JOB", "--", "honor_labels"))]


@pytest.mark.slow
def test_queries_of_the_migration_page_are_valid_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"page:query:{number}", "expr": re.sub(r"\{(\w+,?)+\}", "", query)}
        for number, query in enumerate(migration_queries())
    ]
    assert len(rules) > 15
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "page", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_of_the_migration_page_exist() -> None:
    known = {name for family in families_with(EXTRAS) for name in family.sample_names}
    named = {name for query in migration_queries() for name in re.findall(r"\b(?:celery|flower)_\w+", query)}
    passed_on = {"flower_events_total", "flower_task_runtime_seconds"}
    assert named <= known | passed_on | {"celery_task_runtime_seconds"}


def test_routes_and_inhibitions_name_existing_alerts() -> None:
    [block] = blocks(ALERTMANAGER, "yaml")
    config = yaml.safe_load(block)
    receivers = {receiver["name"] for receiver in config["receivers"]}
    assert {route["receiver"] for route in (config["route"], *config["route"]["routes"])} == receivers
    matchers = [matcher for route in config["route"]["routes"] for matcher in route["matchers"]]
    matchers += [
        matcher
        for rule in config["inhibit_rules"]
        for key in ("source", "target")
        for matcher in rule[f"{key}_matchers"]
    ]
    for matcher in matchers:
        label, operator, value = re.fullmatch(r'(\w+) (=~|=) "([^"]+)"', matcher).groups()  # type: ignore[union-attr]
        if label == "alertname":
            for part in value.split("|") if operator == "=~" else [value]:
                assert any(re.fullmatch(part, name) for name in ALERT_NAMES), part
