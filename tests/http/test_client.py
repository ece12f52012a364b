"""The HTTP client on a real socket: cookies, redirects, limits and abort."""

import contextlib
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from push_job.http.client import Client
from push_job.http.errors import TransportError
from push_job.settings import Endpoint
from tests.fakes.http import Script, ScriptedServer, answer, head, json_answer, status_answer


@contextlib.contextmanager
def client_of(server: ScriptedServer) -> Iterator[Client]:
    """Yield a client with a timeout that only a mistake reaches."""
    client = Client(Endpoint.parse(server.url, "--flower"), timeout=300.0)
    try:
        yield client
    finally:
        client.close()


def soon() -> float:
    """Return a deadline that only a mistake reaches."""
    return time.monotonic() + 300


def with_cookies(number: int, size: int = 10, status: str = "200 OK") -> Script:
    """Return an answer with `number` cookies of all kinds."""
    kinds = ("", "; Path=/", "; Domain=127.0.0.1", "; HttpOnly; Max-Age=99999999", "; SameSite=None")
    cookies = [f"Set-Cookie: c{n}={'x' * size}{kinds[n % len(kinds)]}" for n in range(number)]
    lines = [f"HTTP/1.1 {status}", *cookies, "Content-Length: 2", "", ""]
    return ("\r\n".join(lines).encode() + b"{}",)


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized", "500 Oh No"])
def test_cookies_are_never_sent_back(status: str) -> None:
    with (
        ScriptedServer({"*": [with_cookies(20, status=status), json_answer({})]}) as server,
        client_of(server) as client,
    ):
        for path in ("/a", "/b", "/c"):
            with contextlib.suppress(TransportError):
                client.get(path, soon()).body(100)
        assert server.paths() == ["/a", "/b", "/c"]
        assert all("cookie" not in request.headers for request in server.requests)


@pytest.mark.limit("Flower, or a proxy in front of it", "cookies", "are not kept and not sent back")
def test_cookies_do_not_grow_memory() -> None:
    # 90 is less than the number of headers that http.client accepts.
    with ScriptedServer({"*": with_cookies(90, size=2000)}) as server, client_of(server) as client:
        client.get("/", soon()).body(100)
        assert len(client._session.cookies) == 0
        tracemalloc.start()
        try:
            client.get("/", soon()).body(100)
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(5):
                client.get("/", soon()).body(100)
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert len(client._session.cookies) == 0
    assert grown < 5 * 90 * 2000 / 4


@pytest.mark.limit(
    "Flower, or a proxy in front of it", "a redirect", "is not followed, so credentials stay with the configured server"
)
def test_a_redirect_is_not_followed() -> None:
    there = status_answer(302, headers={"Location": "/there"})
    with ScriptedServer({"/here": there, "/there": json_answer({})}) as server, client_of(server) as client:
        with pytest.raises(TransportError) as error:
            client.get("/here", soon())
        assert (error.value.status, error.value.location) == (302, "/there")
        assert server.paths() == ["/here"]


def test_connections_are_kept_between_requests() -> None:
    with ScriptedServer({"*": json_answer({})}) as server, client_of(server) as client:
        for _ in range(5):
            client.get("/", soon()).body(100)
        assert server.connections == 1
        assert client.requests == 5


@pytest.mark.parametrize(("limit", "is_read"), [(9, False), (10, True), (11, True)])
def test_a_body_may_be_as_long_as_the_limit(limit: int, is_read: bool) -> None:
    with ScriptedServer({"*": answer(b"0123456789")}) as server, client_of(server) as client:
        body: Any = None
        with contextlib.suppress(TransportError):
            body = client.get("/", soon()).body(limit)
        assert (body == b"0123456789") is is_read


@pytest.mark.parametrize(
    ("status", "transient"),
    [(400, False), (404, False), (429, True), (500, False), (502, True), (503, True), (504, True)],
)
def test_only_some_statuses_are_transient(status: int, transient: bool) -> None:
    script = status_answer(status, b"why\n\x1b[2J")
    with ScriptedServer({"*": script}) as server, client_of(server) as client, pytest.raises(TransportError) as error:
        client.get("/", soon())
    assert (error.value.status, error.value.transient) == (status, transient)
    assert error.value.body == "why �[2J"
    assert str(error.value).isprintable()


def test_no_request_is_sent_after_the_deadline_or_after_abort() -> None:
    with ScriptedServer({"*": json_answer({})}) as server, client_of(server) as client:
        with pytest.raises(TransportError):
            client.get("/", time.monotonic())
        client.abort()
        with pytest.raises(TransportError):
            client.get("/", soon())
        assert server.requests == []
        client.reset()
        assert client.get("/", soon()).body(10) == b"{}"


def test_the_query_is_encoded() -> None:
    with ScriptedServer({"*": json_answer({})}) as server, client_of(server) as client:
        client.get("/x", soon(), state="A&B", limit=5)
        assert server.requests[0].query == "state=A%26B&limit=5"


def test_a_chunked_body_is_read_to_its_end() -> None:
    script = (head(headers={"Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",)
    with ScriptedServer({"*": script}) as server, client_of(server) as client:
        assert client.get("/", soon()).body(10) == b"abcde"
