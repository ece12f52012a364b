"""The schemas of the Prometheus Operator's own kinds, made strict.

Taken from models that are generated from the definitions which the Operator publishes. Like the API server, which
drops a field that it does not know, these would pass a misspelt one; here it is an error.
"""

from functools import cache
from typing import Any

import jsonschema
from cloudcoil.models.prometheus_operator import v1

KINDS: dict[str, Any] = {"PrometheusRule": v1.PrometheusRule, "ServiceMonitor": v1.ServiceMonitor}


def validate(manifest: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError when the object is not one of this kind."""
    assert manifest["apiVersion"] == "monitoring.coreos.com/v1"
    # Not jsonschema.validate: it would first hold the schema itself against Python's regular expressions, and one of a
    # field that is not used here is Go's.
    jsonschema.Draft202012Validator(_schema(manifest["kind"])).validate(manifest)


@cache
def _schema(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = KINDS[kind].model_json_schema(by_alias=True)
    for part in (schema, *schema["$defs"].values()):
        if "properties" in part:
            part["additionalProperties"] = False
    return schema
