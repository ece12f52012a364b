"""A server with Flower's API that moves its list between answers.

A real Flower cannot be forced to do the same.
"""

import itertools
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Move = Callable[["MovingFlower"], None]

#: Returns what to send instead of a page, by its limit and offset: a status, 0 to close the connection, or None.
Problem = Callable[[int, int], int | None]


class MovingFlower:
    """A context manager; `tasks` is the list as it is now, newest event first.

    Attributes:
        url: its base URL.
        answers: number of answers with tasks.
        longest: largest number of tasks in one answer.
        is_new: whether its answers have the header of Flower 2.2.
        problem: what to send instead of a page.
        asked: limit and offset of each request for tasks; None where it had none.
        moments: the state of each task by id, at the time of each answer with tasks.
    """

    def __init__(self, count: int, move: Move = lambda _: None, *, honours_offset: bool = True) -> None:
        """`move` is called before each answer with tasks except the first."""
        self.clock = itertools.count(1)
        self.tasks = [self.task(f"old-{number}", "SUCCESS") for number in range(count)][::-1]
        self.answers = 0
        self.longest = 0
        self.is_new = False
        self.problem: Problem = lambda _limit, _offset: None
        self.asked: list[tuple[int | None, int | None]] = []
        self.moments: list[dict[str, str]] = []
        self._move = move
        self._honours_offset = honours_offset
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # otherwise the rest of an answer waits for an ACK

            def do_GET(self) -> None:
                status = fake.status(self.path)
                if not status:
                    self.close_connection = True
                    return
                body = json.dumps(fake.answer(self.path) if status == 200 else {}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if fake.is_new:
                    self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        class QuietServer(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that leaves is no error, and stderr may be that of a later test

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "MovingFlower":
        """Begin to serve."""
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()

    def task(self, task_id: str, state: str) -> tuple[str, dict[str, Any]]:
        """Return a task whose newest event happens now."""
        stamp = 1_700_000_000.0 + next(self.clock)
        return task_id, {"name": "shop.moving", "state": state, "timestamp": stamp, "started": stamp, "runtime": 1.0}

    def touch(self, index: int, state: str = "FAILURE") -> None:
        """Let the task at `index` have an event, which moves it to the front."""
        task_id, _ = self.tasks.pop(index)
        self.tasks.insert(0, self.task(task_id, state))

    def arrive(self, count: int) -> None:
        """Add new tasks at the front."""
        for _ in range(count):
            self.tasks.insert(0, self.task(f"new-{next(self.clock)}", "STARTED"))

    @property
    def requests_for_all(self) -> int:
        """Number of requests for all tasks."""
        return self.asked.count((None, None))

    def states(self) -> Counter[str]:
        """Return the number of tasks in each state now."""
        return Counter(task["state"] for _, task in self.tasks)

    def status(self, target: str) -> int:
        """Return the status of the answer to a GET; 0 for no answer."""
        query = parse_qs(urlsplit(target).query)
        limit, offset = (int(query.get(name, ["0"])[0]) for name in ("limit", "offset"))
        problem = self.problem(limit, offset) if limit else None
        return 200 if problem is None else problem

    def answer(self, target: str) -> Any:
        """Return what Flower would answer to a GET."""
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if path == "/api/workers":
            return {"celery@moving": True}
        with self._lock:
            if self.answers:
                self._move(self)
            self.answers += 1
            asked = (query.get("limit"), query.get("offset"))
            self.asked.append((int(asked[0][0]) if asked[0] else None, int(asked[1][0]) if asked[1] else None))
            self.moments.append({task_id: task["state"] for task_id, task in self.tasks})
            offset = int(query.get("offset", ["0"])[0]) if self._honours_offset else 0
            limit = int(query.get("limit", [str(len(self.tasks))])[0])
            page = self.tasks[offset : offset + limit]
            self.longest = max(self.longest, len(page))
            return dict(page)


def shuffler(seed: int, busy: int = 6, room: int = 10**9) -> Move:
    """Return a move with events, arrivals and forgotten tasks, as in a busy Flower."""
    chance = random.Random(seed)

    def move(flower: MovingFlower) -> None:
        for _ in range(chance.randrange(5 * busy)):
            flower.touch(chance.randrange(len(flower.tasks)))
        for _ in range(chance.randrange(3 * busy)):
            flower.arrive(1)
            flower.touch(chance.randrange(len(flower.tasks)))
        del flower.tasks[room:]

    return move
