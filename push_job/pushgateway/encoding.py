"""The two formats of a push."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import ClassVar

from prometheus_client import CollectorRegistry, generate_latest

from push_job.pushgateway import protobuf


class Encoding(ABC):
    """One format of a push.

    Attributes:
        name: the value of ``--push-format``.
        content_type: the Content-Type header.
        accepted: statuses that mean that the server has stored the push.
    """

    name: ClassVar[str]
    content_type: ClassVar[str]
    accepted: ClassVar[frozenset[int]]

    @abstractmethod
    def encode(self, registry: CollectorRegistry) -> bytes:
        """Return the body of a push."""


class Protobuf(Encoding):
    """The format that every Pushgateway reads, and that it rejects if it is cut off."""

    name = "protobuf"
    content_type = protobuf.CONTENT_TYPE
    accepted = frozenset({200, 202})

    def encode(self, registry: CollectorRegistry) -> bytes:
        """Return delimited protobuf messages."""
        return protobuf.encode(registry.collect())


class Text(Encoding):
    """Prometheus' text format.

    It is for servers that accept a Pushgateway's requests but not protobuf.

    A Pushgateway adds ``push_time_seconds`` to each group and ignores a pushed one. Other servers, such as
    VictoriaMetrics, do not add it, but dashboards and alerts need it.
    """

    name = "text"
    content_type = "text/plain; version=0.0.4; charset=utf-8"
    accepted = frozenset({200, 202, 204})

    def encode(self, registry: CollectorRegistry) -> bytes:
        """Return the text, with ``push_time_seconds``."""
        push_time = f"# TYPE push_time_seconds gauge\npush_time_seconds {time.time()!r}\n"
        return generate_latest(registry) + push_time.encode()


ENCODINGS: dict[str, Encoding] = {encoding.name: encoding for encoding in (Protobuf(), Text())}
