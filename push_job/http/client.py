"""Requests to one server: signed in, retried where it helps, and over by the time it was told.

Every server that the job talks to is asked this way; what an answer means is for those to say who asked.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import requests
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util.retry import Retry

from push_job import __version__, log
from push_job.http.abort import AbortableAdapter
from push_job.http.errors import TransportError, limit_text, translate_error
from push_job.settings import Credentials, Endpoint

T = TypeVar("T")

#: Answers that may be different a moment later (RFC 9110 and 6585).
_RETRY_STATUSES = frozenset({429, 502, 503, 504})

REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: Bytes asked of a socket at a time: large enough to cost little, small enough to keep memory flat.
_CHUNK = 256 * 1024

_ERROR_BODY = 2000

#: Seconds before a deadline that are not enough for a request.
_NO_TIME = 0.001

_NOT_DONE = "it was not done by the deadline"


class Client:
    """One server and the connections to it, kept alive between requests.

    `timeout` is in seconds and bounds one request, from connecting to the last byte of its answer. A moment
    called `until` is on the clock of ``time.monotonic()``; `heard` is that of the last byte that came. `abort` may be
    called from another thread.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.requests = 0
        self.heard = 0.0
        self.redact = log.Redactor(endpoint.credentials.secrets())
        self._aborted = threading.Event()
        self._session = _Session()
        self._session.auth = _Auth(endpoint.credentials)
        self._session.headers.update(
            # Not asking for compression keeps Flower's proxy idle, and leaves no room for a compressed bomb.
            {"User-Agent": f"flower-push-job/{__version__}", "Accept-Encoding": "identity"}
        )
        tls = endpoint.tls
        # Given to each request, for REQUESTS_CA_BUNDLE in the environment goes before what the session has.
        self._verify: bool | str = tls.ca_file or True
        if tls.cert_file:
            self._session.cert = (tls.cert_file, tls.key_file) if tls.key_file else tls.cert_file
        self._adapter = AbortableAdapter()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)

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
        """Send one request and hand back its answer, the body still to be read.

        Raises TransportError when there is no answer or its status is not a success; a redirect is none.
        """
        started = time.monotonic()
        ends = min(until, started + self.timeout)
        if ends - started < _NO_TIME or self._aborted.is_set():
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
        self.heard = time.monotonic()
        answer = Answer(self, response, ends, timeout)
        if self._aborted.is_set():  # in the middle of the headers, whose end looks the same
            answer.close()
        self.check_aborted()
        if not 200 <= response.status_code < 300:
            raise answer.refusal()
        return answer

    def retrying(self, attempt: Callable[[], T], until: float) -> T:
        """Call `attempt` until it succeeds, waiting longer each time, while its errors are transient.

        Raises the last TransportError when retrying cannot help, and the first one when there is no time left for it.
        """
        # The first retry is at once, then after 0.5, 1, 2, ... seconds, each with up to 0.25 more.
        retries = Retry(total=4, backoff_factor=0.25, backoff_max=5, backoff_jitter=0.25)
        first: TransportError | None = None
        while True:
            try:
                return attempt()
            except TransportError as error:
                first = first or error
                if self._aborted.is_set() or until - time.monotonic() < _NO_TIME:
                    # The last try had less time than it needed, so the first one knows better what is wrong.
                    raise first from None
                if not error.transient:
                    raise
                try:
                    retries = retries.increment("GET", self.endpoint.url)
                except MaxRetryError:
                    raise error from None
                pause = max(retries.get_backoff_time(), error.retry_after or 0.0)
                if time.monotonic() + pause >= until or self._aborted.wait(pause):
                    raise

    def check_aborted(self) -> None:
        """Raise TransportError after `abort`: what then looks like the end of an answer may not be one."""
        if self._aborted.is_set():
            raise TransportError(_NOT_DONE)

    def abort(self) -> None:
        """Break every request that is under way and let none begin; safe from any thread."""
        self._aborted.set()
        self._adapter.abort()

    def renew(self) -> None:
        """Make ready for another turn, aborted or not."""
        self._aborted.clear()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def failure(self, error: Exception, timeout: float | None) -> TransportError:
        """What the libraries raised, in our words: it comes from `abort` itself if that was called."""
        return TransportError(_NOT_DONE) if self._aborted.is_set() else translate_error(error, timeout)


