"""docs/run-cluster.md: its commands work, as far as this needs no cluster."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from release.render import ROOT, Manifest, program
from tests.deploy.manifests import CRONJOB, ENTRY_POINTS, build, of_kind, pod_of
from tests.deploy.test_run_pages import blocks
from tests.fakes.http import ScriptedServer, json_answer

PAGE = ROOT / "docs/run-cluster.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINES = [line[2:] for block in blocks(PAGE, "console") for line in block.splitlines() if line.startswith("$ ")]


def api_with(cronjob: Manifest) -> dict[str, Any]:
    """Return the answers of an API server with this CronJob, as kubectl requests them."""
    resource = {"name": "cronjobs", "singularName": "cronjob", "namespaced": True, "kind": "CronJob", "verbs": ["get"]}
    version = {"groupVersion": "batch/v1", "version": "v1"}
    group = {"name": "batch", "versions": [version], "preferredVersion": version}
    return {
        "/api": json_answer({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis": json_answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}),
        "/api/v1": json_answer({"kind": "APIResourceList", "groupVersion": "v1", "resources": []}),
        "/apis/batch/v1": json_answer({"kind": "APIResourceList", "groupVersion": "batch/v1", "resources": [resource]}),
        "/apis/batch/v1/namespaces/shop/cronjobs/flower-push-job": json_answer(cronjob),
    }


def test_trial_job_is_not_owned_by_the_cronjob(tmp_path: Path) -> None:
    """The CronJob would delete an owned Job before its log is read (UnexpectedJob)."""
    [line] = [line for line in LINES if line.startswith("kubectl create job try-it")]
    cronjob = of_kind("CronJob", build(CRONJOB))
    cronjob["metadata"] |= {"namespace": "shop", "uid": "1"}
    created = tmp_path / "created"
    with ScriptedServer(api_with(cronjob)) as server:
        kubectl = tmp_path / "kubectl"
        kubectl.write_text(
            f'#!/bin/sh\n[ "$*" = "create -f -" ] && exec cat > {created}\n'
            f'exec {program("kubectl")} --server {server.url} --namespace shop "$@"\n'
        )
        kubectl.chmod(0o755)
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        command = ["bash", "-o", "pipefail", "-c", line]
        run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    job = json.loads(created.read_text())
    assert job["metadata"]["name"] == "try-it"
    assert "ownerReferences" not in job["metadata"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    [expected] = pod_of(cronjob)["containers"]
    assert container.items() >= expected.items()


@pytest.mark.parametrize("folder", [f"cronjob/{name}".removesuffix("/") + "/" for name in ENTRY_POINTS])
def test_every_variant_can_be_uninstalled(folder: str) -> None:
    assert f"kubectl apply -k {folder}\n" in TEXT
    out = {"cronjob/sharded/": "cronjob/"}.get(folder, folder)
    [row] = [
        row for row in TEXT.splitlines() if row.startswith("| `cronjob") and "delete" in row and f"`{folder}`" in row
    ]
    assert f"kubectl delete -k {out}`" in row
    gone, made = (
        {(found["kind"], found["metadata"]["name"]) for found in build(ROOT / path)} for path in (out, folder)
    )
    assert made == gone
    assert ("volume too" in row) is any(kind == "PersistentVolumeClaim" for kind, _ in made)


@pytest.mark.parametrize(("way", "kind", "leaves"), [("loop", "cronjob", ""), ("", "deployment", "loop")])
def test_switching_deletes_only_the_old_variant(way: str, kind: str, leaves: str) -> None:
    """Both would push the same groups. The Pushgateway, a Deployment, stays."""
    [block] = [
        lines
        for lines in map(str.splitlines, blocks(PAGE, "console"))
        if lines[0].startswith(f"$ kubectl delete {kind} ")
        and lines[-1] == f"$ kubectl apply -k cronjob/{way}".rstrip("/") + "/"
    ]
    words = shlex.split(block[0])
    key, _, value = words[words.index("-l") + 1].partition("=")
    old = [found for found in build(CRONJOB / leaves) if found["kind"].lower() == kind]
    assert [found["metadata"]["labels"][key] for found in old] == [value]
    assert all(found["metadata"]["labels"][key] != value for found in build(CRONJOB / "pushgateway"))


def test_example_of_an_own_folder_has_the_described_changes(tmp_path: Path) -> None:
    first, second = (block for block in blocks(PAGE, "yaml") if "scrape_configs" not in block)
    real = os.path.relpath(ROOT, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(first.replace("path/to", real) + second)
    objects = build(tmp_path)
    [container] = pod_of(of_kind("CronJob", objects))["containers"]
    assert container["image"].startswith("registry.example/team/flower-push-job:")
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "192Mi"}
    assert container["envFrom"] == [{"configMapRef": {"name": "flower-push-job-two"}}]
    assert of_kind("ConfigMap", objects)["data"]["PUSH_JOB_FLOWER"].count("http://") == 2
    assert of_kind("PrometheusRule", objects)["metadata"]["namespace"] == "monitoring"


def test_page_lists_every_component() -> None:
    for component in (CRONJOB / "components").iterdir():
        assert f"| `{component.name}` |" in TEXT


def test_docker_stop_waits_for_the_current_cycle() -> None:
    page = ROOT / "docs/run-docker.md"
    [loop] = [line for block in blocks(page, "console") for line in block.splitlines() if " run --every " in line]
    [timeout] = re.findall(r"--stop-timeout (\d+)", loop)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["push-job"]
    assert min(float(timeout), float(compose["stop_grace_period"].removesuffix("s"))) > 50
