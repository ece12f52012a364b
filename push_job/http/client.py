"""HTTP client for one server, with authentication, retries and a deadline.

Arguments called `until` are deadlines on the clock of ``time.monotonic()``.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import requests
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from push_job import log
from push_job.http.abort import AbortableAdapter
from push_job.http.errors import TransportError, limit_text, translate_error
from push_job.http.session import open_session
from push_job.settings import Endpoint, Settings
from push_job.text import Redactor, one_line

T = TypeVar("T")

#: Answers that may differ a little later (RFC 9110 and RFC 6585).
_RETRY_STATUSES = frozenset({429, 502, 503, 504})

#: Texts in the answers of Go and nginx to plain HTTP on a port that expects TLS.
_WANTS_TLS = (b"HTTP request to an HTTPS server", b"HTTP request was sent to HTTPS port")

REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: Retries of a request whose error may be gone a little later.
_RETRIES = 4

#: Bytes to read at a time: few calls, and flat memory.
_CHUNK = 256 * 1024

#: Bytes of an error's body that are kept.
_ERROR_BODY = 2000

#: Seconds before a deadline in which no request is started.
_TOO_SHORT = 0.001

_LATE = "it was not done by the deadline"


@lru_cache(maxsize=4)
def _redactor(settings: Settings) -> Redactor:
    return Redactor(settings.secrets())


def open_client(endpoint: Endpoint, settings: Settings) -> Client:
    """Return a client for `endpoint` with the timeout of `settings`.

    It redacts all secrets of the run.
    """
    return Client(endpoint, settings.timeout, _redactor(settings))


def proxy_of(url: str) -> str | None:
    """Return the URL of the proxy for requests to `url`, or None.

    The URL comes from HTTP_PROXY and similar environment variables.
    """
    return requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))


class Client:
    """One server and the connections to it, which are kept between requests.

    Attributes:
        endpoint: the server.
        is_patient: whether a server that cannot be reached is tried until the deadline. In a service mesh the network
            is refused until the sidecar is ready, and a restart of Flower takes seconds.
        timeout: limit in seconds for one request, from connecting to the last byte of the answer.
        requests: number of requests sent so far.
        last_byte_at: time of ``time.monotonic()`` when a byte last arrived.
    """

    def __init__(self, endpoint: Endpoint, timeout: float, redact: Redactor | None = None) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.is_patient = False
        self.requests = 0
        self.last_byte_at = 0.0
        self.redact = redact or Redactor(endpoint.sign_in.secrets())
        self._aborted = threading.Event()
        # Passed with each request, because REQUESTS_CA_BUNDLE overrides the session's value.
        self._verify: bool | str = endpoint.tls.ca_file or True
        self._adapter = AbortableAdapter()
        self._session = open_session(endpoint, self._adapter)

    def get(self, path: str, until: float, **params: str | int) -> Answer:
        """GET `path` below the endpoint's URL. Raises TransportError as `send` does."""
        return self.send("GET", f"{self.endpoint.url}{path}", until, params=params)

    def send(
        self,
        method: str,
        url: str,
        until: float,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        """Send one request and return its answer, whose body is still to be read.

        Raises:
            TransportError: if there is no answer, or its status is not 2xx. Redirects are not followed.
        """
        started = time.monotonic()
        ends = min(until, started + self.timeout)
        if ends - started < _TOO_SHORT or self._aborted.is_set():
            raise TransportError("no time was left before the deadline")
        self.requests += 1
        limit = ends - started
        timeout = self.timeout if ends < until else None
        try:
            response = self._session.request(
                method,
                url,
                params=params,
                headers=headers,
                data=data,
                timeout=(limit, limit),
                allow_redirects=False,
                stream=True,
                verify=self._verify,
            )
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            failure = self.failure(error, timeout)
            log.event(logging.DEBUG, "request failed", method=method, url=url, error=str(failure))
            raise failure from error
        log.event(
            logging.DEBUG,
            "request",
            method=method,
            url=response.url,
            status=response.status_code,
            seconds=time.monotonic() - started,
        )
        self.last_byte_at = time.monotonic()
        answer = Answer(self, response, ends, timeout)
        if self._aborted.is_set():  # during the headers, whose end looks the same
            answer.close()
        self.check_aborted()
        if not 200 <= response.status_code < 300:
            raise answer.as_error()
        return answer

    def retrying(self, attempt: Callable[[], T], until: float) -> T:
        """Call `attempt` until it succeeds, while its errors are transient.

        The pauses between the calls grow.

        Raises:
            TransportError: the last one if retrying cannot help, the first one if time ran out.
        """
        first: TransportError | None = None
        for retries in itertools.count():
            try:
                return attempt()
            except TransportError as error:
                first = first or error
                if self._aborted.is_set() or until - time.monotonic() < _TOO_SHORT:
                    # The last attempt had too little time, so the first error says more.
                    raise first from None
                if not error.transient or (retries >= _RETRIES and not (self.is_patient and error.unreachable)):
                    raise
                pause = max(_pause_before(retries), error.retry_after or 0.0)
                if time.monotonic() + pause >= until or self._aborted.wait(pause):
                    raise
        raise AssertionError  # the loop has no end

    def check_aborted(self) -> None:
        """Raise TransportError after `abort`.

        An answer that seems complete may then have been cut off.
        """
        if self._aborted.is_set():
            raise TransportError(_LATE)

    def abort(self) -> None:
        """Abort all requests and let none start; safe from any thread."""
        self._aborted.set()
        self._adapter.abort()

    def reset(self) -> None:
        """Allow requests again after `abort`."""
        self._aborted.clear()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def failure(self, error: Exception, timeout: float | None) -> TransportError:
        """Return the TransportError for an error of the libraries.

        After `abort` all errors mean the same.
        """
        if self._aborted.is_set():
            return TransportError(_LATE)
        return translate_error(error, timeout, self.redact)


class Answer:
    """A server's answer. Its body is a stream, to be read to its end or closed.

    The whole body has to arrive by the time `ends`.
    """

    def __init__(self, client: Client, response: requests.Response, ends: float, timeout: float | None) -> None:
        self._client = client
        self._response = response
        self._ends = ends
        self._timeout = timeout
        self.headers: Mapping[str, str] = response.headers
        self.status: int = response.status_code

    def chunks(self, limit: int) -> Iterator[bytes]:
        """Yield the body in pieces of at most 256 KiB.

        Raises:
            TransportError: if the body is cut off, is longer than `limit` bytes, or takes too long.
        """
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            self.close()
            raise TransportError(f"its body is encoded as {encoding[:40]!r}, which was not asked for")
        total = 0
        read1 = self._response.raw.read1
        try:
            while chunk := read1(_CHUNK, decode_content=False):
                total += len(chunk)
                if total > limit:
                    raise TransportError(f"its answer is longer than {limit / 2**20:,.0f} MiB")
                yield chunk
                self._client.last_byte_at = time.monotonic()
                if self._client.last_byte_at > self._ends:
                    raise TransportError(
                        f"its answer was not complete {limit_text(self._timeout)}", transient=True, overloaded=True
                    )
            self._client.check_aborted()
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise self._client.failure(error, self._timeout) from error
        finally:
            # After the last byte this returns the connection to the pool; before it, it closes the connection.
            self.close()

    def body(self, limit: int) -> bytes:
        """Return the whole body. Raises as `chunks` does."""
        return b"".join(self.chunks(limit))

    def close(self) -> None:
        """Release the connection; it is used again if the body was read to its end."""
        raw: Any = self._response.raw
        if raw.closed:
            self._response.close()
        else:
            raw.close()

    def as_error(self) -> TransportError:
        """Return the error for an answer whose status is not 2xx."""
        status = self._response.status_code
        text = b""
        # If the body cannot be read, the status has to be enough.
        with contextlib.suppress(TransportError), contextlib.closing(self):
            for chunk in self.chunks(2**20):
                text += chunk
                if len(text) > _ERROR_BODY:
                    break
        redact = self._client.redact
        reason = one_line(redact(str(self._response.reason or "")), 60)
        if status == 400 and any(hint in text for hint in _WANTS_TLS):
            reason += ": it speaks TLS; use https:// in its URL"
        return TransportError(
            f"it answered {status} {reason}".rstrip(),
            transient=status in _RETRY_STATUSES,
            status=status,
            body=one_line(redact(text.decode("utf-8", "replace")), _ERROR_BODY),
            location=one_line(redact(self.headers.get("Location", "")), _ERROR_BODY),
            retry_after=_retry_after(self._response.raw) if status in _RETRY_STATUSES else None,
        )


def _pause_before(retry: int) -> float:
    """Return the seconds to wait before a retry.

    Retries are counted from 0. The first one has no pause. The next pauses are 0.5, 1, 2 and 4 seconds, and all others
    are 5 seconds. Each of these pauses is longer by up to 0.25 seconds.
    """
    return 0.0 if retry == 0 else min(5.0, 0.25 * 2**retry) + random.uniform(0.0, 0.25)  # noqa: S311 - no secret


def _retry_after(response: BaseHTTPResponse) -> float | None:
    """Return the seconds in the Retry-After header; None if it is missing or invalid."""
    try:
        return Retry().get_retry_after(response)
    except (HTTPError, ValueError, OverflowError):
        return None
