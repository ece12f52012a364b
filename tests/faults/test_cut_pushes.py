"""A push that is cut off at any byte and in any way leaves the group unchanged.

A Pushgateway up to 1.5.1 (Debian's) accepts a cut-off body in the text format if it ends at the end of a line.
"""

import contextlib
import dataclasses
import json
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from push_job.metrics.registry import push_registry
from testbed.command import ROOT, clean_environment
from testbed.process import wait_for
from testbed.prometheus import Samples
from testbed.services import Pushgateway
from tests.extras_answers import GOOD, UNASKED
from tests.fakes.http import Request, ScriptedServer, answer, reset_when_closed, status_answer
from tests.faults.cycles import PUSHED, fake_flower, run_cycle
from tests.metric_messages import ends

OLD = b"# TYPE old gauge\nold 1\n"

#: Number of connections that stall at a time, and seconds of a stall.
STALLED, STALL = 200, 0.02


@dataclass(frozen=True)
class Way:
    """How a request ends early.

    Attributes:
        name: `close`, `reset`, `half close` (the answer can still be read), or `stall`: nothing comes for a while, then
            the end.
        expects: whether the client waits for the Pushgateway's `100 Continue` before the body.
    """

    name: str
    expects: bool

    def __str__(self) -> str:
        return self.name + " after 100 Continue" * self.expects


WAYS = [Way(name, expects) for name in ("close", "reset", "half close", "stall") for expects in (False, True)]


@pytest.fixture(scope="module")
def pushes() -> dict[str, Request]:
    """The request of one push of each kind.

    The kinds are a Flower that is up, one that is down, and a push with every extra.
    """
    found = {}
    for kind, answers, extras in (
        ("up", GOOD, ()),
        ("down", {"*": status_answer(500)}, ()),
        ("all extras", GOOD, UNASKED),
    ):
        with ScriptedServer(answers) as flower, ScriptedServer({"*": PUSHED}) as gateway:
            run_cycle(flower.url, gateway.url, extras=extras)
            (found[kind],) = gateway.pushes
    return found


