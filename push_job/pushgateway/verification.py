"""Verify that a Pushgateway has stored a push, by reading the group back.

A proxy that drops the body, a login page or another kind of server may answer
200 to a push. Then the group is empty or old. The API has no way to read one
group, so the verification reads ``/metrics`` as Prometheus does, line by line,
and stops as soon as it knows. The job does this once per process.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from push_job.flower.metrics_text import LINE_LIMIT, parse_sample
from push_job.http.client import Answer, Client
from push_job.http.errors import TransportError

#: Bytes of ``/metrics`` that are read; 500 groups with all extras are about 60 MB.
_METRICS_LIMIT = 2**28

#: Attempts to find the group, and seconds between them: a Pushgateway that answers 202 stores the push a little later.
_ATTEMPTS = 5
_PAUSE = 0.2

_DURATION, _PUSH_TIME = b"flower_scrape_duration_seconds{", b"push_time_seconds{"


#: Why a group cannot be deleted from VictoriaMetrics.
NO_GROUPS = "VictoriaMetrics has no groups; see docs/victoriametrics.md for how to delete series"


class NotStoredError(Exception):
    """The server does not have what it seemed to accept; the message says what it is."""


def check_stored(client: Client, group: Mapping[str, str], duration: float, pushed_at: float, until: float) -> None:
    """Raise NotStoredError if the server certainly has not stored a push.

    A server whose ``/metrics`` cannot be read, or is not known, passes: a proxy may let only pushes through.

    Args:
        client: the client of the Pushgateway.
        group: the whole grouping key, with ``job``.
        duration: the pushed value of ``flower_scrape_duration_seconds``.
        pushed_at: Unix time of the push, by the server's clock.
        until: deadline on the clock of ``time.monotonic()``.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with contextlib.closing(client.get("/metrics", until)) as answer:
                has_push = _has_push(answer, group, duration, pushed_at)
        except (TransportError, ValueError):
            has_push = None
        if has_push is None and is_victoriametrics(client, until):
            raise NotStoredError("it is VictoriaMetrics, which stores nothing of protobuf; use --push-format text")
        if has_push is not False:
            return
        if attempt < _ATTEMPTS - 1:
            time.sleep(min(_PAUSE, max(0.0, until - time.monotonic())))
    raise NotStoredError("it accepted the push but does not have it; does a proxy in front of it drop the body?")


def is_victoriametrics(client: Client, until: float) -> bool:
    """Return whether the server is a VictoriaMetrics or a vmagent, by the ``/metrics`` at its root."""
    parts = urlsplit(client.endpoint.url)
    try:
        with contextlib.closing(client.send("GET", f"{parts.scheme}://{parts.netloc}/metrics", until)) as answer:
            return any(line.startswith(b"vm_app_version") for line in metrics_lines(answer))
    except TransportError:
        return False


def _has_push(answer: Answer, group: Mapping[str, str], duration: float, pushed_at: float) -> bool | None:
    """Return whether the group has the pushed duration, or was pushed by somebody else since.

    Returns:
        None if the answer is not a Pushgateway's.
    """
    # To a Pushgateway an empty label is a missing one.
    labels = {name: value for name, value in group.items() if value}
    is_pushgateway = has_data = False
    for line in metrics_lines(answer):
        is_pushgateway = is_pushgateway or line.startswith(b"pushgateway_")
        if not line.startswith((_DURATION, _PUSH_TIME)):
            continue
        sample = parse_sample(line.decode("utf-8", "replace"))
        if {name: value for name, value in sample.labels.items() if value} != labels:
            continue
        if sample.name == "push_time_seconds":
            return has_data and sample.value >= pushed_at - 1.0
        if sample.value == duration:
            return True
        has_data = True
    return False if is_pushgateway else None


def metrics_lines(answer: Answer) -> Iterator[bytes]:
    """Yield the lines of a ``/metrics`` of any size, without lines that are too long to be samples."""
    rest = b""
    for chunk in answer.chunks(_METRICS_LIMIT):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if len(line) <= LINE_LIMIT)
        rest = rest[: LINE_LIMIT + 1]
    yield rest
