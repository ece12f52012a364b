"""What can go wrong with a request, in words that a person can act on."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, ProxyError, ReadTimeoutError


class TransportError(Exception):
    """A request came to nothing.

    `transient`: asking again may help. `overloaded`: the server fell silent or broke off in the middle, so
    asking for less may help. `status` and `body` are set when it was the server's own answer;
    `retry_after` is how many seconds it asked to be left alone.
    """

    def __init__(
        self,
        reason: str,
        *,
        transient: bool = False,
        overloaded: bool = False,
        status: int | None = None,
        body: str = "",
        location: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.transient = transient
        self.overloaded = overloaded
        self.status = status
        self.body = body
        self.location = location
        self.retry_after = retry_after


class NoTlsError(TimeoutError):
    """The connection was made, and then the server said nothing that TLS begins with."""


def translate_error(error: Exception, timeout: float | None) -> TransportError:
    """Put what the libraries raised into words that a person can act on.

    `timeout` is in seconds; None if it was the deadline that left less time.
    """
    within = limit_text(timeout)
    waited = "more before the deadline" if timeout is None else f"for {timeout:.3g} s"
    causes = list(_causes(error))
    for kinds, words, transient, overloaded in _EXPLANATIONS:
        cause = next((cause for cause in causes if isinstance(cause, kinds)), None)
        if cause is not None:
            reason = words.format(reason=_reason(cause), root=_reason(causes[-1]), within=within, waited=waited)
            return TransportError(reason, transient=transient, overloaded=overloaded)
    return TransportError(f"the request could not be sent ({_reason(error)})")


def limit_text(timeout: float | None) -> str:
    """The words for the limit that a request did not keep to."""
    return "by the deadline" if timeout is None else f"within {timeout:.3g} s"


#: OpenSSL's verify codes of a certificate that nobody known has signed (X509_STORE_CTX_get_error(3)).
_UNKNOWN_CA = frozenset({18, 19, 20, 21})

#: OpenSSL's reasons when a server answers in another protocol.
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})

_NOT_HTTP = "its answer is not HTTP: is this the right port?"

#: What an error in the chain of causes means, the most telling first: its words, whether asking again may help,
#: and whether asking for less may.
_EXPLANATIONS: tuple[tuple[tuple[type[BaseException], ...], str, bool, bool], ...] = (
    (
        (requests.exceptions.ProxyError, ProxyError),
        "the proxy that HTTP_PROXY or HTTPS_PROXY names gave no connection to it: {root}",
        True,
        False,
    ),
    ((NameResolutionError, socket.gaierror), "its name does not resolve", True, False),
    ((ssl.SSLCertVerificationError,), "its TLS certificate is not trusted: {reason}", False, False),
    ((ssl.SSLError,), "TLS failed: {reason}", True, False),
    ((NoTlsError,), "it began no TLS {within}: if it speaks plain HTTP, write http:// in its URL", True, True),
    ((requests.ConnectTimeout,), "it did not accept a connection {within}", True, False),
    (
        (ReadTimeoutError, requests.ReadTimeout, TimeoutError),
        "it sent nothing {waited}",
        True,
        True,
    ),
    ((ConnectionRefusedError,), "it refused the connection: nothing listens on this port", True, False),
    # A BadStatusLine too, of a line that never came: a server that restarts, or that closed an idle connection.
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
    """The error and what caused it, outermost first, also where urllib3 keeps the cause as an argument."""
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


def _reason(error: BaseException) -> str:
    """The shortest words that an error has for itself, without the addresses of objects."""
    if isinstance(error, ssl.SSLCertVerificationError):
        cure = ": name its CA's file with the option that ends in -ca-file" if error.verify_code in _UNKNOWN_CA else ""
        return error.verify_message + cure
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return "what it answers is not TLS: if it speaks plain HTTP, write http:// in its URL"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
