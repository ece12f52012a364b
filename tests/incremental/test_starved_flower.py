"""A real Flower that is too slow for the deadline appears after a few cycles.

They are cycles of `run`, or pushes with a state file.
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from testbed.command import PushJob
from testbed.events import fill
from testbed.services import Flower, Pushgateway, Testbed
from tests.independent import eventually
from tests.run_loop import DOWN, Loop

TASKS = 1_200
PAGE = 200

#: Pages of tasks that the starved Flower answers in a cycle. The whole list takes nine.
PAGES_IN_A_CYCLE = 4


@pytest.fixture(scope="module")
def flower(testbed: Testbed) -> Iterator[Flower]:
    redis = testbed.redis()
    flower = testbed.flower(redis)
    fill(redis.url, TASKS)
    flower.wait_for_tasks(TASKS)
    yield flower
    flower.stop()


@pytest.fixture
def starved(flower: Flower) -> Iterator[str]:
    """Yield the URL of a proxy that answers only some pages in each cycle.

    It answers PAGES_IN_A_CYCLE pages of tasks and then none, until the next cycle asks for the workers.
    """
    left = 0
    closed = threading.Event()

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal left
            if self.path.startswith("/api/workers"):
                left = PAGES_IN_A_CYCLE
            if self.path.startswith("/api/tasks"):
                left -= 1
                if left < 0:
                    closed.wait()
                    return
            with closing(http.client.HTTPConnection("127.0.0.1", flower.port)) as connection:
                connection.request("GET", self.path)
                answer = connection.getresponse()
                body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() in ("date", "content-type", "x-content-type-options"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def send_response(self, code: int, message: str | None = None) -> None:
            self.send_response_only(code, message)  # without a second Date

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    closed.set()
    server.shutdown()
    server.server_close()
    thread.join()


def pushed_tasks(pushgateway: Pushgateway) -> float:
    samples = pushgateway.samples().items()
    return sum(value for (name, _), value in samples if name == "celery_task_types_by_state")


def test_run_reads_a_starved_flower_in_several_cycles(starved: str, clean_pushgateway: Pushgateway) -> None:
    servers = ("--flower", starved, "--pushgateway", clean_pushgateway.url)
    with Loop(*servers, "--every", "0.1", "--deadline", "3", "--timeout", "3", "--page-size", str(PAGE)) as loop:
        loop.wait_for(1)
        assert loop.cycles()[:2] == [DOWN, DOWN]
        eventually(lambda: pushed_tasks(clean_pushgateway) == TASKS)


def test_pushes_with_a_state_file_read_a_starved_flower_one_after_the_other(
    starved: str, clean_pushgateway: Pushgateway, push_job: PushJob, tmp_path: Path
) -> None:
    servers = ("--flower", starved, "--pushgateway", clean_pushgateway.url)
    options = ("--state-file", str(tmp_path / "state"), "--deadline", "5", "--timeout", "5", "--page-size", str(PAGE))
    for _ in range(2):
        assert push_job("push", *servers, *options).returncode == 1
        assert pushed_tasks(clean_pushgateway) == 0
    eventually(lambda: push_job("push", *servers, *options).returncode == 0)
    assert pushed_tasks(clean_pushgateway) == TASKS
