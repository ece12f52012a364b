"""Render the chart with helm."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts/flower-push-job"

#: Labels that only Helm's objects have.
HELM_LABELS = {"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"}

Manifest = dict[str, Any]


def program(name: str) -> str:
    """Return the path of helm or kubectl, preferably from `make tools`.

    Raises:
        FileNotFoundError: The program is missing.
    """
    ours = Path(sys.executable).parent / name
    found = str(ours) if ours.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is missing: run `make tools`")
    return found


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm in the project's folder, whatever its exit code."""
    return subprocess.run([program("helm"), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


def template(values: Manifest | None = None, *arguments: str, release: str = "flower-push-job") -> list[Manifest]:
    """Return the chart's objects for these values.

    Raises:
        ValueError: helm rejects the values; contains its message.
    """
    command = [program("helm"), "template", release, str(CHART), "--values", "-", *arguments]
    run = subprocess.run(command, input=yaml.safe_dump(values or {}), capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise ValueError(run.stderr)
    # The C loader is needed for the long dashboards.
    return [found for found in yaml.load_all(run.stdout, Loader=yaml.CSafeLoader) if found]


def without_helms_labels(manifest: Manifest) -> Manifest:
    """Return the object without Helm's labels, as kustomize renders it."""
    labels = {key: value for key, value in manifest["metadata"]["labels"].items() if key not in HELM_LABELS}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}
