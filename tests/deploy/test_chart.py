"""The chart: equal to the manifests by default, valid with other values."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from push_job import __version__
from push_job.metrics.extras import EXTRAS
from release.render import CHART, HELM_LABELS, Manifest, helm, template, without_helms_labels
from tests.deploy import command_line, restricted
from tests.deploy.chart_values import REFUSED, SETS, STACK
from tests.deploy.kubernetes import KUBERNETES, valid
from tests.deploy.manifests import CRONJOB, build, container_of, environment, of_kind, pod_of

# The values that correspond to each folder.
FOLDERS: dict[str, dict[str, Any]] = {
    "": {},
    "sharded": {"shards": 3},
    "loop": {"mode": "loop"},
    "state": {"state": {"enabled": True}},
    "kube-prometheus-stack": STACK,
}


def by_name(objects: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(found["kind"], found["metadata"]["name"]): found for found in objects}


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda name: name or "base")
def test_chart_and_folder_create_the_same_objects(folder: str) -> None:
    made = by_name([without_helms_labels(found) for found in template(FOLDERS[folder], "--skip-tests")])
    for found in made.values():
        # The chart restarts the loop by a checksum; the folder needs `kubectl rollout restart`.
        if found["kind"] == "Deployment":
            metadata = found["spec"]["template"]["metadata"]
            assert (metadata.pop("annotations", {}).keys() == {"checksum/settings"}) is (folder == "loop")
    expected = by_name(build(CRONJOB / folder))
    assert made.keys() == expected.keys()
    for name, found in made.items():
        assert found == expected[name], name


@pytest.mark.slow
def test_objects_of_every_set_of_values_are_valid_and_hardened() -> None:
    assert len(SETS) >= 100
    for name, values in SETS.items():
        # OpenShift sets the user.
        expected = ["runAsUser"] if name.endswith("openshift") else []
        for found in template(values, release="mine"):
            for kubernetes in KUBERNETES:
                valid(found, kubernetes)
            assert "namespace" not in found["metadata"] or "namespace" in str(values), name
            if found["metadata"]["labels"]["app.kubernetes.io/name"] != "more":
                assert found["metadata"]["labels"].keys() >= HELM_LABELS, name
                assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "mine", name
            pod = pod_of(found)
            if pod:
                assert restricted.violations(pod) == expected, name
                assert pod["automountServiceAccountToken"] is False, name
            for container in pod.get("containers", []):
                variables = [entry["name"] for entry in container.get("env", [])]
                assert len(variables) == len(set(variables)), name


def test_chart_and_program_have_the_same_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__


@pytest.mark.slow
def test_helm_lint_finds_nothing() -> None:
    run = helm("lint", "--strict", CHART)
    assert run.returncode == 0, run.stdout + run.stderr
    assert not re.search(r"WARNING|ERROR", run.stdout)


@pytest.mark.slow
def test_two_releases_in_a_namespace_share_no_object() -> None:
    made = [
        by_name(template({**STACK, "pushgateway": {"enabled": True}}, release=release)).keys()
        for release in ("one", "two")
    ]
    assert made[0].isdisjoint(made[1])


@pytest.mark.slow
def test_changing_mode_or_shards_replaces_the_old_objects() -> None:
    """The old object is removed; shards replace the CronJob in place."""
    way = {"CronJob", "Deployment"}
    made = [{name for name in by_name(template(values)) if name[0] in way} for values in ({}, {"mode": "loop"})]
    assert made == [{("CronJob", "flower-push-job")}, {("Deployment", "flower-push-job")}]
    assert {name for name in by_name(template({"shards": 3})) if name[0] in way} == made[0]


def test_only_a_changed_setting_restarts_the_loop() -> None:
    def checksum(**values: Any) -> str:
        deployment = of_kind("Deployment", template({"mode": "loop", **values}))
        return str(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/settings"])

    assert checksum() == checksum(nodeSelector={"disk": "ssd"})
    assert checksum() != checksum(flowers=["http://other:5555"])


def test_values_are_passed_to_settings_and_groups() -> None:
    values = {
        "flowers": ["http://a:1", "http://b:2"],
        "with": ["queues", "waits"],
        "grouping": {"team": "shop", "site": 2},
        "settings": {"PUSH_JOB_PAGE_SIZE": 100000, "PUSH_JOB_VERBOSE": True},
    }
    objects = template(values)
    settings = environment(container_of("CronJob", objects), objects, {})
    assert settings["PUSH_JOB_FLOWER"] == "http://a:1 http://b:2"
    assert settings["PUSH_JOB_WITH"] == "queues waits"
    assert settings["PUSH_JOB_GROUPING"] == "namespace=shop site=2 team=shop"
    assert settings["PUSH_JOB_PAGE_SIZE"] == "100000"
    assert settings["PUSH_JOB_VERBOSE"] == "true"
    assert settings.keys() - {"POD_NAMESPACE"} <= command_line.variables()


@pytest.mark.slow
def test_limits_of_the_loop_depend_on_interval_and_deadline() -> None:
    objects = template({"mode": "loop", "deadline": 100, "loop": {"every": 200}})
    container = container_of("Deployment", objects)
    assert container["args"][:3] == ["run", "--every", "200"]
    assert container["livenessProbe"]["exec"]["command"][-1].endswith("> 600)")
    assert container["livenessProbe"]["initialDelaySeconds"] > 100
    assert pod_of(of_kind("Deployment", objects))["terminationGracePeriodSeconds"] > 100


@pytest.mark.slow
def test_helm_test_runs_check_with_the_settings_of_the_job() -> None:
    objects = template({"podLabels": {"team": "shop"}, "networkPolicy": {"enabled": True}, "state": {"enabled": True}})
    test = of_kind("Job", objects)
    [container] = pod_of(test)["containers"]
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert container["args"] == ["check"]
    job = container_of("CronJob", objects)
    assert {key: container[key] for key in ("image", "env", "envFrom")} == {
        key: job[key] for key in ("image", "env", "envFrom")
    }
    policy = of_kind("NetworkPolicy", objects)["spec"]["podSelector"]["matchLabels"]
    assert policy.items() <= test["spec"]["template"]["metadata"]["labels"].items()


def test_finished_helm_test_goes_by_itself_and_holds_no_volume() -> None:
    """Helm does not remove it with the release, and a finished pod holds its claims."""
    test = of_kind("Job", template({"state": {"enabled": True}}))
    assert test["spec"]["ttlSecondsAfterFinished"] <= 600
    assert not [volume for volume in pod_of(test)["volumes"] if "persistentVolumeClaim" in volume]


@pytest.mark.slow
def test_wrong_values_are_refused_with_one_line() -> None:
    for values, named in REFUSED:
        with pytest.raises(ValueError, match=re.escape(named)) as refused:
            template(values)
        found = re.findall(r"^(?:Error: execution error|- at ).*", str(refused.value), re.MULTILINE)
        assert [named in line for line in found] == [True], refused.value
        assert "secret@" not in str(refused.value)


@pytest.mark.slow
def test_command_in_the_readme_installs_everything() -> None:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    [install] = re.findall(r"^\$ helm install (.+)$", text, re.MULTILINE)
    run = helm("template", *shlex.split(install))
    assert run.returncode == 0, run.stderr
    kinds = {found["kind"] for found in yaml.safe_load_all(run.stdout) if found}
    assert {"Deployment", "PrometheusRule", "ServiceMonitor"} <= kinds


@pytest.mark.slow
@pytest.mark.parametrize(("enabled", "objects"), [("true", 5), ("false", 0)])
def test_another_chart_can_switch_it_off(enabled: str, objects: int, tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    shutil.copytree(CHART, tmp_path / "charts" / CHART.name)
    dependency = {"name": CHART.name, "version": __version__, "condition": f"{CHART.name}.enabled"}
    parent = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(parent))
    run = helm("template", "x", tmp_path, "--set", f"{CHART.name}.enabled={enabled},{CHART.name}.state.enabled=true")
    assert run.returncode == 0, run.stderr
    assert len([found for found in yaml.safe_load_all(run.stdout) if found]) == objects


def notes(*values: str) -> str:
    run = helm("install", "x", CHART, "--dry-run=client", *(word for value in values for word in ("--set", value)))
    assert run.returncode == 0, run.stderr
    return run.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.slow
def test_notes_say_what_may_block_the_pods() -> None:
    assert "helm test x" in notes()
    assert "StorageClass" not in notes()
    assert "StorageClass" in notes("state.enabled=true")
    assert "StorageClass" in notes("pushgateway.enabled=true", "pushgateway.persistence.enabled=true")
    assert "StorageClass" not in notes("state.enabled=true", "state.storageClassName=fast")
    policy = notes("networkPolicy.enabled=true", "networkPolicy.flower.podLabels.app=mine")
    assert '{"app":"mine"} on port 5555' in policy
    assert "app.kubernetes.io/name" in notes("networkPolicy.enabled=true")


@pytest.mark.slow
def test_selectors_of_the_policy_replace_the_defaults() -> None:
    labels = {"dns.operator.openshift.io/daemonset-dns": "default"}
    policy = {"enabled": True, "dns": {"podLabels": labels}, "flower": {"podLabels": {"app": "flower"}}}
    egress = of_kind("NetworkPolicy", template({"networkPolicy": policy}))["spec"]["egress"]
    selected = [rule["to"][0]["podSelector"]["matchLabels"] for rule in egress]
    assert selected == [labels, {"app": "flower"}, {"app.kubernetes.io/name": "prometheus-pushgateway"}]


@pytest.mark.slow
def test_service_monitor_selects_only_its_own_pushgateway() -> None:
    values = {"pushgateway": {"enabled": True}, "serviceMonitor": {"enabled": True, "namespace": "monitoring"}}
    objects = template(values, release="mine")
    spec = of_kind("ServiceMonitor", objects)["spec"]
    selector = spec["selector"]["matchLabels"]
    assert selector["app.kubernetes.io/instance"] == "mine"
    assert selector.items() <= of_kind("Service", objects)["metadata"]["labels"].items()
    assert spec["namespaceSelector"] == {"matchNames": ["default"]}


@pytest.mark.slow
def test_extras_follow_rules_and_dashboards() -> None:
    def extras(**values: Any) -> str | None:
        data = of_kind("ConfigMap", [f for f in template(values) if "PUSH_JOB_FLOWER" in f.get("data", {})])["data"]
        found: str | None = data.get("PUSH_JOB_WITH")
        return found

    on = {"enabled": True}
    every = set(EXTRAS) - {"flower-metrics", "totals"}
    assert extras() is None
    assert set((extras(rules=on) or "").split()) == set((extras(dashboards=on) or "").split()) == every
    assert extras(rules=on, **{"with": ["queues"]}) == "queues"
    assert extras(rules=on, **{"with": []}) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "age", "selected"),
    [
        ("* * * * *", 300, "300"),
        ("*/2 * * * *", 360, "900"),
        ("*/5 * * * *", 900, "900"),
        ("7-59/15 * * * *", 2700, "3600"),
    ],
)
def test_limit_of_old_data_follows_the_schedule(schedule: str, age: int, selected: str) -> None:
    values = {"rules": {"enabled": True}, "dashboards": {"enabled": True}, "cronjob": {"schedule": schedule}}
    objects = template(values)
    assert re.search(rf"push_time_seconds > {age}\b", str(of_kind("PrometheusRule", objects)))
    boards = [json.loads(text) for found in objects for name, text in found.get("data", {}).items() if ".json" in name]
    assert boards
    for board in boards:
        [variable] = [variable for variable in board["templating"]["list"] if variable["name"] == "max_age"]
        assert variable["current"]["value"] == selected
        assert [option["value"] for option in variable["options"] if option["selected"]] == [selected]


@pytest.mark.slow
def test_sign_in_comes_from_the_secret() -> None:
    auth = {"existingSecret": "mine", "usernameKey": "user"}
    values = {"flower": {"auth": auth}, "pushgateway": {"auth": {"existingSecret": "other"}}}
    variables = {entry["name"]: entry.get("valueFrom") for entry in container_of("CronJob", template(values))["env"]}
    assert variables["PUSH_JOB_FLOWER_USERNAME"] == {"secretKeyRef": {"name": "mine", "key": "user"}}
    assert variables["PUSH_JOB_FLOWER_PASSWORD"] == {"secretKeyRef": {"name": "mine", "key": "password"}}
    assert variables["PUSH_JOB_PUSHGATEWAY_PASSWORD"] == {"secretKeyRef": {"name": "other", "key": "password"}}
    assert variables.keys() - {"POD_NAMESPACE"} <= command_line.variables()