class Answer:
    """A server's answer, whose body is read as a stream and must be read to its end or closed.

    It has to be whole by the moment `ends`: `timeout` seconds after the request, or the deadline if that is None.
    """

    def __init__(self, client: Client, response: requests.Response, ends: float, timeout: float | None) -> None:
        self._client = client
        self._response = response
        self._ends = ends
        self._timeout = timeout
        self.headers: Mapping[str, str] = response.headers

    def chunks(self, limit: int) -> Iterator[bytes]:
        """The body in pieces of at most 256 KiB.

        Raises TransportError when it breaks off, is longer than `limit` bytes, or takes too long.
        """
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            self.close()
            raise TransportError(f"it sent a body encoded as {encoding[:40]!r}, which was not asked for")
        total = 0
        read1 = self._response.raw.read1
        try:
            while chunk := read1(_CHUNK, decode_content=False):
                total += len(chunk)
                if total > limit:
                    raise TransportError(f"its answer is longer than {limit / 2**20:,.0f} MiB")
                yield chunk
                self._client.heard = time.monotonic()
                if self._client.heard > self._ends:
                    raise TransportError(
                        f"its answer was not complete {limit_text(self._timeout)}",
                        transient=True,
                        overloaded=True,
                    )
            self._client.check_aborted()
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise self._client.failure(error, self._timeout) from error
        finally:
            # After the last byte this gives the connection back; before it, it ends it.
            self.close()

    def body(self, limit: int) -> bytes:
        """The whole body; raises what `chunks` raises."""
        return b"".join(self.chunks(limit))

    def close(self) -> None:
        """Let go of the connection, which is kept for the next request if the body was read to its end."""
        raw: Any = self._response.raw
        if raw.closed:
            self._response.close()
        else:
            raw.close()

    def refusal(self) -> TransportError:
        """The error that an answer with no success status is."""
        status = self._response.status_code
        text = b""
        # The status says enough when the body that explains it cannot be read.
        with contextlib.suppress(TransportError), contextlib.closing(self):
            for chunk in self.chunks(2**20):
                text += chunk
                if len(text) > _ERROR_BODY:
                    break
        redact = self._client.redact
        body = " ".join(redact(text[:_ERROR_BODY].decode("utf-8", "replace")).split())
        return TransportError(
            f"it answered {status} {redact(str(self._response.reason or ''))[:60]}".rstrip(),
            transient=status in _RETRY_STATUSES,
            status=status,
            body=body,
            location=redact(self.headers.get("Location", "")),
            retry_after=_retry_after(self._response.raw) if status in _RETRY_STATUSES else None,
        )


class _Session(requests.Session):
    """Follows no redirect, and does not read the body of one to find out whether it might."""

    def get_redirect_target(self, _response: requests.Response) -> str | None:
        """Where to go next: nowhere."""
        return None


class _Auth(requests.auth.AuthBase):
    """Signs requests, and keeps requests from signing with what it finds in a ``.netrc``."""

    def __init__(self, credentials: Credentials) -> None:
        self._headers = credentials.headers()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers)
        return request


def proxy_of(url: str) -> str | None:
    """The URL of the proxy that requests to `url` go through, which HTTP_PROXY and its like in the environment say."""
    return requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))


def _retry_after(response: BaseHTTPResponse) -> float | None:
    """Seconds that the server asked to be left alone, or None when it did not say so in a form that HTTP knows."""
    try:
        return Retry().get_retry_after(response)
    except (HTTPError, ValueError, OverflowError):
        return None
