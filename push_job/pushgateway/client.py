"""Replace and delete groups on a Pushgateway.

The protocol: https://github.com/prometheus/pushgateway#api. A PUT replaces a
whole group, so it is safe to repeat. A body that is cut off is rejected whole,
because it is in the format of `protobuf`.
"""

from __future__ import annotations

import contextlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from push_job.auth import SignIn
from push_job.http.client import REDIRECTS, Client
from push_job.http.errors import TransportError
from push_job.pushgateway import protobuf

#: State of a group after a push that was not answered.
UNKNOWN = "the group holds either the old push or the new one, never a part"

#: Statuses of a proxy that got no answer from the server behind it.
_NO_ANSWER_BEHIND_PROXY = frozenset({502, 504})

#: Label values that need no encoding in a URL's path.
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9._~:-]+", re.ASCII)

#: Characters of a server's message that are repeated in an error.
_MESSAGE_LENGTH = 300


class PushgatewayError(Exception):
    """The Pushgateway could not be reached or rejected a request; the message says why and what to do.

    Attributes:
        rejected: it read the whole push and rejected its content (status 400).
    """

    def __init__(self, reason: str, *, rejected: bool = False) -> None:
        super().__init__(reason)
        self.rejected = rejected


class PushgatewayClient:
    """The groups of one job on one Pushgateway.

    Arguments called `until` are deadlines on the clock of ``time.monotonic()``.
    """

    def __init__(self, client: Client, job: str) -> None:
        self.client = client
        self._job = job

    def push(self, registry: CollectorRegistry, grouping_key: Mapping[str, str], until: float) -> None:
        """Replace the group by the families of `registry`. Raises PushgatewayError."""
        body = protobuf.encode(registry.collect())
        self._request("PUT", grouping_key, until, {"Content-Type": protobuf.CONTENT_TYPE}, body)

    def delete(self, grouping_key: Mapping[str, str], until: float) -> None:
        """Delete the group; a group that does not exist is no error. Raises PushgatewayError."""
        self._request("DELETE", grouping_key, until)

    def _request(
        self,
        method: str,
        grouping_key: Mapping[str, str],
        until: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        url = f"{self.client.endpoint.url}{group_path(self._job, grouping_key)}"
        unanswered = False

        def attempt() -> None:
            nonlocal unanswered
            try:
                answer = self.client.send(method, url, until, headers=headers, data=body)
            except TransportError as error:
                unanswered = unanswered or error.overloaded or error.status in _NO_ANSWER_BEHIND_PROXY
                raise
            # The status says that the group is stored. Reading the empty body keeps the connection; a body that
            # another server announces is not waited for.
            with contextlib.closing(answer), contextlib.suppress(TransportError):
                if answer.headers.get("Content-Length") == "0":
                    answer.body(0)

        try:
            self.client.retrying(attempt, until)
        except TransportError as error:
            sign_in = self.client.endpoint.sign_in
            raise explain_push_error(error, sign_in, unanswered=unanswered and body is not None) from error


def group_path(job: str, grouping_key: Mapping[str, str]) -> str:
    """Return the URL path of a group, such as ``/metrics/job/flower/instance/host:5555``.

    A value with other characters than letters, digits and ``._~:-`` is encoded
    with base64, as the Pushgateway's API defines it.
    """
    labels = [("job", job), *sorted(grouping_key.items())]
    return "/metrics/" + "/".join(_path_part(name, value) for name, value in labels)


def _path_part(name: str, value: str) -> str:
    if _PLAIN_VALUE.fullmatch(value):
        return f"{name}/{value}"
    return f"{name}@base64/{urlsafe_b64encode(value.encode()).decode() or '='}"


def explain_push_error(error: TransportError, sign_in: SignIn, *, unanswered: bool = False) -> PushgatewayError:
    """Return the PushgatewayError that says what a failed request means and what to do.

    Args:
        error: the failure.
        sign_in: how the request was signed.
        unanswered: the push may have arrived although nothing answered it.
    """
    reason = str(error)
    if error.status == 401:
        reason += f": {sign_in.explain_401('pushgateway')}"
    elif error.status == 403:
        reason += ": these credentials may not push"
    elif error.status == 404:
        reason += ": if it runs with a route prefix, put the prefix into its URL"
    elif error.status in REDIRECTS:
        reason += ", a redirect: use the URL that it leads to"
    if error.status is not None and error.body and not error.body.startswith("<"):
        reason += f": {error.body[:_MESSAGE_LENGTH]}"
    if unanswered:
        reason += f"; {UNKNOWN}"
    return PushgatewayError(reason, rejected=error.status == 400)
