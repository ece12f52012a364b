"""The manifests: valid, hardened, in step with the command line, and their containers really push."""

import copy
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # has annotations, but no py.typed
import pytest
import yaml
from packaging.version import Version

from release.render import ROOT, Manifest
from tests.deploy import operator, restricted
from tests.deploy.kubernetes import KUBERNETES, SUPPORTED, valid
from tests.deploy.manifests import COMPONENTS, CRONJOB, ENTRY_POINTS, WAYS, build, container_of, of_kind, pod_of, read

COMBINED = [(), *((name,) for name in COMPONENTS), tuple(COMPONENTS)]
PERIOD = 60  # seconds between two runs of "* * * * *"

every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS, ids=lambda name: name or "base")


def pods() -> list[Any]:
    """Every pod of every entry point, as pytest parameters."""
    found = ((name, manifest) for name in ENTRY_POINTS for manifest in build(CRONJOB / name) if pod_of(manifest))
    return [pytest.param(pod_of(manifest), id=f"{name or 'base'}-{manifest['kind']}") for name, manifest in found]


def kustomization(folder: Path, resources: list[Path], components: Iterable[str] = (), **fields: Any) -> Path:
    """A folder of the reader's own, with these components of the project and other fields."""
    relative = [os.path.relpath(path, folder) for path in resources]
    text = {"resources": relative, **fields}
    text["components"] = [os.path.relpath(CRONJOB / "components" / name, folder) for name in components]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return folder


def job_spec(entry_point: str) -> Manifest:
    """The specification of the Jobs that the CronJob makes."""
    spec: Manifest = of_kind("CronJob", build(CRONJOB / entry_point))["spec"]["jobTemplate"]["spec"]
    return spec


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("components", COMBINED, ids=lambda names: "+".join(names) or "alone")
@every_entry_point
def test_every_object_is_valid_with_each_component_and_with_all(
    entry_point: str, components: tuple[str, ...], kubernetes: str, tmp_path: Path
) -> None:
    stack = {"service-monitor", "rules", "dashboards"}
    given = {"kube-prometheus-stack": stack, "state": {"state"}}.get(entry_point, set())
    added = [name for name in components if name not in given]
    for manifest in build(kustomization(tmp_path, resources=[CRONJOB / entry_point], components=added)):
        valid(manifest, kubernetes)


@pytest.mark.parametrize("kubernetes", SUPPORTED)
def test_every_object_is_valid_in_each_version_that_is_supported(kubernetes: str) -> None:
    for entry_point in ENTRY_POINTS:
        for manifest in build(CRONJOB / entry_point):
            valid(manifest, kubernetes)


