"""A server that speaks Flower's API and moves its list between answers, in ways that a real one cannot be made to."""

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

#: What to answer instead of a page of this limit at this offset: a status, 0 to close the connection, None for nothing.
Problem = Callable[[int, int], int | None]


class MovingFlower:
    """A context manager; `tasks` is the list as it is now, newest event first.

    Attributes:
        url: where it answers.
        answers: how many answers of `/api/tasks` it gave.
        longest: the most tasks in one answer.
        is_new: whether its answers have the header that those of Flower 2.2 have.
        problem: what an answer may be instead of a page.
        asked: the limit and the offset of each of them, None where there was none.
        moments: the state of each task by its id, as the list was at each of them.
    """

    def __init__(self, count: int, move: Move = lambda _: None, *, honours_offset: bool = True) -> None:
        """`move` is called before each answer of `/api/tasks` but the first."""
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
            disable_nagle_algorithm = True  # or what does not fit a segment waits for the ACK of what does

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

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
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
        """A task with an event of now."""
        stamp = 1_700_000_000.0 + next(self.clock)
        return task_id, {"name": "shop.moving", "state": state, "timestamp": stamp, "started": stamp, "runtime": 1.0}

    def touch(self, index: int, state: str = "FAILURE") -> None:
        """An event of the task at `index`, which brings it to the front."""
        task_id, _ = self.tasks.pop(index)
        self.tasks.insert(0, self.task(task_id, state))

    def arrive(self, count: int) -> None:
        """New tasks at the front."""
        for _ in range(count):
            self.tasks.insert(0, self.task(f"new-{next(self.clock)}", "STARTED"))

    @property
    def requests_for_all(self) -> int:
        """How often everything was asked for at once."""
        return self.asked.count((None, None))

    def states(self) -> Counter[str]:
        """How many tasks are in each state now."""
        return Counter(task["state"] for _, task in self.tasks)

    def status(self, target: str) -> int:
        """The status of the answer to a GET, or 0 for none."""
        query = parse_qs(urlsplit(target).query)
        limit, offset = (int(query.get(name, ["0"])[0]) for name in ("limit", "offset"))
        problem = self.problem(limit, offset) if limit else None
        return 200 if problem is None else problem

    def answer(self, target: str) -> Any:
        """What Flower would answer to a GET."""
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
    """A move that does a little of everything that a busy Flower does: events, arrivals, and forgetting when full."""
    chance = random.Random(seed)

    def move(flower: MovingFlower) -> None:
        for _ in range(chance.randrange(5 * busy)):
            flower.touch(chance.randrange(len(flower.tasks)))
        for _ in range(chance.randrange(3 * busy)):
            flower.arrive(1)
            flower.touch(chance.randrange(len(flower.tasks)))
        del flower.tasks[room:]

    return move
