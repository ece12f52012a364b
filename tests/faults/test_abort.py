"""Breaking off what is under way is safe at every moment of the thread that it breaks."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from urllib3 import HTTPConnectionPool

from push_job.http.connections import AbortableAdapter


@pytest.fixture
def adapter() -> Iterator[AbortableAdapter]:
    adapter = AbortableAdapter()
    yield adapter
    adapter.close()


def pool_of(adapter: AbortableAdapter, port: int = 9) -> HTTPConnectionPool:
    """Where the adapter's connections come from."""
    pool: HTTPConnectionPool = adapter.poolmanager.connection_from_url(f"http://127.0.0.1:{port}")
    return pool


def test_connections_may_be_made_while_all_are_broken(adapter: AbortableAdapter) -> None:
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
    """Call `action` at each line that functions of this name do, and give it a moment there, in a thread of its own."""
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
def test_a_connection_may_be_closed_while_it_is_broken(adapter: AbortableAdapter, lines_before: int) -> None:
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
