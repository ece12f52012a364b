"""``push-job check``: tries each Flower and the Pushgateway step by step; says what is wrong and how to mend it."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Gauge

from push_job.decoding import DecodingError, decode_json
from push_job.failures import TransportError
from push_job.flower import Flower
from push_job.gateway import Gateway, GatewayError, explain
from push_job.metrics import OWN_FAMILIES
from push_job.settings import Endpoint, Settings
from push_job.snapshot import Interned
from push_job.transport import Client

#: Seconds by which two clocks may differ before the ages of tasks look wrong to a person.
_CLOCK_TOLERANCE = 30

#: The label of the throw-away group; its instance is random, so two checks do not meet.
CHECK_JOB = "push_job_check"


@dataclass(frozen=True)
class Step:
    """One thing that was tried: whether it went well (None: nothing can be said yet) and what was found."""

    passed: bool | None
    text: str


def check_flower(flower: Endpoint, settings: Settings) -> Iterator[Step]:
    """Try a Flower; the first step that fails is the last one where the others could not succeed."""
    until = time.monotonic() + settings.deadline
    with contextlib.closing(Client(flower, settings.timeout)) as client:
        api = Flower(client)
        try:
            yield from _reach(flower, settings.timeout)
            workers = api.workers(until)
            yield Step(True, "it is Flower, and its API may be read")
            rows, now, version = _worker_list(api, until)
            yield Step(True, version)
            yield _clock(now)
            live = sum(workers.values())
            yield _workers(live, len(workers))
            yield _events(api, rows, live, until)
        except (TransportError, _UnreachableError) as error:
            yield Step(False, str(error))


def check_pushgateway(settings: Settings) -> Iterator[Step]:
    """Try the Pushgateway, leaving nothing behind there."""
    until = time.monotonic() + settings.deadline
    with contextlib.closing(Client(settings.pushgateway, settings.timeout)) as client:
        try:
            yield from _reach(settings.pushgateway, settings.timeout)
            status = _json(client, "/api/v1/status", until)
            version = status.get("data", {}).get("build_information", {}).get("version", "of unknown version")
            yield Step(True, f"it is a Pushgateway, {version}")
            yield _push_and_delete(client, until)
            yield _clash(_json(client, "/api/v1/metrics", until), settings)
        except (TransportError, GatewayError, _UnreachableError) as error:
            yield Step(False, str(error))


class _UnreachableError(Exception):
    """The server cannot be spoken to at all, or it is not what it should be."""


def _reach(server: Endpoint, timeout: float) -> Iterator[Step]:
    """Resolve its name and open its port."""
    parts = urlsplit(server.url)
    host, port = parts.hostname or "", parts.port or 0
    try:
        addresses = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):
        raise _UnreachableError(f"the name {host} does not resolve: is it spelt right, and known from here?") from None
    if addresses != [host]:
        yield Step(True, f"the name {host} resolves to {', '.join(addresses)}")
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        raise _UnreachableError(
            f"port {port} does not open ({reason}): is the server running, on this port, with no firewall between?"
        ) from None
    yield Step(True, f"port {port} is open" + (", with TLS" if parts.scheme == "https" else ""))


def _worker_list(api: Flower, until: float) -> tuple[dict[str, dict[str, Any]], float, str]:
    """What Flower's page of workers knows, Flower's Unix time, and what the page's place tells of the version."""
    try:
        rows, now, path = api.worker_list(until)
    except TransportError:  # a proxy may keep the page from us, which is no fault
        return {}, time.time(), "its version is not known (Flower does not tell it)"
    newer = "2.0 or newer" if path == "/workers" else "1.2 or older"
    return rows, now, f"its version is {newer} (Flower does not tell it more exactly)"


def _clock(now: float) -> Step:
    off = now - time.time()
    if abs(off) <= _CLOCK_TOLERANCE:
        return Step(True, "its clock agrees with this machine's")
    side = "ahead of" if off > 0 else "behind"
    return Step(False, f"its clock is {abs(off):,.0f} s {side} this machine's: set both by NTP")


def _workers(live: int, known: int) -> Step:
    if live:
        return Step(True, f"it sees {live} live of {known} known workers")
    if known:
        return Step(False, f"none of the {known} workers that it knows sends heartbeats: are they running?")
    return Step(False, "it sees no worker: is one running, with the same broker as Flower, and heartbeats on?")


def _events(api: Flower, rows: dict[str, dict[str, Any]], live: int, until: float) -> Step:
    """Whether task events arrive. Workers tell how many tasks they have processed, with or without events."""
    if len(api.page(Interned(), 0, 1, until)):
        return Step(True, "task events arrive")
    processed = sum(row["processed"] for row in rows.values() if isinstance(row.get("processed"), int))
    if processed:
        return Step(
            False,
            f"workers have processed {processed:,} tasks, but no task event arrived:"
            " start workers with -E (or worker_send_task_events = True), or Flower with --enable-events",
        )
    return Step(None if live else False, "no task event has arrived yet, nor has a task run that could tell why")


def _json(client: Client, path: str, until: float) -> dict[str, Any]:
    """An answer of the Pushgateway's API (https://github.com/prometheus/pushgateway#query-api)."""
    try:
        document = decode_json(client.get(path, until).body(2**30))
    except TransportError as error:
        raise explain(error) from error
    except DecodingError as error:
        raise _UnreachableError(f"it answered {path}, but {error}: is this a Pushgateway?") from None
    if not isinstance(document, dict) or document.get("status") != "success":
        raise _UnreachableError(f"its {path} is not what a Pushgateway answers; is this one?")
    return document


def _push_and_delete(client: Client, until: float) -> Step:
    registry = CollectorRegistry()
    Gauge("push_job_check", "A try by push-job check; it deletes its group at once.", registry=registry).set(1)
    gateway, group = Gateway(client, CHECK_JOB), {"instance": secrets.token_hex(8)}
    try:
        gateway.push(registry, group, until)
    finally:
        gateway.delete(group, until)
    return Step(True, "it takes a push and a delete")


def _clash(document: dict[str, Any], settings: Settings) -> Step:
    """Families that others push with another type, which makes the Pushgateway refuse ours."""
    own = [{"job": settings.job, **settings.grouping_key(flower)} for flower in settings.flowers]
    for group in document.get("data", []):
        if group.get("labels") in own:
            continue
        for name, kind in OWN_FAMILIES.items():
            if name in group and group[name].get("type") != kind.upper():
                labels = ", ".join(f'{key}="{value}"' for key, value in sorted(group["labels"].items()))
                return Step(
                    False,
                    f"{name} is there as a {group[name].get('type', '').lower()} in the group {labels}, while it is"
                    f" a {kind} here: delete that group, or stop what pushes it",
                )
    return Step(True, "no family there clashes with ours")
