"""The two formats of a push."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest

from push_job.pushgateway import protobuf


class Encoding(NamedTuple):
    """One format of a push.

    Attributes:
        content_type: the Content-Type header.
        accepted: statuses that mean that the server has stored the push.
        encode: returns the body of a push.
    """

    content_type: str
    accepted: frozenset[int]
    encode: Callable[[CollectorRegistry], bytes]


def _as_text(registry: CollectorRegistry) -> bytes:
    """Return Prometheus' text format, with ``push_time_seconds``.

    A Pushgateway adds ``push_time_seconds`` to each group and ignores a pushed one. Other servers, such as
    VictoriaMetrics, do not add it, but dashboards and alerts need it.
    """
    push_time = f"# TYPE push_time_seconds gauge\npush_time_seconds {time.time()!r}\n"
    return generate_latest(registry) + push_time.encode()


#: The formats by the value of ``--push-format``. Every Pushgateway reads protobuf, and rejects it if it is cut off.
#: Text is for servers that accept a Pushgateway's requests but not protobuf.
ENCODINGS = {
    "protobuf": Encoding(
        protobuf.CONTENT_TYPE, frozenset({200, 202}), lambda registry: protobuf.encode(registry.collect())
    ),
    "text": Encoding("text/plain; version=0.0.4; charset=utf-8", frozenset({200, 202, 204}), _as_text),
}
