"""The chart, rendered by the real helm."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts/flower-push-job"

#: What Helm's objects carry beside those of kustomize.
HELM_LABELS = {"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"}

Manifest = dict[str, Any]


def program(name: str) -> str:
    """The path of helm or kubectl: the one that `make tools` put beside this Python, or else the machine's own.

    Raises:
        FileNotFoundError: there is none.
    """
    ours = Path(sys.executable).parent / name
    found = str(ours) if ours.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is missing: make tools")
    return found


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm in the project's folder; it may fail."""
    return subprocess.run([program("helm"), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


def template(values: Manifest | None = None, *arguments: str, release: str = "flower-push-job") -> list[Manifest]:
    """The chart's objects with these values.

    Raises:
        ValueError: helm refuses the values; its words.
    """
    command = [program("helm"), "template", release, str(CHART), "--values", "-", *arguments]
    run = subprocess.run(command, input=yaml.safe_dump(values or {}), capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise ValueError(run.stderr)
    # The loader in C: the dashboards are long.
    return [found for found in yaml.load_all(run.stdout, Loader=yaml.CSafeLoader) if found]


def without_helms_labels(manifest: Manifest) -> Manifest:
    """The object as kustomize would write it."""
    labels = {key: value for key, value in manifest["metadata"]["labels"].items() if key not in HELM_LABELS}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}
