"""Validate objects against the schemas of each supported Kubernetes version."""

import json
from functools import cache
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has annotations, but no py.typed
import kubernetes_validate.utils  # type: ignore[import-untyped]  # the same
from packaging.version import Version

from tests.deploy import operator

_CARRIED = sorted({Version(version) for version in kubernetes_validate.utils.all_versions()})
SUPPORTED = [str(version) for version in _CARRIED if version >= Version("1.29")]
#: The oldest and the newest version, for tests with many cases.
KUBERNETES = [SUPPORTED[0], SUPPORTED[-1]]


def valid(manifest: dict[str, Any], kubernetes: str) -> None:
    """Raise an error if this version would reject the object or ignore a part."""
    _valid(json.dumps(manifest, sort_keys=True), kubernetes)


# Cached, because many combinations contain the same object, and a validation takes a quarter of a second.
@cache
def _valid(text: str, kubernetes: str) -> None:
    manifest = json.loads(text)
    if manifest["kind"] in operator.KINDS:
        operator.validate(manifest)
    else:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)
