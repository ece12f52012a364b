"""Objects of cronjob/ as kustomize renders them, and their variables."""

import re
import subprocess
from functools import cache
from pathlib import Path

import yaml

from release.render import ROOT, Manifest, program

CRONJOB = ROOT / "cronjob"
COMPONENTS = sorted(path.name for path in (CRONJOB / "components").iterdir())
WAYS = ("", "sharded", "loop", "state")  # folders below cronjob/ that run the job, one at a time
ENTRY_POINTS = (*WAYS, "pushgateway", "kube-prometheus-stack")  # all that are applied with -k


def read(path: Path) -> list[Manifest]:
    """Return all documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def build(folder: Path) -> list[Manifest]:
    """Return the objects that `kubectl apply -k folder` would apply."""
    # The C loader is needed for the long dashboards.
    return list(yaml.load_all(_built(folder), Loader=yaml.CSafeLoader))


@cache
def _built(folder: Path) -> str:
    run = subprocess.run([program("kubectl"), "kustomize", folder], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == "", "kustomize printed a warning, e.g. of a deprecated field"
    return run.stdout


def pod_of(manifest: Manifest) -> Manifest:
    """Return the pod specification of an object; empty if it has none."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Pod":
        return dict(spec)
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    pod: Manifest = spec.get("template", {}).get("spec", {})
    return pod


def of_kind(kind: str, objects: list[Manifest]) -> Manifest:
    """Return the only object of this kind."""
    [found] = [found for found in objects if found["kind"] == kind]
    return found


def container_of(kind: str, objects: list[Manifest]) -> Manifest:
    """Return the only container of the only object of this kind."""
    [container] = pod_of(of_kind(kind, objects))["containers"]
    found: Manifest = container
    return found


def environment(container: Manifest, objects: list[Manifest], fields: dict[str, str]) -> dict[str, str]:
    """Return the variables that Kubernetes would set in the container.

    `env` overrides the ConfigMaps of `envFrom`. `fields` has the values of the pod's fields by path; the namespace is
    "shop" by default. $(NAME) in a value is replaced by an earlier variable of `env`.
    """
    maps = {found["metadata"]["name"]: found["data"] for found in objects if found["kind"] == "ConfigMap"}
    fields = {"metadata.namespace": "shop", **fields}
    inherited: dict[str, str] = {}
    for source in container.get("envFrom", []):
        inherited |= maps[source["configMapRef"]["name"]]
    own: dict[str, str] = {}
    for entry in container.get("env", []):
        if "value" in entry:
            [own[entry["name"]]] = expanded([entry["value"]], own)
        else:
            own[entry["name"]] = fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
    return inherited | own


def expanded(args: list[str], variables: dict[str, str]) -> list[str]:
    """Return the arguments with each $(NAME) replaced, as Kubernetes does."""
    return [re.sub(r"\$\((\w+)\)", lambda name: variables.get(name[1], name[0]), arg) for arg in args]
