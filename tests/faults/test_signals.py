"""A signal ends the command at once with the usual exit code.

A push is complete or not made.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.command import ROOT, clean_environment
from testbed.process import wait_for
from testbed.services import Pushgateway, Testbed
from tests.fakes.http import ScriptedServer, Stall, answer
from tests.faults.cycles import fake_flower, run_cycle

SIGNALS = [signal.SIGTERM, signal.SIGINT]
LONG = ("--deadline", "300", "--timeout", "300")

#: Seconds within which a process that ends at once has ended, on a busy machine too.
AT_ONCE = 100

#: Unsent bytes that only a push can have; the end of a connection counts as one.
STUCK = 10_000


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running `push-job`, killed at the end of the block if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "push_job", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=clean_environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended_by(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Send a signal; return whether the process ends at once as it should.

    It must end with the signal's exit code and print nothing.
    """
    process.send_signal(number)
    _, errors = process.communicate(timeout=AT_ONCE)
    return process.returncode == 128 + number and errors == ""


@pytest.fixture
def lone_pushgateway(testbed: Testbed) -> Iterator[Pushgateway]:
    """A Pushgateway that no Prometheus of another test keeps a connection to."""
    started = testbed.pushgateway()
    yield started
    started.stop()


def unsent_bytes(port: int) -> list[int]:
    """Return the unsent bytes of each connection to a local port.

    Ended connections are left out.

    The end of a connection counts as a byte until the other side has acknowledged it.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    time_wait = "06"
    return [
        int(row[4].partition(":")[0], 16) for row in rows if row[2].endswith(f":{port:04X}") and row[3] != time_wait
    ]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_the_scrape_leaves_the_group_unchanged(
    clean_pushgateway: Pushgateway, number: signal.Signals
) -> None:
    with fake_flower(tasks=[answer(b'{"a": {"name": "before"}}'), (Stall(),)]) as flower:
        run_cycle(flower.url, clean_pushgateway.url)
        before = clean_pushgateway.samples()
        with command("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url, *LONG) as process:
            wait_for("the unanswered request", lambda: flower.paths().count("/api/tasks") == 2, 120)
            assert ended_by(process, number)
    assert before
    assert clean_pushgateway.samples() == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_the_push_leaves_the_group_unchanged(
    lone_pushgateway: Pushgateway, number: signal.Signals
) -> None:
    # More than the kernel's buffers hold for a server that does not read.
    many = {str(number): {"name": f"{number} {'x' * 190}", "state": "SUCCESS"} for number in range(6_000)}
    with fake_flower(tasks=[answer(b'{"a": {"name": "before"}}'), answer(json.dumps(many).encode())]) as flower:
        run_cycle(flower.url, lone_pushgateway.url)
        before = lone_pushgateway.samples()
        lone_pushgateway.pause()
        try:
            options = ("--max-task-types", "1000000", "--page-size", "1000000")
            servers = ("--flower", flower.url, "--pushgateway", lone_pushgateway.url)
            with command("push", *servers, *options, *LONG) as process:
                port = lone_pushgateway.port
                wait_for("a push that is stuck", lambda: max(unsent_bytes(port), default=0) > STUCK, 120)
                assert ended_by(process, number)
        finally:
            lone_pushgateway.resume()
    wait_for("the Pushgateway to be done with the push", lambda: not unsent_bytes(lone_pushgateway.port), 120)
    assert before
    assert lone_pushgateway.samples() == before


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("name", "server"), [("show", "--flower"), ("delete", "--pushgateway")])
def test_a_signal_ends_the_other_commands_too(name: str, server: str, number: signal.Signals) -> None:
    with ScriptedServer({"*": (Stall(),)}) as silent, command(name, server, silent.url, *LONG) as process:
        wait_for("a request", lambda: bool(silent.requests), 120)
        assert ended_by(process, number)
