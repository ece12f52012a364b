"""Errors of a request, in words that a person can act on.

Text from a server or a library enters the process here and in `client`. It is
made printable and redacted at that point, and nowhere later.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, ProxyError, ReadTimeoutError

from push_job.text import Redactor, printable

#: Characters of a library's error message that are shown.
_REASON_LENGTH = 200


class TransportError(Exception):
    """A request failed.

    Attributes:
        transient: the same request may succeed later.
        unreachable: the name does not resolve, or nothing listens; that may take a while to change.
        overloaded: the server stopped responding or aborted, so a smaller request may succeed.
        status: the HTTP status, if the server answered.
        body: the beginning of the answer's body, on one line.
        location: the target of a redirect.
        retry_after: seconds that the server asked to wait.
    """

    def __init__(
        self,
        reason: str,
        *,
        transient: bool = False,
        overloaded: bool = False,
        unreachable: bool = False,
        status: int | None = None,
        body: str = "",
        location: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.transient = transient
        self.overloaded = overloaded
        self.unreachable = unreachable
        self.status = status
        self.body = body
        self.location = location
        self.retry_after = retry_after


class NoTlsError(TimeoutError):
    """The connection was made, but the server did not start a TLS handshake."""


def translate_error(error: Exception, timeout: float | None, redact: Redactor | None = None) -> TransportError:
    """Return the TransportError for an error of the libraries.

    Args:
        error: what requests or urllib3 raised.
        timeout: the limit of the request in seconds; None if the deadline left less.
        redact: removes secrets from the libraries' own texts.
    """
    within = limit_text(timeout)
    waited = "until the deadline" if timeout is None else f"for {timeout:.3g} s"
    redact = redact or Redactor()
    causes = list(_causes(error))
    for kinds, words, transient, overloaded in _EXPLANATIONS:
        cause = next((cause for cause in causes if isinstance(cause, kinds)), None)
        if cause is not None:
            own, root = _reason(cause, redact), _reason(causes[-1], redact)
            reason = words.format(reason=own, root=root, within=within, waited=waited)
            unreachable = isinstance(cause, _UNREACHABLE)
            return TransportError(reason, transient=transient, overloaded=overloaded, unreachable=unreachable)
    return TransportError(f"the request could not be sent ({_reason(error, redact)})")


def limit_text(timeout: float | None) -> str:
    """Return the words for a limit that was exceeded."""
    return "by the deadline" if timeout is None else f"within {timeout:.3g} s"


#: OpenSSL's verify codes of a certificate from an unknown CA (X509_STORE_CTX_get_error(3)).
_UNKNOWN_CA = frozenset({18, 19, 20, 21})

#: OpenSSL's reasons when the server speaks another protocol.
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})

_UNREACHABLE = (NameResolutionError, socket.gaierror, ConnectionRefusedError)

_NOT_HTTP = "its answer is not HTTP; is this the right port?"

#: Meaning of an error in the chain of causes, most specific first: its words, `transient`, `overloaded`.
_EXPLANATIONS: tuple[tuple[tuple[type[BaseException], ...], str, bool, bool], ...] = (
    (
        (requests.exceptions.ProxyError, ProxyError),
        "the proxy in HTTP_PROXY or HTTPS_PROXY gave no connection to it: {root}",
        True,
        False,
    ),
    ((NameResolutionError, socket.gaierror), "its name does not resolve", True, False),
    ((ssl.SSLCertVerificationError,), "its TLS certificate is not trusted: {reason}", False, False),
    ((ssl.SSLError,), "TLS failed: {reason}", True, False),
    ((NoTlsError,), "it did not start TLS {within}; if it speaks plain HTTP, use http:// in its URL", True, True),
    ((requests.ConnectTimeout,), "it did not accept a connection {within}", True, False),
    ((ReadTimeoutError, requests.ReadTimeout, TimeoutError), "it sent nothing {waited}", True, True),
    ((ConnectionRefusedError,), "it refused the connection: nothing listens on this port", True, False),
    # A server that restarts, or that closed an idle connection. It is a BadStatusLine too, so it comes first.
    ((http.client.RemoteDisconnected,), "it closed the connection without an answer", True, True),
    ((http.client.BadStatusLine, http.client.LineTooLong, http.client.UnknownProtocol), _NOT_HTTP, True, False),
    ((NewConnectionError,), "no connection could be made: {root}", True, False),
    (
        (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, HTTPError, OSError),
        "the connection broke: {root}",
        True,
        True,
    ),
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, outermost first.

    urllib3 keeps some causes as arguments.
    """
    seen: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    while queue:
        cause = queue.pop(0)
        if cause is None or any(cause is other for other in seen):
            continue
        seen.append(cause)
        yield cause
        queue += [getattr(cause, "reason", None)] if isinstance(getattr(cause, "reason", None), Exception) else []
        queue += [arg for arg in cause.args if isinstance(arg, BaseException)]
        queue += [cause.__cause__, cause.__context__]


def _reason(error: BaseException, redact: Redactor) -> str:
    """Return the shortest text that an error has for itself.

    The text has no addresses of objects.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "; give its CA's file with the option that ends in -ca-file" if error.verify_code in _UNKNOWN_CA else ""
        return error.verify_message + hint
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return "its answer is not TLS; if it speaks plain HTTP, use http:// in its URL"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first_line = (redact(str(error)).splitlines() or [""])[0]
    return printable(first_line[:_REASON_LENGTH]) or type(error).__name__
