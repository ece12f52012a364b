"""Validate objects against the schemas of each supported Kubernetes version.

The package kubernetes-validate contains the schemas.
"""

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from packaging.version import Version

from tests.deploy import operator


def _schemas() -> Path:
    """Return the folder of schemas of kubernetes-validate."""
    package = importlib.util.find_spec("kubernetes_validate")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "kubernetes-json-schema"


_SCHEMAS = _schemas()
_CARRIED = sorted({Version(folder.name.partition("-")[0]) for folder in _SCHEMAS.glob("v*")})
SUPPORTED = [str(version) for version in _CARRIED if version >= Version("1.29")]
#: The oldest and the newest version, for tests with many cases.
KUBERNETES = [SUPPORTED[0], SUPPORTED[-1]]


def valid(manifest: dict[str, Any], kubernetes: str) -> None:
    """Raise an error if this version would reject the object or ignore a part."""
    _valid(json.dumps(manifest, sort_keys=True), kubernetes)


# Cached, because many combinations contain the same object.
@cache
def _valid(text: str, kubernetes: str) -> None:
    manifest = json.loads(text)
    if manifest["kind"] in operator.KINDS:
        operator.validate(manifest)
    else:
        _validator(manifest["apiVersion"], manifest["kind"], kubernetes).validate(manifest)


# Cached, because reading the schemas of a version takes a quarter of a second.
@cache
def _validator(api_version: str, kind: str, kubernetes: str) -> Any:
    import jsonschema
    from referencing import Registry, Resource

    group, _, version = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], version)))
    registry: Registry[Any] = Resource.from_contents(_schema("_definitions", kubernetes)) @ Registry()
    return jsonschema.Draft202012Validator(_schema(name, kubernetes), registry=registry)


@cache
def _schema(name: str, kubernetes: str) -> Any:
    path = _SCHEMAS / f"v{kubernetes}-local-strict" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))
