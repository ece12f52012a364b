"""Replace and delete groups on a Pushgateway.

The protocol: https://github.com/prometheus/pushgateway#api. A PUT replaces a
whole group, so it is safe to repeat. A body that is cut off is rejected whole,
because it is in the format of `protobuf`.
"""

from __future__ import annotations

import contextlib
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from prometheus_client import CollectorRegistry

from push_job.http.client import REDIRECTS, Answer, Client
from push_job.http.errors import TransportError
from push_job.pushgateway.encoding import ENCODINGS, Encoding
from push_job.settings import Endpoint
from push_job.text import one_line

#: State of a group after a push that was not answered.
UNKNOWN = "the group holds either the old push or the new one, never a part"

#: Statuses of a proxy that got no answer from the server behind it.
_NO_ANSWER_BEHIND_PROXY = frozenset({502, 504})

#: Label values that need no encoding in a URL's path.
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9._~:-]+", re.ASCII)

#: Bytes of an answer's body that are read to find out who answers.
_BODY_LIMIT = 2**30

#: Characters of such a body that are shown.
_BEGINNING_LENGTH = 60

#: Characters of a server's message that are repeated in an error.
_MESSAGE_LENGTH = 300


class PushgatewayError(Exception):
    """Failure to reach the Pushgateway, or its rejection of a request.

    The message says why and what to do.

    Attributes:
        rejected: it rejected the content of the push (status 400) or its size (413), so less may be accepted.
        too_large: it rejected the size.
    """

    def __init__(self, reason: str, *, rejected: bool = False, too_large: bool = False) -> None:
        super().__init__(reason)
        self.rejected = rejected or too_large
        self.too_large = too_large


class PushgatewayClient:
    """The groups on one Pushgateway.

    Arguments called `group` are whole grouping keys, with ``job``. Arguments called `until` are deadlines on the clock
    of ``time.monotonic()``.
    """

    def __init__(self, client: Client, encoding: Encoding = ENCODINGS["protobuf"]) -> None:
        self.client = client
        self._encoding = encoding

    def push(self, registry: CollectorRegistry, group: Mapping[str, str], until: float) -> float:
        """Replace the group by the families of `registry`.

        Returns:
            The server's Unix time.

        Raises:
            PushgatewayError: if the Pushgateway cannot be reached or rejects the push.
        """
        body = self._encoding.encode(registry)
        headers = {"Content-Type": self._encoding.content_type}
        return self._request("PUT", group, until, headers, body, self._encoding.accepted)

    def delete(self, group: Mapping[str, str], until: float) -> None:
        """Delete the group.

        A group that does not exist is no error.

        Raises:
            PushgatewayError: if the Pushgateway cannot be reached or rejects the request.
        """
        self._request("DELETE", group, until, {}, None, frozenset({200, 202}))

    def _request(
        self,
        method: str,
        group: Mapping[str, str],
        until: float,
        headers: Mapping[str, str],
        body: bytes | None,
        accepted: frozenset[int],
    ) -> float:
        url = f"{self.client.endpoint.url}{group_path(group)}"
        unanswered = False

        def attempt() -> float:
            nonlocal unanswered
            try:
                with contextlib.closing(self.client.send(method, url, until, headers=headers, data=body)) as answer:
                    _check_answer(answer, accepted)
                    return date_of(answer)
            except TransportError as error:
                unanswered = unanswered or error.overloaded or error.status in _NO_ANSWER_BEHIND_PROXY
                raise

        try:
            return self.client.retrying(attempt, until)
        except TransportError as error:
            unknown = unanswered and body is not None
            raise explain_push_error(error, self.client.endpoint, unanswered=unknown, size=len(body or b"")) from error


def _check_answer(answer: Answer, accepted: frozenset[int]) -> None:
    """Raise TransportError unless the answer is that of a Pushgateway.

    Such an answer has an accepted status and no body.
    """
    if answer.status not in accepted:
        hint = "VictoriaMetrics and others do; see --push-format" if answer.status == 204 else "a Pushgateway does not"
        raise TransportError(f"it answered {answer.status} ({hint}), so nothing may have been stored")
    if answer.headers.get("Content-Length") == "0":
        answer.body(0)
        return
    # The beginning of a body says who answers. Its end is not waited for.
    beginning = b""
    with contextlib.suppress(TransportError):
        beginning = next(iter(answer.chunks(_BODY_LIMIT)), b"").strip()
    if beginning:
        text = repr(one_line(beginning.decode("utf-8", "replace"), _BEGINNING_LENGTH))
        what = "a web page" if beginning.startswith(b"<") else text
        raise TransportError(f"it is not a Pushgateway: it answered {answer.status} with {what}, and may store nothing")


def date_of(answer: Answer) -> float:
    """Return the server's Unix time; ours if it does not say its own."""
    try:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return time.time()


def group_path(group: Mapping[str, str]) -> str:
    """Return the URL path of a group.

    An example is ``/metrics/job/flower/instance/host:5555``. A value with other characters than letters, digits and
    ``._~:-`` is encoded with base64, as the Pushgateway's API defines it.
    """
    labels = sorted(group.items(), key=lambda label: (label[0] != "job", label))
    return "/metrics/" + "/".join(_path_part(name, value) for name, value in labels)


def _path_part(name: str, value: str) -> str:
    if _PLAIN_VALUE.fullmatch(value):
        return f"{name}/{value}"
    return f"{name}@base64/{urlsafe_b64encode(value.encode()).decode() or '='}"


def explain_push_error(
    error: TransportError, endpoint: Endpoint, *, unanswered: bool = False, size: int = 0
) -> PushgatewayError:
    """Return the PushgatewayError for a failed request.

    Its message says what the failure means and what to do.

    Args:
        error: the failure.
        endpoint: the Pushgateway.
        unanswered: the push may have arrived although nothing answered it.
        size: bytes of the push.
    """
    reason = str(error) + _advice(error, endpoint, size)
    if error.status in (400, 404, 405) and "/metrics" in endpoint.url:
        reason += f": leave {endpoint.url[endpoint.url.index('/metrics') :]} out of its URL"
    elif error.status == 405:
        reason += ": it is not a Pushgateway; if it is Flower, swap --flower and --pushgateway"
    # Flower answers a method that it does not know with "None".
    if error.status is not None and error.body not in ("", "None") and not error.body.startswith("<"):
        reason += f": {error.body[:_MESSAGE_LENGTH]}"
        if error.status == 400 and "text format" in error.body:
            reason += "; if it accepts only text, set --push-format text"
    if unanswered:
        reason += f"; {UNKNOWN}"
    return PushgatewayError(reason, rejected=error.status == 400, too_large=error.status == 413)


def _advice(error: TransportError, endpoint: Endpoint, size: int) -> str:
    """Return the advice about a status, to be put after the reason.

    It is empty if only the body can say what to do.
    """
    if error.status in REDIRECTS:
        return f", a redirect to {error.location or 'nowhere'}: use the URL that it leads to"
    if "unsupported path requested" in error.body:
        return ": it is VictoriaMetrics; for its URL and the versions that accept pushes, see docs/victoriametrics.md"
    advice = {
        401: endpoint.sign_in.explain_401("pushgateway"),
        403: endpoint.sign_in.explain_403(),
        405: "it is not a Pushgateway, which usually listens on port 9091",
        413: f"the push has {size / 1e6:.3g} MB; raise the limit of the proxy (nginx: client_max_body_size)",
    }
    if "/metrics" not in endpoint.url:
        advice[404] = "it is not a Pushgateway, or it has a route prefix that is missing in its URL"
    return f": {advice[error.status]}" if error.status in advice else ""
