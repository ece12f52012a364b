"""Aborting connections is safe at every line of the thread that uses them."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import psutil
import pytest
from urllib3 import HTTPConnectionPool

from push_job.http.abort import AbortableAdapter
from push_job.http.client import Client
from push_job.http.errors import TransportError
from push_job.settings import Endpoint
from testbed.process import wait_for
from tests.fakes.http import Drip, ScriptedServer, head


@pytest.fixture
def adapter() -> Iterator[AbortableAdapter]:
    adapter = AbortableAdapter()
    yield adapter
    adapter.close()


def pool_of(adapter: AbortableAdapter, port: int = 9) -> HTTPConnectionPool:
    """Return the pool of the adapter's connections."""
    pool: HTTPConnectionPool = adapter.poolmanager.connection_from_url(f"http://127.0.0.1:{port}")
    return pool


def test_connections_may_be_made_while_all_are_aborted(adapter: AbortableAdapter) -> None:
    pool = pool_of(adapter)
    made: list[object] = []

    def make() -> None:
        made.extend(pool._new_conn() for _ in range(5000))

    thread = threading.Thread(target=make)
    thread.start()
    while thread.is_alive():
        adapter.abort()
    assert len(made) == 5000


@contextmanager
def at_each_line_of(function: str, action: Any) -> Iterator[None]:
    """Call `action` before each line of functions with this name.

    Each call has a thread of its own. The traced code waits for it briefly.
    """
    threads: list[threading.Thread] = []

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_name != function:
            return None
        if event == "line":
            threads.append(threading.Thread(target=action))
            threads[-1].start()
            threads[-1].join(0.05)
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
        for thread in threads:
            thread.join()
    assert threads


@pytest.mark.parametrize("lines_before", range(4))
def test_a_connection_may_be_closed_while_it_is_aborted(adapter: AbortableAdapter, lines_before: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = pool_of(adapter, listener.getsockname()[1])._new_conn()
        connection.connect()
        lines = iter(range(10))

        def close_after_some_lines() -> None:
            if next(lines) == lines_before:
                connection.close()

        with at_each_line_of("abort", close_after_some_lines):
            connection.abort()  # type: ignore[attr-defined]  # not of urllib3's class
        connection.close()


def test_an_answer_aborted_in_its_headers_leaves_no_socket() -> None:
    headers = Drip(head(headers={"X-Padding": "x" * 1000}), every=0.02)
    with ScriptedServer({"*": (headers,)}) as server:
        client = Client(Endpoint.parse(server.url, "--flower"), 300.0)
        errors: list[TransportError] = []

        def get() -> None:
            try:
                client.get("/", time.monotonic() + 300.0)
            except TransportError as error:
                errors.append(error)  # it refers to the objects of the request, as a log or a later error may

        thread = threading.Thread(target=get)
        thread.start()
        wait_for("the request", lambda: len(server.requests) == 1, 120)
        time.sleep(0.1)  # most likely, some headers have arrived; if not, the result is the same
        client.abort()
        thread.join()
        port = int(server.url.rpartition(":")[2])
        mine = psutil.Process().net_connections("tcp")
        assert not [one for one in mine if one.raddr and one.raddr.port == port]
        assert "deadline" in str(errors[0])
        client.close()
