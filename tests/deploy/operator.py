"""Strict schemas of the Prometheus Operator's kinds.

They come from models that are generated from the Operator's definitions. These models accept unknown fields, which the
API server drops. Here an unknown field is an error, so that misspelt fields are found. They are imported where they are
used: that takes seconds.
"""

from functools import cache
from typing import Any

KINDS = ("PrometheusRule", "ServiceMonitor")


def validate(manifest: dict[str, Any]) -> None:
    """Raise jsonschema.ValidationError if the object is invalid."""
    import jsonschema

    assert manifest["apiVersion"] == "monitoring.coreos.com/v1"
    # jsonschema.validate would also check the schema, which contains a regular expression in Go's syntax.
    jsonschema.Draft202012Validator(_schema(manifest["kind"])).validate(manifest)


@cache
def _schema(kind: str) -> dict[str, Any]:
    from cloudcoil.models.prometheus_operator import v1

    schema: dict[str, Any] = getattr(v1, kind).model_json_schema(by_alias=True)
    for part in (schema, *schema["$defs"].values()):
        if "properties" in part:
            part["additionalProperties"] = False
    return schema
