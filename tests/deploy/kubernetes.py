"""Which objects Kubernetes takes, by its published schemas, of each version that is supported."""

import json
from functools import cache
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has annotations, but no py.typed
import kubernetes_validate.utils  # type: ignore[import-untyped]  # the same
from packaging.version import Version

from tests.deploy import operator

_CARRIED = sorted({Version(version) for version in kubernetes_validate.utils.all_versions()})
SUPPORTED = [str(version) for version in _CARRIED if version >= Version("1.29")]
#: The oldest and the newest, for whatever there are many of.
KUBERNETES = [SUPPORTED[0], SUPPORTED[-1]]


def valid(manifest: dict[str, Any], kubernetes: str) -> None:
    """Raises the validators' errors when this version would not take the object, or would ignore a part of it."""
    _valid(json.dumps(manifest, sort_keys=True), kubernetes)


# The same object is part of many combinations, and a look at it takes a quarter of a second.
@cache
def _valid(text: str, kubernetes: str) -> None:
    manifest = json.loads(text)
    if manifest["kind"] in operator.KINDS:
        operator.validate(manifest)
    else:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)
