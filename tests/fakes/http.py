"""An HTTP server on a real socket that sends scripted answers, byte by byte.

    answers = {
        "/api/workers": json_answer({"celery@a": True}),
        "/api/tasks": [status_answer(503), (head(content_length=9), Drip(b'{"a": {}}', every=1.0))],
    }
    with ScriptedServer(answers) as server:
        push_job("push", "--flower", server.url)
    assert len(server.requests) == 3

A script is a tuple of steps: bytes to send, or a step below. The connection stays open for the next request unless a
step ended it. A path with a list of scripts gives them one after the other, the last of them from then on; the path
`*` stands for all that are not named, which otherwise get a 404. It does not stand for `/metrics`: a Pushgateway with
empty metrics does not exist.
"""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Drip:
    """Sends `data` in pieces of `size` bytes, one every `every` seconds."""

    data: bytes
    every: float
    size: int = 1


@dataclass(frozen=True)
class Endless:
    """Endless repetition of `data`.

    It is sent every `every` seconds; with 0, as fast as the client reads it.
    """

    data: bytes
    every: float = 0.0


@dataclass(frozen=True)
class Wait:
    """Sends nothing for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """Silence on an open connection, until the client or the server's end closes it."""


@dataclass(frozen=True)
class Close:
    """Ends the connection as usual (FIN)."""


@dataclass(frozen=True)
class Reset:
    """Breaks the connection (RST)."""


Step = bytes | Drip | Endless | Wait | Stall | Close | Reset
Script = tuple[Step, ...]


@dataclass(frozen=True)
class Request:
    """What a client sent.

    Attributes:
        headers: their names in lower case.
        at: time of time.monotonic() at which its last byte was read.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float = field(repr=False)


def head(
    status: str = "200 OK",
    content_length: int | None = None,
    headers: Mapping[str, str] | None = None,
    version: str = "HTTP/1.1",
) -> bytes:
    """Return a status line and headers, with the empty line after them."""
    lines = [f"{version} {status}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if content_length is not None:
        lines.append(f"Content-Length: {content_length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(body: bytes, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> Script:
    """Return a complete and valid answer."""
    return (head(status, len(body), headers) + body,)


def json_answer(document: Any, headers: Mapping[str, str] | None = None) -> Script:
    """Return a complete and valid answer with the document as Flower writes it."""
    return answer(json.dumps(document).encode(), headers={"Content-Type": "application/json", **(headers or {})})


def status_answer(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Script:
    """Return an answer with this status."""
    return answer(body, f"{status} Reason", headers)


class ScriptedServer:
    """HTTP server on a free port of 127.0.0.1, used as a context manager.

    It has one thread per connection.

    Attributes:
        url: `http://127.0.0.1:PORT`, or https with a `tls` context.
        requests: those that were read completely, in the order of their end.
        connections: number of accepted connections.
    """

    def __init__(
        self,
        answers: Mapping[str, Script | Sequence[Script]],
        *,
        greeting: Script = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Create a server that plays `greeting` at the start of each connection.

        It does so before it reads anything from the connection, also before the TLS handshake.
        """
        self.requests: list[Request] = []
        self.connections = 0
        self._scripts = {path: _listed(scripts) for path, scripts in answers.items()}
        self._given = dict.fromkeys(self._scripts, 0)
        self._greeting = greeting
        self._tls = tls
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "ScriptedServer":
        """Begin to accept."""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Break what is open; every thread has ended afterwards."""
        self._ended.set()
        shut_down(self._listener)
        with self._lock:
            for connection in self._open:
                shut_down(connection)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def pushes(self) -> list[Request]:
        """The requests that pushed something, in the order of their end."""
        return [request for request in self.requests if request.method == "PUT"]

    def paths(self) -> list[str]:
        """Return the path of each request so far."""
        return [request.path for request in self.requests]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
                self.connections += 1
                if self._ended.is_set():
                    shut_down(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        stream = connection
        try:
            if not play(self._greeting, stream, self._ended):
                return
            if self._tls:
                stream = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._open.add(stream)
                stream.do_handshake()
            with stream.makefile("rb") as reader:
                while request := read_request(reader):
                    with self._lock:
                        self.requests.append(request)
                    if not play(self._script(request.path), stream, self._ended):
                        return
        except OSError:
            pass  # the client left
        finally:
            with self._lock:
                self._open -= {connection, stream}
            stream.close()
            connection.close()

    def _script(self, path: str) -> Script:
        if path not in self._scripts and not path.endswith("/metrics"):
            path = "*"
        if path not in self._scripts:
            return status_answer(404)
        with self._lock:
            number = self._given[path]
            self._given[path] += 1
        scripts = self._scripts[path]
        return scripts[min(number, len(scripts) - 1)]


def _listed(scripts: Script | Sequence[Script]) -> list[Script]:
    return [scripts] if isinstance(scripts, tuple) else list(scripts)


def play(script: Script, stream: socket.socket, ended: threading.Event, waits_for: socket.socket | None = None) -> bool:
    """Do the steps on a stream; return whether the connection may be used again.

    Args:
        script: the steps.
        stream: the connection.
        ended: once set, no step waits any longer.
        waits_for: the socket whose end ends a Stall; None for the stream itself.
    """
    for step in script:
        if isinstance(step, Close):
            return False
        if isinstance(step, Reset):
            reset_when_closed(stream)
            return False
        if isinstance(step, Stall):
            wait_until_left(waits_for or stream)
            return False
        _send(step, stream, ended)
    return True


def _send(step: bytes | Drip | Endless | Wait, stream: socket.socket, ended: threading.Event) -> None:
    match step:
        case bytes():
            stream.sendall(step)
        case Drip(data, every, size):
            for start in range(0, len(data), size):
                stream.sendall(data[start : start + size])
                if ended.wait(every):
                    return
        case Endless(data, every):
            while not ended.wait(every):
                stream.sendall(data)
        case Wait(seconds):
            ended.wait(seconds)


def read_request(reader: Any) -> Request | None:
    """Return the next request, or None.

    None means that the client closed the connection or does not speak HTTP.
    """
    line = reader.readline().decode("latin-1")
    headers: dict[str, str] = {}
    while header := reader.readline().decode("latin-1").strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    words = line.split(" ")
    length = headers.get("content-length", "0")
    if len(words) != 3 or not length.isdecimal():
        return None
    body = reader.read(int(length))
    if len(body) < int(length):
        return None
    path, _, query = words[1].partition("?")
    return Request(words[0], path, query, headers, body, time.monotonic())


def wait_until_left(stream: socket.socket) -> None:
    """Read and discard everything until the other side has closed the connection."""
    while stream.recv(65536):
        pass


def reset_when_closed(stream: socket.socket) -> None:
    """Make `close` send an RST instead of a FIN."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def shut_down(stream: socket.socket) -> None:
    """Wake threads that wait for the socket; a closed one is no error."""
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)
