"""Validate objects against the schemas of each supported Kubernetes version.

The schemas' package is imported where it is used: that takes seconds.
"""

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from packaging.version import Version

from tests.deploy import operator


def _carried() -> list[Version]:
    """Return the versions whose schemas kubernetes-validate has."""
    package = importlib.util.find_spec("kubernetes_validate")
    assert package is not None
    assert package.origin is not None
    schemas = Path(package.origin).parent / "kubernetes-json-schema"
    return sorted({Version(folder.name.partition("-")[0]) for folder in schemas.glob("v*")})


_CARRIED = _carried()
SUPPORTED = [str(version) for version in _CARRIED if version >= Version("1.29")]
#: The oldest and the newest version, for tests with many cases.
KUBERNETES = [SUPPORTED[0], SUPPORTED[-1]]


def valid(manifest: dict[str, Any], kubernetes: str) -> None:
    """Raise an error if this version would reject the object or ignore a part."""
    _valid(json.dumps(manifest, sort_keys=True), kubernetes)


# Cached, because many combinations contain the same object, and a validation takes a quarter of a second.
@cache
def _valid(text: str, kubernetes: str) -> None:
    import kubernetes_validate  # type: ignore[import-untyped]  # has annotations, but no py.typed

    manifest = json.loads(text)
    if manifest["kind"] in operator.KINDS:
        operator.validate(manifest)
    else:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)
