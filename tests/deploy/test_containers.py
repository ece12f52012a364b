"""Run the commands and settings of the manifests on real services."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from release.render import Manifest
from testbed.command import PushJob
from testbed.process import wait_for
from testbed.services import Flower, Pushgateway, Worker
from tests.deploy.manifests import CRONJOB, build, container_of, environment, expanded, of_kind
from tests.deploy.processes import running
from tests.deploy.test_manifests import kustomization

INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def status_of(url: str) -> int | None:
    """Return the HTTP status, or None if nothing answers."""
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return None


def probe_of(container: Manifest) -> list[str]:
    """Return the command of the liveness probe."""
    command: list[str] = container["livenessProbe"]["exec"]["command"]
    assert command[0] == "python"
    return command


def test_pushgateway_keeps_its_groups_over_a_restart(pushgateway: Pushgateway, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    folder = kustomization(tmp_path / "own", [CRONJOB / "pushgateway"], ["pushgateway-volume"])
    container = container_of("Deployment", build(folder))
    [mount] = container["volumeMounts"]
    options = [arg.replace(mount["mountPath"], str(tmp_path)) for arg in container["args"]]
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [pushgateway.command()[0], f"--web.listen-address={address}", *options]
    with running(command):
        wait_for("the Pushgateway", lambda: status_of(f"http://{address}/-/ready") == 200, 30)
        requests.put(f"http://{address}/metrics/job/kept", data="a_family 1\n", timeout=5).raise_for_status()
    with running(command):
        wait_for("the Pushgateway", lambda: status_of(f"http://{address}/-/ready") == 200, 30)
        assert 'a_family{instance="",job="kept"} 1' in requests.get(f"http://{address}/metrics", timeout=5).text


def test_container_of_the_cronjob_pushes(
    push_job: PushJob, flower: Flower, worker: Worker, clean_pushgateway: Pushgateway
) -> None:
    objects = build(CRONJOB)
    container = container_of("CronJob", objects)
    settings = environment(container, objects, {})
    settings |= {"PUSH_JOB_FLOWER": flower.url, "PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url}
    run = push_job(*container["args"], env=settings)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stderr)["msg"] == "pushed"
    assert list(clean_pushgateway.samples(job="flower", namespace="shop", app=worker.node).values()) == [1]


def test_namespaces_separate_flowers_of_the_same_name(
    push_job: PushJob, flower: Flower, clean_pushgateway: Pushgateway
) -> None:
    objects = build(CRONJOB)
    container = container_of("CronJob", objects)
    for namespace in ("shop", "warehouse"):
        settings = environment(container, objects, {"metadata.namespace": namespace})
        settings |= {"PUSH_JOB_FLOWER": flower.url, "PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url}
        assert push_job(*container["args"], env=settings).returncode == 0
    groups = [group["labels"] for group in clean_pushgateway.groups()]
    assert len({labels["instance"] for labels in groups}) == 1
    assert {labels["namespace"] for labels in groups} == {"shop", "warehouse"}


def test_shards_push_every_flower_once(push_job: PushJob, flower: Flower, clean_pushgateway: Pushgateway) -> None:
    """One real Flower has two addresses, so that two of three shards have a Flower."""
    objects = build(CRONJOB / "sharded")
    shards = of_kind("CronJob", objects)["spec"]["jobTemplate"]["spec"]["completions"]
    container = container_of("CronJob", objects)
    flowers = [flower.url, flower.url.replace("127.0.0.1", "localhost")]
    lines = []
    for index in range(shards):
        settings = environment(container, objects, {INDEX: str(index)})
        args = expanded(container["args"], settings)
        settings |= {"PUSH_JOB_FLOWER": " ".join(flowers), "PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url}
        run = push_job(*args, env=settings)
        assert run.returncode == 0, run.stderr
        logged = [json.loads(line) for line in run.stderr.splitlines()]
        lines += [line["flower"] for line in logged if "flower" in line]  # an empty shard logs no Flower
    assert lines == [url.removeprefix("http://") for url in flowers]
    assert {group["labels"]["instance"] for group in clean_pushgateway.groups()} == set(lines)


def test_container_of_the_loop_pushes_and_its_probe_detects_a_hang(
    flower: Flower, clean_pushgateway: Pushgateway, tmp_path: Path
) -> None:
    objects = build(CRONJOB / "loop")
    container = container_of("Deployment", objects)
    [mount] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "heartbeat"]
    here = [
        [text.replace(mount, str(tmp_path)) for text in texts] for texts in (container["args"], probe_of(container))
    ]
    settings = environment(container, objects, {})
    settings |= {"PUSH_JOB_FLOWER": flower.url, "PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url}
    heartbeat = tmp_path / "heartbeat"

    def is_alive() -> bool:
        return subprocess.run([sys.executable, *here[1][1:]], check=False, capture_output=True).returncode == 0

    assert not is_alive()
    with running([sys.executable, "-m", "push_job", *here[0]], settings) as loop:
        wait_for("the first cycle of the loop", heartbeat.exists, 30)
        assert is_alive()
    assert loop.returncode == 0
    assert clean_pushgateway.groups()
    long_ago = time.time() - 3600
    os.utime(heartbeat, (long_ago, long_ago))
    assert not is_alive()


def test_probe_allows_the_longest_cycle() -> None:
    objects = build(CRONJOB / "loop")
    container = container_of("Deployment", objects)
    every = float(container["args"][container["args"].index("--every") + 1])
    deadline = float(of_kind("ConfigMap", objects)["data"]["PUSH_JOB_DEADLINE"])
    limit = float(probe_of(container)[-1].rpartition("> ")[2].rstrip(")"))
    assert limit >= 2 * (every + deadline)
    assert container["livenessProbe"]["initialDelaySeconds"] > deadline
