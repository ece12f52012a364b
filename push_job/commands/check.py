"""``push-job check``: tries each Flower and the Pushgateway step by step; says what is wrong and how to mend it."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from prometheus_client import CollectorRegistry, Gauge
from urllib3.util.ssl_ import create_urllib3_context

from push_job.flower.api import Flower
from push_job.flower.decoding import DecodingError, decode_json
from push_job.flower.task import STATES
from push_job.gateway import Gateway, GatewayError, as_gateway_error
from push_job.http.client import Client, proxy_of
from push_job.http.failures import NoTlsError, TransportError, as_transport_error
from push_job.metrics.extras import families_with
from push_job.settings import Endpoint, Settings

#: Seconds by which two clocks may differ before the ages of tasks look wrong to a person.
_CLOCK_TOLERANCE = 30

#: Seconds without a task event after which that is worth a look.
_LONG_AGO = 3600

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
            yield _events(api, rows, now, live, until)
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
    """Resolve its name, open its port and speak TLS there; or do so with the proxy that requests to it go through."""
    proxy = proxy_of(server.url)
    parts = urlsplit(server.url)
    if proxy:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        yield Step(None, f"requests to it go through a proxy, {parts.hostname}: HTTP_PROXY and NO_PROXY say so")
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
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
    yield Step(True, f"port {port} is open")
    if parts.scheme == "https" and not proxy:
        yield _handshake(server, host, port, timeout)


def _handshake(server: Endpoint, host: str, port: int, timeout: float) -> Step:
    """Begin to speak TLS as a request does."""
    context = create_urllib3_context()
    # REQUESTS_CA_BUNDLE goes before what comes with requests.
    asked = requests.Session().merge_environment_settings(server.url, {}, None, server.tls.ca_file or True, None)
    trusted = asked["verify"] if isinstance(asked["verify"], str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
    context.load_verify_locations(**({"capath": trusted} if Path(trusted).is_dir() else {"cafile": trusted}))
    if server.tls.cert_file:
        context.load_cert_chain(server.tls.cert_file, server.tls.key_file)
    try:
        with (
            socket.create_connection((host, port), timeout) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return Step(True, "it speaks TLS, and its certificate is trusted")
    except OSError as error:
        failure = NoTlsError() if isinstance(error, TimeoutError) else error
        raise _UnreachableError(str(as_transport_error(failure, timeout))) from None


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


def _events(api: Flower, rows: dict[str, dict[str, Any]], now: float, live: int, until: float) -> Step:
    """Whether task events arrive. Workers tell how many tasks they have processed, with or without events."""
    newest = api.newest_task(until)
    processed = sum(row["processed"] for row in rows.values() if isinstance(row.get("processed"), int))
    # A PENDING task was sent; that says nothing of workers, which are others than senders.
    from_workers = newest is not None and (
        newest.state != "PENDING" or any(api.newest_task(until, state=state) for state in STATES if state != "PENDING")
    )
    if newest is not None and (from_workers or not processed):
        age = max(0.0, now - newest.timestamp) if isinstance(newest.timestamp, float) else 0.0
        return Step(True if age < _LONG_AGO else None, f"task events arrive, the newest one {_ago(age)}")
    if processed:
        what = "no task event arrived" if newest is None else "all task events are those of senders"
        return Step(
            False,
            f"workers have processed {processed:,} tasks, but {what}:"
            " start workers with -E (or worker_send_task_events = True), or Flower with --enable-events",
        )
    return Step(None if live else False, "no task event has arrived yet, nor has a task run that could tell why")


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _json(client: Client, path: str, until: float) -> dict[str, Any]:
    """An answer of the Pushgateway's API (https://github.com/prometheus/pushgateway#query-api)."""
    try:
        document = decode_json(client.get(path, until).body(2**30))
    except TransportError as error:
        raise as_gateway_error(error, client.endpoint.credentials) from error
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
        for family in families_with(settings.extras):
            name, kind = family.name, family.type
            if name in group and group[name].get("type") != kind.upper():
                labels = ", ".join(f'{key}="{value}"' for key, value in sorted(group["labels"].items()))
                return Step(
                    False,
                    f"{name} is there as a {group[name].get('type', '').lower()} in the group {labels}, while it is"
                    f" a {kind} here: delete that group, or stop what pushes it",
                )
    return Step(True, "no family there clashes with ours")
