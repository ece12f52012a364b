"""First steps for every server: its name resolves, its port opens, it speaks TLS."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from urllib3.util.ssl_ import create_urllib3_context

from push_job.checks.step import CheckError, Step
from push_job.http.client import proxy_of
from push_job.http.errors import NoTlsError, translate_error
from push_job.settings import Endpoint


def check_connection(server: Endpoint, timeout: float) -> Iterator[Step]:
    """Resolve the server's name, open its port and start TLS.

    If requests to the server go through a proxy, test the name and the port of the proxy instead.

    Args:
        server: the server.
        timeout: limit for each step in seconds.

    Raises:
        CheckError: if a step fails.
    """
    proxy = proxy_of(server.url)
    parts = urlsplit(server.url)
    if proxy:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        yield Step(None, f"requests to it go through the proxy {parts.hostname} (see HTTP_PROXY and NO_PROXY)")
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):
        raise CheckError(f"the name {host} does not resolve; is it spelt right and known on this machine?") from None
    if addresses != [host]:
        yield Step(True, f"the name {host} resolves to {', '.join(addresses)}")
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        # Kubernetes sets this variable in every pod.
        barrier = "NetworkPolicy" if "KUBERNETES_SERVICE_HOST" in os.environ else "firewall"
        raise CheckError(
            f"port {port} does not open ({reason}); is the server running on this port, with no {barrier} in between?"
        ) from None
    yield Step(True, f"port {port} is open")
    if parts.scheme == "https" and not proxy:
        yield _check_tls(server, host, port, timeout)


def _check_tls(server: Endpoint, host: str, port: int, timeout: float) -> Step:
    """Do a TLS handshake with the certificates that a request uses."""
    context = create_urllib3_context()
    # REQUESTS_CA_BUNDLE overrides the certificates that come with requests.
    merged = requests.Session().merge_environment_settings(server.url, {}, None, server.tls.ca_file or True, None)
    trusted = merged["verify"] if isinstance(merged["verify"], str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
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
        raise CheckError(str(translate_error(failure, timeout))) from None
