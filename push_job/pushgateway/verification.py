"""Verify that a Pushgateway has stored a push, by reading the group back.

A proxy that drops the body, a login page or another kind of server may answer
200 to a push. Then the group is empty or old. The API has no way to read one
group, so the verification reads ``/metrics`` as Prometheus does, line by line,
and stops as soon as it knows. The job does this once per process.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from prometheus_client.samples import Sample

from push_job.flower.metrics_text import LINE_LIMIT, parse_sample
from push_job.http.client import Answer, Client
from push_job.http.errors import TransportError
from push_job.pushgateway.client import PushgatewayError

#: Bytes of ``/metrics`` that are read; 500 groups with all extras are about 60 MB.
_METRICS_LIMIT = 2**28

#: Attempts to find the group, and seconds between them: a Pushgateway that answers 202 stores the push a little later,
#: and a VictoriaMetrics updates its counters once a second.
_ATTEMPTS = 8
_PAUSE = 0.2

#: Counters of VictoriaMetrics and vmagent for rows that they received in Prometheus' text format.
_ROWS = (b'vm_rows_inserted_total{type="prometheus"} ', b'vmagent_rows_inserted_total{type="prometheus"} ')

#: Error for a push that was accepted but is not there.
NOT_STORED = (
    "it accepts a push but does not have it; does a proxy in front of it drop the body, or is it another server?"
)

#: Why a group cannot be deleted from VictoriaMetrics.
NO_GROUPS = "VictoriaMetrics has no groups; see docs/victoriametrics.md for how to delete series"


class NotStoredError(PushgatewayError):
    """The server does not have what it seemed to accept; the message says what it is."""


def check_stored(client: Client, pushed: Sample, pushed_at: float, until: float, *, is_text: bool) -> None:
    """Raise NotStoredError if the server certainly has not stored a push.

    A server whose ``/metrics`` cannot be read, or is not known, passes: a proxy may let only pushes through.

    Args:
        client: the client of the Pushgateway.
        pushed: a sample of the push, with the whole grouping key, including ``job``.
        pushed_at: Unix time of the push, by the server's clock.
        until: deadline on the clock of ``time.monotonic()``.
        is_text: whether the push was text, which VictoriaMetrics stores.
    """

    def is_stored() -> bool | None:
        has_push = None
        with (
            contextlib.suppress(TransportError, ValueError),
            contextlib.closing(client.get("/metrics", until)) as answer,
        ):
            has_push = _has_push(answer, pushed, pushed_at, is_text=is_text)
        if has_push or (rows := victoriametrics_rows(client, until)) is None:
            return has_push
        if not is_text:
            raise NotStoredError("it is VictoriaMetrics, which stores nothing of protobuf; use --push-format text")
        return rows > 0

    if not poll(is_stored, until):
        raise NotStoredError(NOT_STORED)


def poll(is_stored: Callable[[], bool | None], until: float) -> bool:
    """Call `is_stored` until it returns something other than False.

    Return whether it did so within a few attempts.
    """
    for attempt in range(_ATTEMPTS):
        if is_stored() is not False:
            return True
        if attempt < _ATTEMPTS - 1:
            time.sleep(min(_PAUSE, max(0.0, until - time.monotonic())))
    return False


def victoriametrics_rows(client: Client, until: float) -> float | None:
    """Return the number of rows that VictoriaMetrics or vmagent received as text.

    Returns:
        None if the server is neither of them, by the ``/metrics`` at its root; infinity if it does not count them.
    """
    parts = urlsplit(client.endpoint.url)
    is_victoriametrics, rows = False, math.inf
    with (
        contextlib.suppress(TransportError, ValueError),
        contextlib.closing(client.send("GET", f"{parts.scheme}://{parts.netloc}/metrics", until)) as answer,
    ):
        for line in metrics_lines(answer):
            is_victoriametrics = is_victoriametrics or line.startswith(b"vm_app_version")
            if line.startswith(_ROWS):
                rows = float(line.rpartition(b" ")[2])
    return rows if is_victoriametrics else None


def _has_push(answer: Answer, pushed: Sample, pushed_at: float, *, is_text: bool) -> bool | None:
    """Return whether the group has the pushed sample, or a later push.

    A later push is one by somebody else.

    Returns:
        None if the answer may be another server's, which accepts text. Only a Pushgateway accepts protobuf, and it has
        metrics of its own, so an empty answer has no push.
    """
    labels = _without_empty(pushed.labels)
    names = tuple(f"{name}{{".encode() for name in (pushed.name, "push_time_seconds"))
    is_empty, is_pushgateway, has_data = answer.status == 200 and not is_text, False, False
    for line in metrics_lines(answer):
        is_empty = is_empty and not line
        is_pushgateway = is_pushgateway or line.startswith(b"pushgateway_")
        if not line.startswith(names):
            continue
        sample = parse_sample(line.decode("utf-8", "replace"))
        if _without_empty(sample.labels) != labels:
            continue
        if sample.name == "push_time_seconds":
            return has_data and sample.value >= pushed_at - 1.0
        if sample.value == pushed.value:
            return True
        has_data = True
    return False if is_pushgateway or is_empty else None


def _without_empty(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that have a value.

    To a Pushgateway an empty label is a missing one.
    """
    return {name: value for name, value in labels.items() if value}


def metrics_lines(answer: Answer) -> Iterator[bytes]:
    """Yield the lines of a ``/metrics``.

    Lines that are too long to be samples are left out. The text may be large, because only a piece of it is held.
    """
    rest = b""
    for chunk in answer.chunks(_METRICS_LIMIT):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if len(line) <= LINE_LIMIT)
        rest = rest[: LINE_LIMIT + 1]
    yield rest
