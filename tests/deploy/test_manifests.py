"""The manifests: valid, hardened, and consistent with the command line."""

import copy
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from push_job.metrics.extras import EXTRAS
from release.render import ROOT, Manifest
from tests.deploy import operator, restricted
from tests.deploy.kubernetes import KUBERNETES, SUPPORTED, valid
from tests.deploy.manifests import COMPONENTS, CRONJOB, ENTRY_POINTS, WAYS, build, container_of, of_kind, pod_of, read

COMBINED = [(), *((name,) for name in COMPONENTS), tuple(COMPONENTS)]
PERIOD = 60  # seconds between two runs of "* * * * *"

every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS, ids=lambda name: name or "base")


def pods() -> list[Any]:
    """Return every pod of every entry point as pytest parameters."""
    found = ((name, manifest) for name in ENTRY_POINTS for manifest in build(CRONJOB / name) if pod_of(manifest))
    return [pytest.param(pod_of(manifest), id=f"{name or 'base'}-{manifest['kind']}") for name, manifest in found]


def kustomization(folder: Path, resources: list[Path], components: Iterable[str] = (), **fields: Any) -> Path:
    """Create a user's own folder with these resources, components and fields."""
    relative = [os.path.relpath(path, folder) for path in resources]
    text = {"resources": relative, **fields}
    text["components"] = [os.path.relpath(CRONJOB / "components" / name, folder) for name in components]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return folder


def job_spec(entry_point: str) -> Manifest:
    """Return the specification of the CronJob's Jobs."""
    spec: Manifest = of_kind("CronJob", build(CRONJOB / entry_point))["spec"]["jobTemplate"]["spec"]
    return spec


@pytest.mark.slow
@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("components", COMBINED, ids=lambda names: "+".join(names) or "alone")
@every_entry_point
def test_objects_are_valid_with_each_component_and_with_all(
    entry_point: str, components: tuple[str, ...], kubernetes: str, tmp_path: Path
) -> None:
    stack = {"service-monitor", "rules", "dashboards", "extras"}
    given = {"kube-prometheus-stack": stack, "state": {"state"}}.get(entry_point, set())
    if entry_point not in {"pushgateway", "kube-prometheus-stack"}:
        given |= {"pushgateway-volume"}
    added = [name for name in components if name not in given]
    for manifest in build(kustomization(tmp_path, resources=[CRONJOB / entry_point], components=added)):
        valid(manifest, kubernetes)


@pytest.mark.slow
@pytest.mark.parametrize("kubernetes", SUPPORTED)
def test_objects_are_valid_in_each_supported_version(kubernetes: str) -> None:
    for entry_point in ENTRY_POINTS:
        for manifest in build(CRONJOB / entry_point):
            valid(manifest, kubernetes)