def head_of(push: Request, *, expects: bool = False) -> bytes:
    """Return the request's first line and headers."""
    headers = {**push.headers, "content-length": str(len(push.body)), **({"expect": "100-continue"} if expects else {})}
    lines = [f"{push.method} {push.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True)
class Group:
    """The group of one push on a Pushgateway that nobody else pushes to."""

    pushgateway: Pushgateway
    push: Request

    @property
    def job(self) -> str:
        """Its job label."""
        return self.push.path.split("/")[3]

    def put(self, body: bytes, content_type: str) -> None:
        """Replace the group."""
        headers = {**self.push.headers, "content-type": content_type}
        with self.connection() as connection:
            connection.sendall(head_of(dataclasses.replace(self.push, body=body, headers=headers)) + body)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")

    def samples(self) -> Samples:
        """Return its samples without the time of the last rejection.

        The time of the last push is kept.
        """
        samples = self.pushgateway.samples(job=self.job)
        return {key: value for key, value in samples.items() if key[0] != "push_failure_time_seconds"}

    def names(self) -> Counter[str]:
        """Return the number of samples by name; fast for many samples."""
        lines = self.pushgateway.client.get(f"{self.pushgateway.url}/metrics").split("\n")
        names = Counter(line.partition("{")[0] for line in lines if f'job="{self.job}"' in line)
        return Counter(
            {name: count for name, count in names.items() if not name.startswith(("push_time", "push_fail"))}
        )

    def answered(self, *codes: str) -> float:
        """Return the number of pushes that were answered with one of these codes.

        All pushes to this Pushgateway count.
        """
        text = self.pushgateway.client.get(f"{self.pushgateway.url}/metrics")
        lines = [line for line in text.split("\n") if line.startswith("pushgateway_http_requests_total")]
        return sum(
            sample.value
            for family in text_string_to_metric_families("\n".join(lines))
            for sample in family.samples
            if sample.labels["handler"] == "push" and sample.labels["code"] in codes
        )

    def cut(self, places: Sequence[int], way: Way) -> None:
        """Send the push once per place, cut off there, and wait for the answers."""
        before = self.answered("200", "400")
        for first in range(0, len(places), STALLED):
            with contextlib.ExitStack() as afterwards:
                for place in places[first : first + STALLED]:
                    connection = self._unfinished(self.push.body[:place], way)
                    if way.name == "stall":
                        afterwards.enter_context(connection)
                    else:
                        _end(connection, way)
                time.sleep(STALL if way.name == "stall" else 0)
        # A reset can be faster than the Pushgateway reads the head; then there was no push.
        sure = len(places) if way.expects or way.name != "reset" else 1
        self.wait_for_answers(before + sure)

    def wait_for_answers(self, count: float) -> None:
        """Return once the Pushgateway has answered this number of pushes since its start."""
        wait_for("the Pushgateway's answers", lambda: self.answered("200", "400") >= count, 300)

    def connection(self) -> socket.socket:
        """Return a connection to the Pushgateway."""
        return socket.create_connection(("127.0.0.1", self.pushgateway.port))

    def _unfinished(self, part: bytes, way: Way) -> socket.socket:
        connection = self.connection()
        head = head_of(self.push, expects=way.expects)
        if way.expects:
            connection.sendall(head)
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            head = b""
        connection.sendall(head + part)
        return connection


def _end(connection: socket.socket, way: Way) -> None:
    with connection:
        if way.name == "half close":
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
        elif way.name == "reset":
            time.sleep(0 if way.expects else 0.0005)
            reset_when_closed(connection)


@pytest.mark.parametrize("kind", ["up", "down", "all extras"])
def test_a_push_cut_after_any_byte_leaves_the_group_unchanged(
    clean_pushgateway: Pushgateway, pushes: dict[str, Request], kind: str
) -> None:
    group = Group(clean_pushgateway, pushes[kind])
    body = group.push.body
    taken = []
    for way in WAYS:
        group.put(OLD, CONTENT_TYPE_LATEST)
        before = group.samples()
        group.cut(range(len(body)), way)
        if group.samples() != before:
            taken.append(str(way))
    assert taken == []
    # The complete request is accepted, so it was the cut that was rejected.
    group.put(body, group.push.headers["content-type"])
    assert "old" not in group.names()
    assert group.names()["flower_up"] == 1
    # Each family is a message, so the body was also cut at ends of messages.
    assert len(ends(body)) >= 3


def test_a_pushgateway_up_to_1_5_1_accepts_a_cut_off_text(
    clean_pushgateway: Pushgateway, pushes: dict[str, Request]
) -> None:
    text = generate_latest(push_registry(None, 1.0))
    headers = {**pushes["down"].headers, "content-type": CONTENT_TYPE_LATEST}
    group = Group(clean_pushgateway, dataclasses.replace(pushes["down"], body=text, headers=headers))
    build = clean_pushgateway.client.get_json(f"{clean_pushgateway.url}/api/v1/status")["data"]["build_information"]
    fixed = tuple(int(part) for part in build["version"].split(".")[:2]) >= (1, 6)
    for place in (0, text.index(b"\n") + 1, text.rindex(b"\n", 0, -1) + 1):
        for way in WAYS:
            group.put(OLD, CONTENT_TYPE_LATEST)
            group.cut([place], way)
            assert ("old" in group.names()) is fixed
            assert "flower_up" not in group.names()


#: Task types of a large push, which makes it about 10 MB.
MANY_TYPES = 6_000
LARGE = ("--max-task-types", "1000000", "--page-size", "1000000", "--deadline", "300", "--timeout", "300")

#: Where so many bytes have passed, there is more to come than the kernel keeps of a process that is gone.
EARLY = 3 * 2**20


class Relay:
    """Relay of one push to a Pushgateway; calls `then` once `size` bytes have passed."""

    def __init__(self, pushgateway: Pushgateway, size: int, then: Callable[[], object]) -> None:
        self._upstream = pushgateway.port
        self._size = size
        self._then = then
        self._listener = socket.create_server(("127.0.0.1", 0))
        # The less there is in the kernel's buffers, the more is still to be sent.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def pass_on(self) -> None:
        """Take one connection, and return when a side has ended it."""
        passed = 0
        with (
            self._listener,
            self._listener.accept()[0] as client,
            socket.create_connection(("127.0.0.1", self._upstream)) as server,
            contextlib.suppress(ConnectionError),
        ):
            while server not in select.select([client, server], [], [])[0]:
                data = client.recv(2**16)
                if not data:
                    return
                server.sendall(data)
                if passed <= self._size < passed + len(data):
                    self._then()
                passed += len(data)
            client.sendall(server.recv(2**16))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_push_killed_at_any_time_leaves_the_old_group_or_the_new_one(
    clean_pushgateway: Pushgateway, pushes: dict[str, Request], number: signal.Signals
) -> None:
    tasks = {str(task): {"name": f"{task} {'x' * 190}", "state": "SUCCESS"} for task in range(MANY_TYPES)}
    chance = random.Random(str(number))
    places = [chance.randrange(EARLY) for _ in range(3)] + [chance.randrange(9 * 2**20) for _ in range(3)]
    with fake_flower(tasks=answer(json.dumps(tasks).encode())) as flower:
        instance = quote(flower.url.partition("://")[2], safe="")
        group = Group(
            clean_pushgateway, dataclasses.replace(pushes["down"], path=f"/metrics/job/flower/instance/{instance}")
        )
        refusals = 0
        for place in places:
            group.put(OLD, CONTENT_TYPE_LATEST)
            answers, refused = group.answered("200", "400"), group.answered("400")
            relay = Relay(clean_pushgateway, place, lambda: process.send_signal(number))
            command = ("push", "--flower", flower.url, "--pushgateway", f"http://{relay.address}", *LARGE)
            with subprocess.Popen(
                [sys.executable, "-m", "push_job", *command], cwd=ROOT, env=clean_environment()
            ) as process:
                relay.pass_on()
            assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
            group.wait_for_answers(answers + 1)
            if group.answered("400") > refused:
                refusals += 1
                assert group.names() == {"old": 1}
            else:
                assert group.names()["celery_task_types_by_state"] == MANY_TYPES * 7
                assert group.names()["flower_up"] == 1
    assert refusals >= 3
