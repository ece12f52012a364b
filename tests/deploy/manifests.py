"""Reads the folder cronjob/ the way `kubectl kustomize` does, as far as this project uses kustomize."""

import copy
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CRONJOB = ROOT / "cronjob"
ENTRY_POINTS = ("", "sharded", "loop", "pushgateway")  # folders below cronjob/ that are applied with -k

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    """All documents of one YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def build(folder: Path) -> list[Manifest]:
    """The objects that `kubectl apply -k folder` would apply.

    Raises:
        ValueError: its kustomization.yaml has a field that is not understood here.
    """
    [kustomization] = read(folder / "kustomization.yaml")
    kinds = {"apiVersion", "kind", "resources", "patches", "images"}
    if unknown := kustomization.keys() - kinds:
        raise ValueError(f"{folder}: this reader does not know {sorted(unknown)}")
    objects: list[Manifest] = []
    for resource in kustomization["resources"]:
        path = folder / resource
        objects += build(path) if path.is_dir() else read(path)
    for entry in kustomization.get("patches", []):
        patch = read(folder / entry["path"])[0] if "path" in entry else yaml.safe_load(entry["patch"])
        objects = [_patched(found, patch) if _same(found, patch) else found for found in objects]
    tags = {image["name"]: image["newTag"] for image in kustomization.get("images", [])}
    for container in (c for found in objects for c in pod_of(found).get("containers", [])):
        if container["image"] in tags:
            container["image"] += f":{tags[container['image']]}"
    return [found for found in objects if found]


def pod_of(manifest: Manifest) -> Manifest:
    """The pod specification inside a CronJob or Deployment; empty for any other kind."""
    spec = manifest.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    pod: Manifest = spec.get("template", {}).get("spec", {})
    return pod


def of_kind(kind: str, objects: list[Manifest]) -> Manifest:
    """The one object of this kind."""
    [found] = [found for found in objects if found["kind"] == kind]
    return found


def container_of(kind: str, objects: list[Manifest]) -> Manifest:
    """The only container of the only object of this kind."""
    [container] = pod_of(of_kind(kind, objects))["containers"]
    found: Manifest = container
    return found


def environment(container: Manifest, objects: list[Manifest], annotations: dict[str, str]) -> dict[str, str]:
    """The variables that Kubernetes would set in the container, from ConfigMaps and the pod's annotations."""
    maps = {found["metadata"]["name"]: found["data"] for found in objects if found["kind"] == "ConfigMap"}
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables |= maps[source["configMapRef"]["name"]]
    for entry in container.get("env", []):
        field = re.fullmatch(r"metadata\.annotations\['(.+)'\]", entry["valueFrom"]["fieldRef"]["fieldPath"])
        variables[entry["name"]] = annotations[field[1]] if field else ""
    return variables


def expanded(args: list[str], variables: dict[str, str]) -> list[str]:
    """The arguments with each $(NAME) replaced, as Kubernetes replaces it: by a variable of the container."""
    return [re.sub(r"\$\((\w+)\)", lambda name: variables.get(name[1], name[0]), arg) for arg in args]


def _same(found: Manifest, patch: Manifest) -> bool:
    return all(found.get(key) == patch[key] for key in ("apiVersion", "kind")) and (
        found["metadata"]["name"] == patch["metadata"]["name"]
    )


def _patched(found: Manifest, patch: Manifest) -> Manifest:
    if patch.get("$patch") == "delete":
        return {}
    merged: Manifest = _merged(found, patch)
    return merged


def _merged(old: Any, new: Any) -> Any:
    """A strategic merge: mappings by key, lists of named things by name, null takes away, all else replaces."""
    if isinstance(old, dict) and isinstance(new, dict):
        result = copy.deepcopy(old)
        for key, value in new.items():
            result[key] = _merged(old.get(key), value)
        return {key: value for key, value in result.items() if value is not None}
    if _named(old) and _named(new):
        by_name = {item["name"]: item for item in old}
        for item in new:
            by_name[item["name"]] = _merged(by_name.get(item["name"]), item)
        return list(by_name.values())
    return new


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value)
