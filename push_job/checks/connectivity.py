"""The first steps of ``check``: whether a server's name resolves, its port opens and it speaks TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from urllib3.util.ssl_ import create_urllib3_context

from push_job.http.client import proxy_of
from push_job.http.errors import NoTlsError, translate_error
from push_job.settings import Endpoint


@dataclass(frozen=True)
class Step:
    """One thing that was tried: whether it went well (None: nothing can be said yet) and what was found."""

    passed: bool | None
    text: str


class UnreachableError(Exception):
    """The server cannot be spoken to at all, or it is not what it should be."""


def reach(server: Endpoint, timeout: float) -> Iterator[Step]:
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
        raise UnreachableError(f"the name {host} does not resolve: is it spelt right, and known from here?") from None
    if addresses != [host]:
        yield Step(True, f"the name {host} resolves to {', '.join(addresses)}")
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        raise UnreachableError(
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
        raise UnreachableError(str(translate_error(failure, timeout))) from None
