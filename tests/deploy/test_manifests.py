"""The manifests: valid, hardened, in step with the command line, and their containers really push."""

import copy
import json
import shutil
import subprocess
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has annotations, but no py.typed
import kubernetes_validate.utils  # type: ignore[import-untyped]  # the same
import pytest
import yaml
from packaging.version import Version

from tests.deploy import restricted
from tests.deploy.manifests import (
    CRONJOB,
    ENTRY_POINTS,
    Manifest,
    build,
    container_of,
    of_kind,
    pod_of,
    read,
)

CARRIED = sorted({Version(version) for version in kubernetes_validate.utils.all_versions()})
KUBERNETES = [str(next(version for version in CARRIED if version >= Version("1.29"))), str(CARRIED[-1])]
WITHOUT_SCHEMA = {"ServiceMonitor"}  # a custom resource of the Prometheus Operator
PERIOD = 60  # seconds between two runs of "* * * * *"

every_entry_point = pytest.mark.parametrize("entry_point", ENTRY_POINTS, ids=lambda name: name or "base")


def pods() -> list[Any]:
    """Every pod of every entry point, as pytest parameters."""
    found = ((name, manifest) for name in ENTRY_POINTS for manifest in build(CRONJOB / name) if pod_of(manifest))
    return [pytest.param(pod_of(manifest), id=f"{name or 'base'}-{manifest['kind']}") for name, manifest in found]


def job_spec(entry_point: str) -> Manifest:
    """The specification of the Jobs that the CronJob makes."""
    spec: Manifest = of_kind("CronJob", build(CRONJOB / entry_point))["spec"]["jobTemplate"]["spec"]
    return spec


@every_entry_point
@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_object_is_valid(entry_point: str, kubernetes: str) -> None:
    for manifest in build(CRONJOB / entry_point):
        if manifest["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(manifest, kubernetes, strict=True)


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_the_example_secret_is_valid(kubernetes: str) -> None:
    [secret] = read(CRONJOB / "base/secret.example.yaml")
    kubernetes_validate.validate(secret, kubernetes, strict=True)


def test_a_misspelt_field_is_not_valid() -> None:
    cronjob = of_kind("CronJob", build(CRONJOB))
    cronjob["spec"]["concurencyPolicy"] = cronjob["spec"].pop("concurrencyPolicy")
    with pytest.raises(kubernetes_validate.ValidationError, match="concurencyPolicy"):
        kubernetes_validate.validate(cronjob, KUBERNETES[-1], strict=True)


@every_entry_point
def test_each_entry_point_has_what_it_is_for(entry_point: str) -> None:
    """Read here by the tests' own reader; where kubectl is installed, its kustomize has to agree."""
    objects = build(CRONJOB / entry_point)
    names = {"": "CronJob", "sharded": "CronJob", "loop": "Deployment", "pushgateway": "Deployment"}
    assert [found["kind"] for found in objects if pod_of(found)] == [names[entry_point]]
    if kubectl := shutil.which("kubectl"):
        built = subprocess.run(
            [kubectl, "kustomize", CRONJOB / entry_point], check=True, capture_output=True, text=True
        )
        in_order = [sorted(map(json.dumps, map(_sorted, each))) for each in (objects, yaml.safe_load_all(built.stdout))]
        assert in_order[0] == in_order[1]


def _sorted(manifest: Manifest) -> Manifest:
    ordered: Manifest = json.loads(json.dumps(manifest, sort_keys=True))
    return ordered


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
    assert job["ttlSecondsAfterFinished"] <= 3600


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


def test_prometheus_is_told_to_keep_the_pushed_labels() -> None:
    """A ServiceMonitor is a custom resource, for which no schema is at hand: it is compared whole."""
    objects = build(CRONJOB / "pushgateway")
    service = of_kind("Service", objects)
    monitor = of_kind("ServiceMonitor", objects)
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"] == {
        "selector": {"matchLabels": service["metadata"]["labels"]},
        "endpoints": [
            {
                "port": service["spec"]["ports"][0]["name"],
                "interval": "15s",
                "honorLabels": True,
                "relabelings": [{"action": "labeldrop", "regex": "pod|container|node"}],
            }
        ],
    }
