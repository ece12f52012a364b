"""A CollectorRegistry becomes a group on the Pushgateway.

The protocol: https://github.com/prometheus/pushgateway#api. A PUT replaces a group whole, so it is safe to
repeat; a body that breaks off on its way is refused whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from prometheus_client import CollectorRegistry, delete_from_gateway, push_to_gateway

from push_job.http.client import REDIRECTS, Client
from push_job.http.failures import TransportError
from push_job.settings import Credentials


class GatewayError(Exception):
    """The Pushgateway was not reached or refused; the message says why and what to do.

    `disliked`: it read the whole push and refused what it says (400).
    """

    def __init__(self, reason: str, *, disliked: bool = False) -> None:
        super().__init__(reason)
        self.disliked = disliked


class Gateway:
    """The groups of one job on one Pushgateway.

    A moment called `until` is on the clock of ``time.monotonic()``.
    """

    def __init__(self, client: Client, job: str) -> None:
        self.client = client
        self.job = job

    def push(self, registry: CollectorRegistry, grouping_key: dict[str, str], until: float) -> None:
        """Replace the group by what `registry` collects. Raises GatewayError."""
        self._use(
            lambda handler: push_to_gateway(
                self.client.endpoint.url, self.job, registry, grouping_key, handler=handler
            ),
            until,
        )

    def delete(self, grouping_key: dict[str, str], until: float) -> None:
        """Remove the group; the Pushgateway does not mind if there is none. Raises GatewayError."""
        self._use(
            lambda handler: delete_from_gateway(self.client.endpoint.url, self.job, grouping_key, handler=handler),
            until,
        )

    def _use(self, call: Callable[[Callable[..., Callable[[], None]]], None], until: float) -> None:
        """Run one of prometheus_client's functions with a handler that sends through our client."""
        try:
            call(self._handler(until))
        except TransportError as error:
            raise as_gateway_error(error, self.client.endpoint.credentials) from error

    def _handler(self, until: float) -> Callable[..., Callable[[], None]]:
        def handler(
            url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
        ) -> Callable[[], None]:
            del timeout  # the client has the job's own

            def attempt() -> None:
                answer = self.client.send(method, url, until, headers=dict(headers), data=data)
                # The status has said that the group is replaced. A Pushgateway says no more; reading that nothing keeps
                # the connection, and a rest that something else promises is not waited for.
                with contextlib.closing(answer), contextlib.suppress(TransportError):
                    if answer.headers.get("Content-Length") == "0":
                        answer.body(0)

            return lambda: self.client.retrying(attempt, until)

        return handler


def as_gateway_error(error: TransportError, credentials: Credentials) -> GatewayError:
    """Say what the Pushgateway's refusal means and what mends it."""
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
    return GatewayError(reason, disliked=error.status == 400)