def test_supported_versions_start_at_1_29_without_gaps() -> None:
    minors = [Version(version).minor for version in SUPPORTED]
    assert minors == list(range(29, minors[-1] + 1))
    assert minors[-1] >= 37
    assert "Kubernetes 1.29 or newer" in (ROOT / "docs/run-cluster.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_example_secret_is_valid(kubernetes: str) -> None:
    [secret] = read(CRONJOB / "base/secret.example.yaml")
    valid(secret, kubernetes)


@pytest.mark.slow
def test_misspelt_field_is_invalid() -> None:
    import jsonschema

    cronjob = of_kind("CronJob", build(CRONJOB))
    cronjob["spec"]["concurencyPolicy"] = cronjob["spec"].pop("concurrencyPolicy")
    with pytest.raises(jsonschema.ValidationError, match="concurencyPolicy"):
        valid(cronjob, KUBERNETES[-1])


@pytest.mark.slow
def test_misspelt_field_of_an_operator_kind_is_invalid() -> None:
    import jsonschema

    rule = of_kind("PrometheusRule", build(CRONJOB / "kube-prometheus-stack"))
    rule["spec"]["groups"][0]["rules"][0]["expression"] = "1"
    with pytest.raises(jsonschema.ValidationError, match="expression"):
        operator.validate(rule)
    monitor = of_kind("ServiceMonitor", build(CRONJOB / "kube-prometheus-stack"))
    monitor["spec"]["endpoints"][0]["honourLabels"] = True
    with pytest.raises(jsonschema.ValidationError, match="honourLabels"):
        operator.validate(monitor)


@every_entry_point
def test_entry_points_contain_their_workloads(entry_point: str) -> None:
    jobs, gateway = {"": "CronJob", "sharded": "CronJob", "loop": "Deployment", "state": "CronJob"}, "Deployment"
    wanted = {**{name: [kind] for name, kind in jobs.items()}, "pushgateway": [gateway]}
    wanted["kube-prometheus-stack"] = ["CronJob", gateway]
    kinds = sorted(found["kind"] for found in build(CRONJOB / entry_point) if pod_of(found))
    assert kinds == wanted[entry_point]


def test_only_the_stack_folder_needs_the_operator() -> None:
    """Without its CRDs, `kubectl apply -k` fails."""
    for name in (*WAYS, "pushgateway"):
        assert not any("monitoring.coreos.com" in found["apiVersion"] for found in build(CRONJOB / name))


@pytest.mark.parametrize("pod", pods())
def test_pods_satisfy_the_restricted_standard_and_have_no_token(pod: Manifest) -> None:
    assert restricted.violations(pod) == []
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize(
    "path",
    [
        ("securityContext", "runAsNonRoot"),
        ("securityContext", "runAsUser"),
        ("securityContext", "seccompProfile"),
        ("containers", 0, "securityContext", "allowPrivilegeEscalation"),
        ("containers", 0, "securityContext", "capabilities"),
        ("containers", 0, "securityContext", "readOnlyRootFilesystem"),
    ],
    ids=lambda path: str(path[-1]),
)
def test_removed_hardening_is_found(path: tuple[str | int, ...]) -> None:
    pod = copy.deepcopy(pod_of(of_kind("CronJob", build(CRONJOB))))
    place: Any = pod
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    assert [broken for broken in restricted.violations(pod) if str(path[-1]) in broken]


@pytest.mark.parametrize(
    ("field", "value"),
    [("hostNetwork", True), ("hostPID", True), ("volumes", [{"name": "root", "hostPath": {"path": "/"}}])],
)
def test_access_to_the_node_is_found(field: str, value: object) -> None:
    pod = {**pod_of(of_kind("CronJob", build(CRONJOB))), field: value}
    assert len(restricted.violations(pod)) == 1


@pytest.mark.parametrize("entry_point", ["", "sharded"], ids=["base", "sharded"])
def test_deadlines_are_nested_within_the_minute(entry_point: str) -> None:
    objects = build(CRONJOB / entry_point)
    cronjob, job = of_kind("CronJob", objects)["spec"], job_spec(entry_point)
    deadline = float(of_kind("ConfigMap", objects)["data"]["PUSH_JOB_DEADLINE"])
    latest_end = job["activeDeadlineSeconds"] + pod_of(of_kind("CronJob", objects))["terminationGracePeriodSeconds"]
    assert cronjob["schedule"] == "* * * * *"
    assert deadline < job["activeDeadlineSeconds"] < latest_end < PERIOD
    assert 10 <= cronjob["startingDeadlineSeconds"] < PERIOD


def test_cronjob_does_not_overlap_or_retry_and_cleans_up() -> None:
    cronjob, job = of_kind("CronJob", build(CRONJOB))["spec"], job_spec("")
    assert cronjob["concurrencyPolicy"] == "Forbid"
    assert job["backoffLimit"] == 0
    assert pod_of(of_kind("CronJob", build(CRONJOB)))["restartPolicy"] == "Never"
    assert cronjob["successfulJobsHistoryLimit"] + cronjob["failedJobsHistoryLimit"] <= 5


@pytest.mark.parametrize("entry_point", ["", "sharded"], ids=["base", "sharded"])
def test_failed_job_is_deleted_before_kube_prometheus_alerts(entry_point: str) -> None:
    """KubeJobFailed fires 15 minutes after a Job failed."""
    assert job_spec(entry_point)["ttlSecondsAfterFinished"] < 15 * 60


@pytest.mark.parametrize("entry_point", WAYS, ids=lambda name: name or "base")
def test_env_overrides_no_setting_of_the_config_map(entry_point: str) -> None:
    """A variable of `env` in the ConfigMap would be ignored, so it is mentioned."""
    objects = build(CRONJOB / entry_point)
    container = container_of("Deployment" if entry_point == "loop" else "CronJob", objects)
    own = {entry["name"] for entry in container["env"] if entry["name"].startswith("PUSH_JOB_")}
    assert own.isdisjoint(of_kind("ConfigMap", objects)["data"])
    assert all(f"# {name} " in (CRONJOB / "base/settings.yaml").read_text(encoding="utf-8") for name in own)


def test_name_suffix_applies_to_the_mounted_secret(tmp_path: Path) -> None:
    """The folder declares the name of the Secret without containing it."""
    suffixed = kustomization(tmp_path, resources=[CRONJOB], nameSuffix="-two")
    [volume] = pod_of(of_kind("CronJob", build(suffixed)))["volumes"]
    assert volume["secret"]["secretName"] == "flower-push-job-two"


def test_two_jobs_in_a_namespace_have_their_own_selectors(tmp_path: Path) -> None:
    """Policies and Deployments select only their own pods (docs/run-cluster.md)."""
    label = {"pairs": {"app.kubernetes.io/instance": "two"}, "includeSelectors": True}
    folder = kustomization(tmp_path, [CRONJOB / "loop"], ["network-policy"], nameSuffix="-two", labels=[label])
    objects = build(folder)
    deployment = of_kind("Deployment", objects)["spec"]
    for labels in (deployment["selector"]["matchLabels"], deployment["template"]["metadata"]["labels"]):
        assert labels["app.kubernetes.io/instance"] == "two"
    policy = of_kind("NetworkPolicy", objects)["spec"]["podSelector"]["matchLabels"]
    assert policy["app.kubernetes.io/instance"] == "two"


@pytest.mark.parametrize("entry_point", [*WAYS, "kube-prometheus-stack"], ids=lambda name: name or "base")
def test_all_objects_of_the_job_have_name_and_instance(entry_point: str) -> None:
    for found in build(CRONJOB / entry_point):
        labels = found["metadata"]["labels"]
        if labels["app.kubernetes.io/name"] != "prometheus-pushgateway":
            assert labels["app.kubernetes.io/name"] == labels["app.kubernetes.io/instance"] == "flower-push-job"


@pytest.mark.slow
@pytest.mark.parametrize("entry_point", ENTRY_POINTS, ids=lambda name: name or "base")
def test_openshift_component_removes_user_ids_and_sets_dns(entry_point: str, tmp_path: Path) -> None:
    components = ["network-policy", "openshift"]
    objects = build(kustomization(tmp_path, resources=[CRONJOB / entry_point], components=components))
    for pod in filter(None, map(pod_of, objects)):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for policy in (found for found in objects if found["kind"] == "NetworkPolicy"):
        assert [port["port"] for port in policy["spec"]["egress"][0]["ports"]] == [5353, 5353]
        assert len(policy["spec"]["egress"]) == 3


def test_failed_shard_does_not_end_others() -> None:
    job = job_spec("sharded")
    assert "backoffLimit" not in job, "a common limit would end the other shards"
    assert job["backoffLimitPerIndex"] == 0
    assert "maxFailedIndexes" not in job


def test_number_of_shards_is_the_same_in_all_places() -> None:
    job = job_spec("sharded")
    [container] = job["template"]["spec"]["containers"]
    assert job["completionMode"] == "Indexed"
    assert container["args"] == ["push", "--shard", f"$(JOB_COMPLETION_INDEX)/{job['completions']}"]
    assert job["parallelism"] == job["completions"]


def test_loops_do_not_overlap_and_the_current_cycle_can_finish() -> None:
    objects = build(CRONJOB / "loop")
    deployment = of_kind("Deployment", objects)["spec"]
    deadline = float(of_kind("ConfigMap", objects)["data"]["PUSH_JOB_DEADLINE"])
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    assert pod_of(of_kind("Deployment", objects))["terminationGracePeriodSeconds"] > deadline


@pytest.mark.parametrize("entry_point", ["", "sharded", "loop"], ids=["base", "sharded", "loop"])
def test_files_in_the_settings_are_in_the_example_secret(entry_point: str) -> None:
    objects = build(CRONJOB / entry_point)
    [secret] = read(CRONJOB / "base/secret.example.yaml")
    kind = "Deployment" if entry_point == "loop" else "CronJob"
    [folder] = [m["mountPath"] for m in container_of(kind, objects)["volumeMounts"] if m["name"] == "credentials"]
    [volume] = [v["secret"] for v in pod_of(of_kind(kind, objects))["volumes"] if v["name"] == "credentials"]
    settings = (CRONJOB / "base/settings.yaml").read_text(encoding="utf-8")
    named = {line.partition(folder + "/")[2] for line in settings.splitlines() if folder in line}
    assert volume["secretName"] == secret["metadata"]["name"]
    assert named == secret["stringData"].keys()


def test_no_folder_creates_a_secret() -> None:
    """It would overwrite the user's Secret."""
    assert not [found for name in ENTRY_POINTS for found in build(CRONJOB / name) if found["kind"] == "Secret"]


@pytest.mark.parametrize("entry_point", ["", "sharded", "loop"], ids=["base", "sharded", "loop"])
def test_policy_allows_only_dns_flower_and_the_pushgateway(entry_point: str, tmp_path: Path) -> None:
    objects = build(kustomization(tmp_path, resources=[CRONJOB / entry_point], components=["network-policy"]))
    policy = of_kind("NetworkPolicy", objects)["spec"]
    settings = of_kind("ConfigMap", objects)["data"]
    owner = of_kind("Deployment" if entry_point == "loop" else "CronJob", objects)["spec"]
    template = owner.get("jobTemplate", {}).get("spec", owner)["template"]
    assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert all(rule["to"] for rule in policy["egress"]), "a rule without a destination allows every one"
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["egress"]]
    addresses = [settings[f"PUSH_JOB_{server}"] for server in ("FLOWER", "PUSHGATEWAY")]
    assert ports == [[53, 53], *([int(address.rpartition(":")[2])] for address in addresses)]