def test_the_versions_that_are_supported_are_those_from_1_29_on_without_a_gap() -> None:
    minors = [Version(version).minor for version in SUPPORTED]
    assert minors == list(range(29, minors[-1] + 1))
    assert minors[-1] >= 37
    assert "Kubernetes 1.29 or newer" in (ROOT / "docs/run-cluster.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_the_example_secret_is_valid(kubernetes: str) -> None:
    [secret] = read(CRONJOB / "base/secret.example.yaml")
    kubernetes_validate.validate(secret, kubernetes, strict=True)


def test_a_misspelt_field_is_not_valid() -> None:
    cronjob = of_kind("CronJob", build(CRONJOB))
    cronjob["spec"]["concurencyPolicy"] = cronjob["spec"].pop("concurrencyPolicy")
    with pytest.raises(kubernetes_validate.ValidationError, match="concurencyPolicy"):
        kubernetes_validate.validate(cronjob, KUBERNETES[-1], strict=True)


def test_a_misspelt_field_of_the_operators_kinds_is_not_valid() -> None:
    rule = of_kind("PrometheusRule", build(CRONJOB / "kube-prometheus-stack"))
    rule["spec"]["groups"][0]["rules"][0]["expression"] = "1"
    with pytest.raises(jsonschema.ValidationError, match="expression"):
        operator.validate(rule)
    monitor = of_kind("ServiceMonitor", build(CRONJOB / "kube-prometheus-stack"))
    monitor["spec"]["endpoints"][0]["honourLabels"] = True
    with pytest.raises(jsonschema.ValidationError, match="honourLabels"):
        operator.validate(monitor)


@every_entry_point
def test_each_entry_point_has_what_it_is_for(entry_point: str) -> None:
    jobs, gateway = {"": "CronJob", "sharded": "CronJob", "loop": "Deployment", "state": "CronJob"}, "Deployment"
    wanted = {**{name: [kind] for name, kind in jobs.items()}, "pushgateway": [gateway]}
    wanted["kube-prometheus-stack"] = ["CronJob", gateway]
    kinds = sorted(found["kind"] for found in build(CRONJOB / entry_point) if pod_of(found))
    assert kinds == wanted[entry_point]


def test_what_needs_the_operator_is_in_no_way_that_works_without_it() -> None:
    """Without its CRDs `kubectl apply -k` would end with code 1."""
    for name in (*WAYS, "pushgateway"):
        assert not any("monitoring.coreos.com" in found["apiVersion"] for found in build(CRONJOB / name))


@pytest.mark.parametrize("pod", pods())
def test_every_pod_keeps_the_restricted_standard_and_gets_no_token(pod: Manifest) -> None:
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
def test_each_hardening_that_is_taken_away_is_noticed(path: tuple[str | int, ...]) -> None:
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
def test_a_pod_that_reaches_into_its_node_is_noticed(field: str, value: object) -> None:
    pod = {**pod_of(of_kind("CronJob", build(CRONJOB))), field: value}
    assert len(restricted.violations(pod)) == 1


@pytest.mark.parametrize("entry_point", ["", "sharded"], ids=["base", "sharded"])
def test_the_jobs_deadline_is_within_kubernetes_deadline_within_the_minute(entry_point: str) -> None:
    objects = build(CRONJOB / entry_point)
    cronjob, job = of_kind("CronJob", objects)["spec"], job_spec(entry_point)
    deadline = float(of_kind("ConfigMap", objects)["data"]["PUSH_JOB_DEADLINE"])
    last_moment = job["activeDeadlineSeconds"] + pod_of(of_kind("CronJob", objects))["terminationGracePeriodSeconds"]
    assert cronjob["schedule"] == "* * * * *"
    assert deadline < job["activeDeadlineSeconds"] < last_moment < PERIOD
    assert 10 <= cronjob["startingDeadlineSeconds"] < PERIOD


def test_the_cronjob_never_overlaps_never_retries_and_cleans_up() -> None:
    cronjob, job = of_kind("CronJob", build(CRONJOB))["spec"], job_spec("")
    assert cronjob["concurrencyPolicy"] == "Forbid"
    assert job["backoffLimit"] == 0
    assert pod_of(of_kind("CronJob", build(CRONJOB)))["restartPolicy"] == "Never"
    assert cronjob["successfulJobsHistoryLimit"] + cronjob["failedJobsHistoryLimit"] <= 5


@pytest.mark.parametrize("entry_point", ["", "sharded"], ids=["base", "sharded"])
def test_a_failed_job_is_gone_before_kube_prometheus_warns_of_it(entry_point: str) -> None:
    """KubeJobFailed fires when kube_job_failed of one Job is there for 15 minutes."""
    assert job_spec(entry_point)["ttlSecondsAfterFinished"] < 15 * 60


@pytest.mark.parametrize("entry_point", WAYS, ids=lambda name: name or "base")
def test_no_setting_of_the_config_map_is_overridden_by_the_pods_own(entry_point: str) -> None:
    """A line that somebody adds there, and that is then ignored, would be a trap: what `env` sets, the file says."""
    objects = build(CRONJOB / entry_point)
    container = container_of("Deployment" if entry_point == "loop" else "CronJob", objects)
    own = {entry["name"] for entry in container["env"] if entry["name"].startswith("PUSH_JOB_")}
    assert own.isdisjoint(of_kind("ConfigMap", objects)["data"])
    assert all(f"# {name} " in (CRONJOB / "base/settings.yaml").read_text(encoding="utf-8") for name in own)


def test_a_name_suffix_reaches_the_secret_that_the_pods_mount(tmp_path: Path) -> None:
    """The Secret is not part of the folder, which nevertheless has to know that this is its name."""
    suffixed = kustomization(tmp_path, resources=[CRONJOB], nameSuffix="-two")
    [volume] = pod_of(of_kind("CronJob", build(suffixed)))["volumes"]
    assert volume["secret"]["secretName"] == "flower-push-job-two"


def test_two_in_one_namespace_are_told_apart_by_their_instance(tmp_path: Path) -> None:
    """As docs/run-cluster.md has it: the selectors follow, so that no policy or Deployment has the other's pods."""
    label = {"pairs": {"app.kubernetes.io/instance": "two"}, "includeSelectors": True}
    objects = build(kustomization(tmp_path, resources=[CRONJOB / "loop"], nameSuffix="-two", labels=[label]))
    deployment = of_kind("Deployment", objects)["spec"]
    for labels in (deployment["selector"]["matchLabels"], deployment["template"]["metadata"]["labels"]):
        assert labels["app.kubernetes.io/instance"] == "two"
    policy = of_kind("NetworkPolicy", objects)["spec"]["podSelector"]["matchLabels"]
    assert policy["app.kubernetes.io/instance"] == "two"


@pytest.mark.parametrize("entry_point", [*WAYS, "kube-prometheus-stack"], ids=lambda name: name or "base")
def test_everything_of_the_job_carries_name_and_instance(entry_point: str) -> None:
    for found in build(CRONJOB / entry_point):
        labels = found["metadata"]["labels"]
        if labels["app.kubernetes.io/name"] != "prometheus-pushgateway":
            assert labels["app.kubernetes.io/name"] == labels["app.kubernetes.io/instance"] == "flower-push-job"


@pytest.mark.parametrize("entry_point", ENTRY_POINTS, ids=lambda name: name or "base")
def test_on_openshift_no_pod_asks_for_a_user_and_dns_is_where_it_is_there(entry_point: str, tmp_path: Path) -> None:
    objects = build(kustomization(tmp_path, resources=[CRONJOB / entry_point], components=["openshift"]))
    for pod in filter(None, map(pod_of, objects)):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for policy in (found for found in objects if found["kind"] == "NetworkPolicy"):
        assert [port["port"] for port in policy["spec"]["egress"][0]["ports"]] == [5353, 5353]
        assert len(policy["spec"]["egress"]) == 3


def test_a_failed_shard_ends_no_other_shard() -> None:
    job = job_spec("sharded")
    assert "backoffLimit" not in job, "one limit for all would end the other shards"
    assert job["backoffLimitPerIndex"] == 0
    assert "maxFailedIndexes" not in job


def test_the_number_of_shards_is_the_same_in_all_three_places() -> None:
    job = job_spec("sharded")
    [container] = job["template"]["spec"]["containers"]
    assert job["completionMode"] == "Indexed"
    assert container["args"] == ["push", "--shard", f"$(JOB_COMPLETION_INDEX)/{job['completions']}"]
    assert job["parallelism"] == job["completions"]


def test_two_loops_never_run_at_once_and_a_turn_may_finish() -> None:
    objects = build(CRONJOB / "loop")
    deployment = of_kind("Deployment", objects)["spec"]
    deadline = float(of_kind("ConfigMap", objects)["data"]["PUSH_JOB_DEADLINE"])
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    assert pod_of(of_kind("Deployment", objects))["terminationGracePeriodSeconds"] > deadline


@pytest.mark.parametrize("entry_point", ["", "sharded", "loop"], ids=["base", "sharded", "loop"])
def test_every_file_that_the_settings_name_is_mounted_from_the_example_secret(entry_point: str) -> None:
    objects = build(CRONJOB / entry_point)
    [secret] = read(CRONJOB / "base/secret.example.yaml")
    kind = "Deployment" if entry_point == "loop" else "CronJob"
    [folder] = [m["mountPath"] for m in container_of(kind, objects)["volumeMounts"] if m["name"] == "credentials"]
    [volume] = [v["secret"] for v in pod_of(of_kind(kind, objects))["volumes"] if v["name"] == "credentials"]
    settings = (CRONJOB / "base/settings.yaml").read_text(encoding="utf-8")
    named = {line.partition(folder + "/")[2] for line in settings.splitlines() if folder in line}
    assert volume["secretName"] == secret["metadata"]["name"]
    assert named == secret["stringData"].keys()


def test_applying_the_folder_creates_no_secret() -> None:
    """It would overwrite the real one with the example."""
    assert not [found for name in ENTRY_POINTS for found in build(CRONJOB / name) if found["kind"] == "Secret"]


@pytest.mark.parametrize("entry_point", ["", "sharded", "loop"], ids=["base", "sharded", "loop"])
def test_the_pods_reach_dns_flower_and_the_pushgateway_and_nothing_reaches_them(entry_point: str) -> None:
    objects = build(CRONJOB / entry_point)
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


def test_the_pushgateway_is_where_the_settings_and_the_policy_look_for_it() -> None:
    gateway, job = build(CRONJOB / "pushgateway"), build(CRONJOB)
    service = of_kind("Service", gateway)
    labels = of_kind("Deployment", gateway)["spec"]["template"]["metadata"]["labels"]
    url = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert of_kind("ConfigMap", job)["data"]["PUSH_JOB_PUSHGATEWAY"] == url
    assert service["spec"]["selector"].items() <= labels.items()
    [peer] = of_kind("NetworkPolicy", job)["spec"]["egress"][-1]["to"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()


def test_no_object_is_too_large_for_kubectl_apply() -> None:
    """Which keeps each object once more in an annotation of its own, of at most 256 KiB."""
    for found in build(CRONJOB / "kube-prometheus-stack"):
        assert len(json.dumps(found)) < 256 * 1024 - 1000, found["metadata"]["name"]


def test_prometheus_is_told_to_keep_the_pushed_labels() -> None:
    objects = build(CRONJOB / "kube-prometheus-stack")
    service = of_kind("Service", objects)
    monitor = of_kind("ServiceMonitor", objects)
    selector = {"app.kubernetes.io/name": "prometheus-pushgateway"}  # that of other charts has this one too
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
