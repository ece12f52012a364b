"""The chart: equal to the manifests by default, valid with other values."""

import re
import shlex
from typing import Any

import pytest
import yaml

from push_job import __version__
from release.render import CHART, HELM_LABELS, Manifest, helm, template, without_helms_labels
from tests.deploy import command_line, restricted
from tests.deploy.kubernetes import KUBERNETES, valid
from tests.deploy.manifests import CRONJOB, build, container_of, environment, of_kind, pod_of

STACK: dict[str, Any] = {
    **{name: {"enabled": True} for name in ("pushgateway", "dashboards")},
    **{name: {"enabled": True, "labels": {"release": "kube-prometheus-stack"}} for name in ("rules", "serviceMonitor")},
}
OPENSHIFT: dict[str, Any] = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
# The values that correspond to each folder.
FOLDERS: dict[str, dict[str, Any]] = {
    "": {},
    "sharded": {"shards": 3},
    "loop": {"mode": "loop"},
    "state": {"state": {"enabled": True}},
    "kube-prometheus-stack": STACK,
}
# Sets of values with different features enabled.
SETS: dict[str, dict[str, Any]] = {
    **{name or "base": values for name, values in FOLDERS.items()},
    "everything in a loop": {**STACK, "mode": "loop", "with": ["queues", "runtimes"], "grouping": {"team": "shop"}},
    "everything sharded": {**STACK, "shards": 7, "cronjob": {"suspend": True, "schedule": "*/2 * * * *"}},
    "bare": {"networkPolicy": {"enabled": False}, "serviceAccount": {"create": False}},
    "settings": {
        "flowers": ["https://a.example/flower", "http://b:5555"],
        "settings": {"PUSH_JOB_PAGE_SIZE": 5100, "PUSH_JOB_VERBOSE": True},
        "existingSecret": "mine",
        "pushgateway": {"url": "https://push.example/prefix"},
        "logFormat": "logfmt",
    },
    "pod settings": {
        "image": {"repository": "r.example/t/i", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "resources": {"limits": {"cpu": "200m"}},
        "extraEnv": [{"name": "NO_PROXY", "value": ".svc"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        "podLabels": {"team": "shop"},
        "podAnnotations": {"note": "x"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "priorityClassName": "high",
    },
    "openshift": {
        "podSecurityContext": OPENSHIFT,
        "pushgateway": {"enabled": True, "podSecurityContext": OPENSHIFT},
        "networkPolicy": {"dns": {"namespace": "openshift-dns", "port": 5353}},
    },
    "own state claim": {"mode": "loop", "state": {"enabled": True, "existingClaim": "mine"}},
    "alerts": {"rules": {"enabled": True, "for": {"FlowerDown": "9m"}, "disabled": ["FlowerUnsteady"]}},
}

every_set = pytest.mark.parametrize("values", SETS.values(), ids=SETS.keys())


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
@every_set
@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_objects_are_valid_with_other_values(values: dict[str, Any], kubernetes: str) -> None:
    for found in template(values):
        valid(found, kubernetes)


@pytest.mark.slow
@every_set
def test_pods_satisfy_the_restricted_standard_with_other_values(values: dict[str, Any]) -> None:
    # OpenShift sets the user.
    expected = ["runAsUser"] if values.get("podSecurityContext") is OPENSHIFT else []
    for pod in filter(None, map(pod_of, template(values))):
        assert restricted.violations(pod) == expected
        assert pod["automountServiceAccountToken"] is False


@pytest.mark.slow
@every_set
def test_objects_have_the_common_labels(values: dict[str, Any]) -> None:
    for found in template(values, release="mine"):
        assert found["metadata"]["labels"].keys() >= {*HELM_LABELS, "app.kubernetes.io/name"}
        assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "mine"


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
    """Except the Pushgateway, whose name is a value."""
    values = {name: value for name, value in STACK.items() if name not in {"pushgateway", "serviceMonitor"}}
    made = [by_name(template(values, release=release)).keys() for release in ("one", "two")]
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
    objects = template({"podLabels": {"team": "shop"}})
    pod = of_kind("Pod", objects)
    [container] = pod["spec"]["containers"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert container["args"] == ["check"]
    job = container_of("CronJob", objects)
    assert {key: container[key] for key in ("image", "env", "envFrom")} == {
        key: job[key] for key in ("image", "env", "envFrom")
    }
    policy = of_kind("NetworkPolicy", objects)["spec"]["podSelector"]["matchLabels"]
    assert policy.items() <= pod["metadata"]["labels"].items()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"shards": 0}, "/shards"),
        ({"shards": 2, "mode": "loop"}, "/shards"),
        ({"mode": "both"}, "/mode"),
        ({"with": ["quues"]}, "/with/0"),
        ({"flowers": []}, "/flowers"),
        ({"flowers": ["flower:5555"]}, "/flowers/0"),
        ({"settings": {"PUSH_JOB_PAGESIZE": 1}}, "PUSH_JOB_PAGESIZE"),
        ({"settings": {"PUSH_JOB_FLOWER": "http://a:1"}}, "PUSH_JOB_FLOWER"),
        ({"grouping": {"instance": "x"}}, "instance"),
        ({"grouping": {"namespace": "x"}}, "grouping.namespace"),
        ({"deadline": 55}, "deadline"),
        ({"cronjob": {"shedule": "* * * * *"}}, "shedule"),
        ({"cronjob": {"schedule": "every minute"}}, "/cronjob/schedule"),
        ({"loop": {"every": 0}}, "/loop/every"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"extraEnv": [{"name": "PUSH_JOB_GROUPING", "value": "a=b"}]}, "/extraEnv/0/name"),
        ({"pushgateway": {"url": "pushgateway:9091"}}, "/pushgateway/url"),
        ({"rules": {"age": -1}}, "/rules/age"),
        ({"rules": {"enabled": True, "for": {"FlowrDown": "5m"}}}, "FlowrDown"),
        ({"rules": {"enabled": True, "severity": {"FlowrDown": "info"}}}, "FlowrDown"),
        ({"rules": {"enabled": True, "disabled": ["FlowrDown"]}}, "FlowrDown"),
        ({"nonsense": 1}, "nonsense"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_value_is_rejected_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        template(values)


@pytest.mark.slow
def test_command_in_the_readme_installs_everything() -> None:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    [install] = re.findall(r"^\$ helm install (.+)$", text, re.MULTILINE)
    run = helm("template", *shlex.split(install))
    assert run.returncode == 0, run.stderr
    kinds = {found["kind"] for found in yaml.safe_load_all(run.stdout) if found}
    assert {"CronJob", "PrometheusRule", "ServiceMonitor", "PersistentVolumeClaim"} <= kinds
