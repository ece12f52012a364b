"""A hostile Flower harms neither the job nor another Flower.

Such a Flower sends a huge line in /metrics, terminal escapes or cookies.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.command import PushJob
from tests.fakes.http import Script, ScriptedServer, answer, head, json_answer, status_answer
from tests.faults.cycles import PUSHED, TASKS, WORKERS, fake_flower
from tests.metric_messages import unlabelled
from tests.run_loop import PUSHED as PUSHED_LINE
from tests.run_loop import Loop

TYPE = b"# TYPE flower_events_total counter\n"

#: Lines of 200 kB that are slow to match for a careless regular expression.
LINES = {
    "a label without an end": b"flower_events_total{" + b"a" * 200_000 + b" 1\n",
    "a value without an end": b'flower_events_total{task="' + b"a" * 200_000 + b"\n",
    "escapes": b'flower_events_total{task="' + b'\\"' * 100_000 + b"\n",
    "blanks": b"flower_events_total{" + b" " * 200_000 + b"}\n",
    "labels": b"flower_events_total{" + b'a="",' * 40_000 + b"\n",
    "a name": b"a" * 200_000 + b"\n",
    "no end of line": b"flower_events_total{" + b"a" * 200_000,
}


@contextmanager
def with_line(line: bytes) -> Iterator[ScriptedServer]:
    """Yield a Flower with this line in its /metrics."""
    answers = {"/api/workers": WORKERS, "/api/tasks": TASKS, "/metrics": answer(TYPE + line)}
    with ScriptedServer(answers) as flower:
        yield flower


def pushed(gateway: ScriptedServer) -> dict[str, dict[str, float]]:
    """Return the last samples without labels of each Flower, by its address."""
    return {request.path.rpartition("/")[2]: unlabelled(request.body) for request in gateway.pushes}


def address(server: ScriptedServer) -> str:
    return server.url.removeprefix("http://")


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_huge_line_in_metrics_means_a_full_scrape(quick_push_job: PushJob, tmp_path: Path, line: bytes) -> None:
    with with_line(line) as hostile, fake_flower() as healthy, ScriptedServer({"*": PUSHED}) as gateway:
        flowers = ("--flower", hostile.url, "--flower", healthy.url)
        for _ in range(2):
            done = quick_push_job(
                *("push", *flowers, "--pushgateway", gateway.url, "--state-file", str(tmp_path / "state")),
                *("--deadline", "60"),
            )
            assert done.returncode == 0, done.stderr
        assert len(gateway.pushes) == 4
        found = pushed(gateway)
        assert found.keys() == {address(hostile), address(healthy)}
        for samples in found.values():
            assert (samples["flower_up"], samples["flower_scrape_full"], samples["flower_scrape_tasks"]) == (1, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("line", [LINES["a label without an end"], LINES["escapes"]])
@pytest.mark.limit(
    "Flower, or a proxy in front of it",
    "a huge line in `/metrics`",
    "does not delay the deadline, SIGTERM or other Flowers",
)
def test_a_huge_line_in_metrics_does_not_stop_run(line: bytes) -> None:
    with with_line(line) as hostile, fake_flower() as healthy, ScriptedServer({"*": PUSHED}) as gateway:
        flowers = ("--flower", hostile.url, "--flower", healthy.url)
        with Loop(*flowers, "--pushgateway", gateway.url, "--every", "0.1", "--deadline", "60") as loop:
            loop.wait_for(6)
            assert set(loop.cycles()) == {PUSHED_LINE}
            assert loop.stop()[0] == 0
        assert all(samples["flower_up"] == samples["flower_scrape_full"] == 1 for samples in pushed(gateway).values())


#: Escapes of C0 and C1, DEL, a bidirectional override, and a separator of lines.
ESCAPES = "boom \x1b[31mESC\x1b]0;title\x07 \x9b31mRED\x9b0m \x9d0;t\x07 \u2028 \u202eevil \x7f"


@pytest.mark.parametrize("command", ["show", "check", "push"])
@pytest.mark.parametrize("path", ["/api/workers", "/api/tasks"])
@pytest.mark.limit(
    "Flower, or a proxy in front of it", "terminal escapes in an error", "are printed escaped, by every command"
)
def test_escapes_in_an_error_are_printed_escaped(quick_push_job: PushJob, command: str, path: str) -> None:
    error = status_answer(500, ESCAPES.encode(), {"X": "y"})
    servers = {"/api/workers": WORKERS, "/api/tasks": TASKS, path: error, "*": status_answer(500, ESCAPES.encode())}
    with ScriptedServer(servers) as server:
        gateway = () if command == "show" else ("--pushgateway", server.url)
        done = quick_push_job(command, "--flower", server.url, *gateway, "--verbose")
    assert done.returncode == (3 if command == "push" else 1)
    output = done.stdout + done.stderr
    assert "boom" in output
    assert all(line.isprintable() for line in output.split("\n"))


def test_escapes_in_a_reason_phrase_and_a_location_are_printed_escaped(quick_push_job: PushJob) -> None:
    odd: Script = (head("302 \x1b[31mMoved", 0, {"Location": "/log\x9b31min\x1b[2J"}),)
    with ScriptedServer({"*": odd}) as server:
        done = quick_push_job("push", "--flower", server.url, "--pushgateway", server.url)
    assert done.returncode == 3
    assert all(line.isprintable() for line in done.stderr.split("\n"))


@pytest.mark.limit("names and texts of tasks", "terminal escapes in a name", "are printed escaped")
def test_escapes_in_names_are_printed_escaped(quick_push_job: PushJob) -> None:
    tasks = json_answer({"a": {"name": ESCAPES, "state": ESCAPES, "runtime": 1.0}})
    with fake_flower(json_answer({ESCAPES: True}), tasks) as flower:
        done = quick_push_job("show", "--flower", flower.url)
    assert done.returncode == 0
    assert all(line.isprintable() for line in done.stdout.split("\n"))
    assert "�[31mESC" in done.stdout


@pytest.mark.parametrize("times", [1, None], ids=["in the first answer", "in every answer"])
def test_cookies_are_not_sent_back_by_any_command(quick_push_job: PushJob, times: int | None) -> None:
    def with_cookies(script: Script) -> list[Script]:
        cookies = b"".join(b"Set-Cookie: c%d=%s; Path=/\r\n" % (number, b"x" * 1000) for number in range(60))
        first = script[0]
        assert isinstance(first, bytes)
        hostile = (first.replace(b"\r\n", b"\r\n" + cookies, 1),)
        return [hostile, script] if times else [hostile]

    answers = {"/api/workers": with_cookies(WORKERS), "/api/tasks": with_cookies(TASKS), "*": with_cookies(PUSHED)}
    with ScriptedServer(answers) as server:
        for _ in range(2):
            done = quick_push_job("push", "--flower", server.url, "--pushgateway", server.url)
            assert done.returncode == 0, done.stderr
        assert len(server.pushes) == 2
        assert all("cookie" not in request.headers for request in server.requests)
