"""A CollectorRegistry becomes a group on the Pushgateway.

The protocol: https://github.com/prometheus/pushgateway#api. A PUT replaces a group whole, so it is safe to
repeat; a body that breaks off on its way is refused whole, as long as it is in the format of ``protobuf``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, delete_from_gateway, push_to_gateway
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from push_job.http.client import REDIRECTS, Client
from push_job.http.errors import TransportError
from push_job.pushgateway import protobuf
from push_job.settings import Credentials

#: What is known of a group when nothing answered its push.
UNKNOWN = "the group may be the old one or the new one, never a part"

#: Answers of a proxy that got none from the server it asked.
_NO_ANSWER_BEHIND = frozenset({502, 504})


class PushgatewayError(Exception):
    """The Pushgateway was not reached or refused; the message says why and what to do.

    `disliked`: it read the whole push and refused what it says (400).
    """

    def __init__(self, reason: str, *, rejected: bool = False) -> None:
        super().__init__(reason)
        self.rejected = rejected


class PushgatewayClient:
    """The groups of one job on one Pushgateway.

    A moment called `until` is on the clock of ``time.monotonic()``.
    """

    def __init__(self, client: Client, job: str) -> None:
        self.client = client
        self.job = job

    def push(self, registry: CollectorRegistry, grouping_key: dict[str, str], until: float) -> None:
        """Replace the group by what `registry` collects. Raises GatewayError."""
        body = _Protobuf(registry)
        push_to_gateway(self.client.endpoint.url, self.job, body, grouping_key, handler=self._handler(until, body))

    def delete(self, grouping_key: dict[str, str], until: float) -> None:
        """Remove the group; the Pushgateway does not mind if there is none. Raises GatewayError."""
        delete_from_gateway(self.client.endpoint.url, self.job, grouping_key, handler=self._handler(until))

    def _handler(self, until: float, body: _Protobuf | None = None) -> Callable[..., Callable[[], None]]:
        """What prometheus_client sends with, through our client; `body` goes before the text that it has written."""

        def handler(
            url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
        ) -> Callable[[], None]:
            del timeout  # the client has the job's own
            sent_headers = {**dict(headers), **({"Content-Type": protobuf.CONTENT_TYPE} if body else {})}
            unanswered = False

            def attempt() -> None:
                nonlocal unanswered
                try:
                    answer = self.client.send(
                        method, url, until, headers=sent_headers, data=body.written if body else data
                    )
                except TransportError as error:
                    unanswered = unanswered or error.overloaded or error.status in _NO_ANSWER_BEHIND
                    raise
                # The status has said that the group is replaced. A Pushgateway says no more; reading that nothing keeps
                # the connection, and a rest that something else promises is not waited for.
                with contextlib.closing(answer), contextlib.suppress(TransportError):
                    if answer.headers.get("Content-Length") == "0":
                        answer.body(0)

            def send() -> None:
                try:
                    self.client.retrying(attempt, until)
                except TransportError as error:
                    credentials = self.client.endpoint.credentials
                    raise explain_push_error(error, credentials, unanswered=unanswered and body is not None) from error

            return send

        return handler


class _Protobuf(Collector):
    """Stands for a registry before push_to_gateway, which knows text alone.

    What it would collect and write as text is written as protobuf at that moment, and its text stays empty: so
    nothing is collected or written twice.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.written = b""

    def collect(self) -> Iterable[Metric]:
        self.written = protobuf.encode(self._registry.collect())
        return ()


def explain_push_error(
    error: TransportError, credentials: Credentials, *, unanswered: bool = False
) -> PushgatewayError:
    """Say what the Pushgateway's refusal means and what mends it.

    `unanswered`: what was pushed may have arrived all the same.
    """
    reason = str(error)
    if error.status == 401:
        reason += credentials.refused or ": sign in with --pushgateway-username and a password or with a token"
    elif error.status == 403:
        reason += ": these credentials may not push"
    elif error.status == 404:
        reason += ": if it runs with a route prefix, put the prefix into its URL"
    elif error.status in REDIRECTS:
        reason += ", a redirect: give the URL that it leads to"
    if error.status is not None and error.body and not error.body.startswith("<"):
        reason += f": {error.body[:300]}"
    if unanswered:
        reason += f"; {UNKNOWN}"
    return PushgatewayError(reason, rejected=error.status == 400)
