"""A proxy in front of an HTTP server that breaks exchanges according to a plan.

It receives complete requests and answers, and sends them on as a script of steps (tests/fakes/http.py). So a fault is
a function that makes a script of a message. The plan also says what happens to a connection before its first request,
and when the port opens.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO

from tests.fakes.http import Script, play, reset_when_closed, shut_down

Mangle = Callable[["Message"], Script]


@dataclass(frozen=True)
class Message:
    """A request or an answer.

    Attributes:
        head: first line and headers, with the empty line.
        body: the bytes after the head.
    """

    head: bytes
    body: bytes

    @property
    def complete(self) -> bytes:
        """All its bytes."""
        return self.head + self.body


def unchanged(message: Message) -> Script:
    """Return the script of a proxy that breaks nothing."""
    return (message.complete,)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one exchange.

    Attributes:
        name: for the report.
        request: what the server receives of the request.
        answer: what the client receives of the answer.
        instead: an answer that the client receives without a request to the server; or None.
    """

    name: str
    request: Mangle = unchanged
    answer: Mangle = unchanged
    instead: Script | None = None


NO_FAULT = Fault("none")


@dataclass(frozen=True)
class Plan:
    """What a proxy does from its start to its end.

    Attributes:
        exchange: returns the fault of an exchange by its number, counted from 0 over all connections.
        greeting: what happens to a connection, by its number, before anything is read from it.
        refuses_for: seconds in which the port is closed.
        full_for: seconds in which the port accepts no connection, as that of a busy server.
        likelihood: probability of a fault in an exchange.
    """

    exchange: Callable[[int], Fault] = lambda _: NO_FAULT
    greeting: Callable[[int], Script] = lambda _: ()
    refuses_for: float = 0.0
    full_for: float = 0.0
    likelihood: float = 0.0


@dataclass
class Proxy:
    """A proxy on a free port of 127.0.0.1, used as a context manager.

    It has a thread for each connection.

    Attributes:
        upstream_port: port of the real server on 127.0.0.1.
        happened: descriptions of the faults so far, in order.
        record: all that was received and sent, with the seconds since the start.
        first_contact: set when the first client has connected.
    """

    upstream_port: int
    plan: Plan
    happened: list[str] = field(default_factory=list)
    record: list[tuple[float, str, object]] = field(default_factory=list)
    first_contact: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._exchanges = 0
        self._filler: socket.socket | None = None
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def listens_at_once(self) -> bool:
        """Whether the first connection is one that the proxy sees."""
        return not (self.plan.refuses_for or self.plan.full_for)

    def __enter__(self) -> "Proxy":
        """Begin to listen, or seem dead."""
        if self.plan.refuses_for:
            self.happened.append(f"port closed for {self.plan.refuses_for:.2f} s")
        elif self.plan.full_for:
            self.happened.append(f"port full for {self.plan.full_for:.2f} s")
            # One connection fills a queue of length 0, so that the port seems dead to the next client.
            self._listener.listen(0)
            self._filler = socket.create_connection(("127.0.0.1", self.port))
        else:
            self._listener.listen(128)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections; afterwards no thread runs and nothing reaches the server."""
        self._ended.set()
        with self._lock:
            for connection in (self._listener, *self._open):
                shut_down(connection)
        for thread in self._threads:
            thread.join()
        self._listener.close()
        if self._filler:
            self._filler.close()

    def _accept(self) -> None:
        self._ended.wait(self.plan.refuses_for or self.plan.full_for)
        if self._ended.is_set():
            return
        if self._filler:
            self._listener.accept()[0].close()
        with self._lock:
            if not self._ended.is_set():
                self._listener.listen(128)
        number = 0
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.first_contact.set()
            with self._lock:
                self._open.add(client)
                if self._ended.is_set():
                    shut_down(client)
            thread = threading.Thread(target=self._serve, args=(client, self.plan.greeting(number)))
            self._threads.append(thread)
            thread.start()
            number += 1

    def _serve(self, client: socket.socket, greeting: Script) -> None:
        with client, contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(self._forget, client)
            if greeting:
                self.happened.append(f"connection greeted with {_names(greeting)}")
            if not play(greeting, client, self._ended):
                return
            server = stack.enter_context(socket.create_connection(("127.0.0.1", self.upstream_port)))
            with self._lock:
                self._open.add(server)
            stack.callback(self._forget, server)
            requests = stack.enter_context(client.makefile("rb"))
            answers = stack.enter_context(server.makefile("rb"))
            while (request := _read_message(requests)) and not self._ended.is_set():
                fault = self._next_fault(request)
                self._note("request", request)
                if fault.instead is not None:
                    self._note("answered instead", fault.instead)
                    goes_on = play(fault.instead, client, self._ended)
                else:
                    goes_on = self._exchange(fault, request, client, server, answers)
                if not goes_on:
                    return

    def _next_fault(self, request: Message) -> Fault:
        with self._lock:
            number = self._exchanges
            self._exchanges += 1
            fault = self.plan.exchange(number)
            if fault is not NO_FAULT:
                line = request.head.partition(b"\r\n")[0].decode("latin-1")
                self.happened.append(f"exchange {number} ({line}): {fault.name}")
        return fault

    def _exchange(
        self, fault: Fault, request: Message, client: socket.socket, server: socket.socket, answers: BinaryIO
    ) -> bool:
        script = fault.request(request)
        self._note("sent to the server", script)
        if not play(script, server, self._ended, waits_for=client):
            if server.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER):
                reset_when_closed(client)
            return False
        answer = _read_message(answers)
        self._note("answer", answer)
        if answer is None:
            return False
        script = fault.answer(answer)
        self._note("sent to the client", script)
        return play(script, client, self._ended)

    def _note(self, what: str, it: object) -> None:
        self.record.append((time.monotonic() - self._started, f"{threading.current_thread().name}: {what}", it))

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)


def _names(script: Script) -> str:
    return ", ".join(type(step).__name__.lower() for step in script)


def _read_message(reader: BinaryIO) -> Message | None:
    """Return the next request or answer; None if the connection was closed."""
    lines: list[bytes] = []
    length = 0
    while True:
        line = reader.readline()
        lines.append(line)
        if not line.endswith(b"\n"):
            return None
        if line == b"\r\n":
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    body = reader.read(length)
    return Message(b"".join(lines), body) if len(body) == length else None