def test_settings_and_policy_match_the_pushgateway(tmp_path: Path) -> None:
    job = build(kustomization(tmp_path, resources=[CRONJOB], components=["network-policy"]))
    gateway = build(CRONJOB / "pushgateway")
    service = of_kind("Service", gateway)
    labels = of_kind("Deployment", gateway)["spec"]["template"]["metadata"]["labels"]
    url = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert of_kind("ConfigMap", job)["data"]["PUSH_JOB_PUSHGATEWAY"] == url
    assert service["spec"]["selector"].items() <= labels.items()
    [peer] = of_kind("NetworkPolicy", job)["spec"]["egress"][-1]["to"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()


def test_objects_are_small_enough_for_kubectl_apply() -> None:
    """Check the limit of 256 KiB for the annotation in which kubectl stores a copy."""
    for found in build(CRONJOB / "kube-prometheus-stack"):
        assert len(json.dumps(found)) < 256 * 1024 - 1000, found["metadata"]["name"]


def test_service_monitor_keeps_the_pushed_labels() -> None:
    objects = build(CRONJOB / "kube-prometheus-stack")
    service = of_kind("Service", objects)
    monitor = of_kind("ServiceMonitor", objects)
    # The instance too: another Pushgateway in the namespace may have a ServiceMonitor already.
    selector = {
        "app.kubernetes.io/name": "prometheus-pushgateway",
        "app.kubernetes.io/instance": "flower-push-job",
    }
    assert selector.items() <= service["metadata"]["labels"].items()
    assert monitor["spec"] == {
        "selector": {"matchLabels": selector},
        "endpoints": [
            {
                "port": service["spec"]["ports"][0]["name"],
                "interval": "15s",
                "honorLabels": True,
                "relabelings": [{"action": "labeldrop", "regex": "pod|container|node"}],
            }
        ],
    }


@pytest.mark.parametrize("component", ["rules", "dashboards"])
def test_extras_follow_rules_and_dashboards(component: str, tmp_path: Path) -> None:
    objects = build(kustomization(tmp_path, [CRONJOB / "loop"], [component]))
    [data] = [found["data"] for found in objects if "PUSH_JOB_FLOWER" in found.get("data", {})]
    # An extra that no rule and no panel needs is an exception here, and in test_chart.py.
    assert set(data["PUSH_JOB_WITH"].split()) == set(EXTRAS) - {"flower-metrics", "totals"}
