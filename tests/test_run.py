"""`push-job run` makes cycle after cycle on real services.

It continues through outages, until a signal stops it.
"""

import contextlib
import fcntl
import os
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import pytest
import requests

from push_job.settings import Settings
from testbed.command import ROOT, PushJob, clean_environment
from testbed.events import fill
from testbed.services import Flower, Pushgateway, Redis, Testbed
from tests.fakes.http import ScriptedServer, Wait, answer, json_answer
from tests.independent import eventually, without_group
from tests.run_loop import DOWN, PUSH_FAILED, PUSHED, Loop, time_of

WORKERS = json_answer({"celery@a": True})
NOBODY = ("--flower", "http://127.0.0.1:9", "--pushgateway", "http://127.0.0.1:9", "--deadline", "1")
RAISES = ("-c", "import push_job.cli as cli; cli.Job._push = lambda job, cycle: [][0]; cli.main()")


@pytest.fixture(scope="module")
def small_flower(testbed: Testbed, redis: Redis) -> Iterator[Flower]:
    """A Flower that the tests may pause and stop, with a few tasks."""
    flower = testbed.flower(redis)
    fill(redis.url, 50)
    flower.wait_for_tasks(50)
    yield flower
    flower.stop()


@contextlib.contextmanager
def paused(flower: Flower) -> Iterator[None]:
    """Pause the Flower: it accepts connections and answers nothing."""
    flower.pause()
    try:
        yield
    finally:
        flower.resume()


def to_both(flower: Flower, gateway: Pushgateway, *more: str) -> tuple[str, ...]:
    return ("--flower", flower.url, "--pushgateway", gateway.url, *more)


def test_the_first_cycle_starts_at_once_and_a_signal_ends_the_wait(
    flower: Flower, clean_pushgateway: Pushgateway
) -> None:
    with Loop(*to_both(flower, clean_pushgateway, "--every", "3600")) as loop:
        loop.wait_for(1)
        assert [group["labels"]["job"] for group in clean_pushgateway.groups()] == ["flower"]
        # One cycle may be left out, and the next one may take until its deadline.
        (late_after,) = [
            value for (name, _), value in clean_pushgateway.samples().items() if name == "push_job_max_age_seconds"
        ]
        assert late_after == 2 * 3600 + Settings.deadline
        code, seconds = loop.stop()
        assert code == 0
        assert seconds < 60  # of 3600; a tenth of a second on a quiet machine
        assert loop.cycles() == [PUSHED]
        assert loop.log()[-1]["signal"] == "SIGTERM"


def test_cycles_keep_to_their_grid_however_long_they_take(clean_pushgateway: Pushgateway) -> None:
    slow = (Wait(0.25), *json_answer({}))
    with (
        ScriptedServer({"/api/workers": WORKERS, "/api/tasks": slow}) as server,
        Loop("--flower", server.url, "--pushgateway", clean_pushgateway.url, "--every", "0.5") as loop,
    ):
        loop.wait_for(14)
        began = [time_of(line) - line["seconds"] for line in loop.log()]
    phases = [(at - began[0] + 0.25) % 0.5 for at in began]
    # A busy machine may delay some cycles, but not the ones after them. A loop that counted from the end of a cycle
    # would be 0.25 s later every time.
    on_grid = [phase for phase in phases if abs(phase - statistics.median(phases)) < 0.1]
    assert len(on_grid) >= len(phases) // 2, phases


def test_cycles_never_overlap_while_flower_is_slow(small_flower: Flower, clean_pushgateway: Pushgateway) -> None:
    with Loop(*to_both(small_flower, clean_pushgateway, "--every", "0.3")) as loop:
        loop.wait_for(3)
        with paused(small_flower):
            before = len(loop.cycles())
            seen = set()
            for _ in range(30):
                seen.add(loop.connections_to(small_flower.port))
                time.sleep(0.05)
            during = len(loop.cycles()) - before
        loop.wait_for_more(4)
        log = loop.log()
    assert during <= 1  # one that had its answers already
    assert seen <= {0, 1}
    assert set(loop_outcomes(log)) == {PUSHED}
    for earlier, later in pairwise(log):
        assert time_of(later) - later["seconds"] >= time_of(earlier) - 0.005
    assert max(line["seconds"] for line in log) > 1


def loop_outcomes(log: list[dict[str, str]]) -> list[str]:
    return [outcome for outcome, _ in groupby(line["msg"] for line in log)]


def test_only_cycles_of_an_outage_fail_and_nothing_leaks(small_flower: Flower, testbed: Testbed) -> None:
    gateway = testbed.pushgateway()
    options = ("--every", "0.05", "--deadline", "10", "--timeout", "6")
    with Loop(*to_both(small_flower, gateway, *options)) as loop:
        loop.wait_for(5)
        between_cycles = min(loop.resources() for _ in range(50))
        assert between_cycles[0] == 1
        loop.wait_for(55)
        eventually(lambda: loop.resources() == between_cycles)
        small_flower.stop()
        loop.wait_for_more(2, DOWN)
        small_flower.start()
        loop.wait_for_more(5)
        gateway.stop()
        loop.wait_for_more(2, PUSH_FAILED)
        gateway.start()
        loop.wait_for_more(5)
        with paused(small_flower):
            loop.wait_for_more(2, DOWN)
        loop.wait_for_more(5)
        eventually(lambda: loop.resources() == between_cycles)
        assert loop.stop()[0] == 0
        outcomes = loop_outcomes(loop.log())
        # A cycle that was running when the signal came may still have pushed after it.
        assert outcomes[:8] == [PUSHED, DOWN, PUSHED, PUSH_FAILED, PUSHED, DOWN, PUSHED, "stopping"]
    assert [value for (name, _), value in gateway.samples().items() if name == "flower_up"] == [1]
    gateway.stop()


def test_resident_size_stays_flat(small_flower: Flower, clean_pushgateway: Pushgateway) -> None:
    with Loop(*to_both(small_flower, clean_pushgateway, "--every", "0.001")) as loop:
        loop.wait_for(100)
        early = loop.seen.memory_info().rss
        loop.wait_for(500, timeout=600)
        assert loop.seen.memory_info().rss < 1.05 * early


@pytest.mark.slow
def test_one_connection_to_each_server_serves_all_cycles() -> None:
    tasks = json_answer({"a": {"name": "shop.kept", "state": "SUCCESS", "runtime": 1.0, "timestamp": 1.7e9}})
    with (
        ScriptedServer({"/api/workers": WORKERS, "/api/tasks": tasks}) as flower,
        ScriptedServer({"*": answer(b"")}) as gateway,
        Loop("--flower", flower.url, "--pushgateway", gateway.url, "--every", "0.01") as loop,
    ):
        loop.wait_for(30)
        assert (flower.connections, gateway.connections) == (1, 1)


def test_a_cycle_that_raises_is_logged_and_the_next_one_follows() -> None:
    with Loop("--every", "0.05", program=RAISES) as loop:
        eventually(lambda: len(loop.log()) >= 3)
        assert loop.stop()[0] == 0
        failed = [line for line in loop.log() if line["msg"] != "stopping"]
    assert {(line["level"], line["msg"]) for line in failed} == {("error", "cycle failed")}
    assert all("IndexError: list index out of range" in line["error"] for line in failed)


def test_a_signal_at_any_time_means_exit_zero_and_a_complete_group(
    small_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    assert push_job("push", *to_both(small_flower, clean_pushgateway)).returncode == 0
    complete = without_group(clean_pushgateway.samples(job="flower")).keys()
    assert complete
    with contextlib.ExitStack() as stack:
        loops = {
            job: stack.enter_context(Loop(*to_both(small_flower, clean_pushgateway, "--every", "0.01", "--job", job)))
            for job in ("a", "b", "c", "d", "e", "f")
        }
        for number, (job, loop) in enumerate(loops.items()):
            loop.wait_for(1)
            time.sleep(random.uniform(0, 0.1))
            assert loop.stop((signal.SIGTERM, signal.SIGINT)[number % 2])[0] == 0
            assert without_group(clean_pushgateway.samples(job=job)).keys() == complete


def test_a_signal_in_a_hanging_cycle_ends_it_by_the_deadline(
    small_flower: Flower, clean_pushgateway: Pushgateway
) -> None:
    options = ("--every", "0.01", "--deadline", "5")
    with paused(small_flower), Loop(*to_both(small_flower, clean_pushgateway, *options)) as loop:
        eventually(lambda: loop.connections_to(small_flower.port))
        # timeout(1) signals the process, and its group right after that.
        loop.process.terminate()
        code, seconds = loop.stop()
        assert code == 0
        assert seconds < 5 + 20
        assert loop.cycles() == [DOWN]
    samples = clean_pushgateway.samples()
    assert [value for (name, _), value in samples.items() if name == "flower_up"] == [0]
    assert without_group(samples) == {}


def test_a_second_signal_later_ends_it_at_once(small_flower: Flower, clean_pushgateway: Pushgateway) -> None:
    options = ("--every", "1", "--deadline", "600", "--timeout", "600")
    with paused(small_flower), Loop(*to_both(small_flower, clean_pushgateway, *options)) as loop:
        eventually(lambda: loop.connections_to(small_flower.port))
        loop.process.send_signal(signal.SIGINT)
        eventually(lambda: loop.log()[-1:] and loop.log()[-1]["msg"] == "stopping")
        time.sleep(1.2)
        assert loop.process.poll() is None
        code, seconds = loop.stop(signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert seconds < 60


@pytest.mark.slow
def test_a_signal_between_any_two_lines_of_the_loop_ends_it() -> None:
    # threading.Event would wait for itself here: its lock is held where the handler comes in between.
    done = subprocess.run(
        [sys.executable, "-m", "tests.run_signals"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


@pytest.mark.slow
def test_a_signal_while_a_log_line_cannot_be_written_still_ends_it() -> None:
    long = RAISES[1].replace("[][0]", "{}['x' * 200_000]")
    command = [sys.executable, "-c", long, "run", "--every", "0.01"]
    # Only a buffer, which stderr has by default, refuses a write within a write.
    env = {name: value for name, value in clean_environment().items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE) as loop:
        try:
            assert loop.stderr is not None
            pipe = loop.stderr.fileno()
            eventually(lambda: struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0] >= 65536)
            loop.send_signal(signal.SIGTERM)
            # The handler runs while the line is being written: once the signal is not pending any more.
            eventually(lambda: not is_pending(loop.pid, signal.SIGTERM))
            errors = loop.communicate(timeout=120)[1]
        finally:
            loop.kill()
    assert loop.returncode == 0, errors[-500:]
    assert b"Traceback" not in errors


def is_pending(pid: int, number: int) -> bool:
    """Return whether a signal has been sent to a process but not delivered."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_both_signals_are_caught(flower: Flower, clean_pushgateway: Pushgateway) -> None:
    with Loop(*to_both(flower, clean_pushgateway, "--every", "60")) as loop:
        loop.wait_for(1)
        status = Path(f"/proc/{loop.process.pid}/status").read_text()
        (caught,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:")]
    for number in (signal.SIGTERM, signal.SIGINT):
        assert caught >> (number - 1) & 1


def test_delete_on_exit_removes_its_groups_and_only_them(flower: Flower, clean_pushgateway: Pushgateway) -> None:
    others = [{"job": "flower", "instance": "elsewhere:5555"}, {"job": "backup"}]
    for other in others:
        path = "/".join(f"{name}/{value}" for name, value in other.items())
        requests.put(f"{clean_pushgateway.url}/metrics/{path}", data="up 1\n", timeout=10).raise_for_status()
    options = ("--every", "0.1", "--delete-on-exit", "--flower", "http://127.0.0.1:9", "--deadline", "10")
    with Loop(*to_both(flower, clean_pushgateway, *options)) as loop:
        loop.wait_for(1)
        loop.wait_for(1, DOWN)
        assert len(clean_pushgateway.groups()) == 4
        assert loop.stop(signal.SIGINT)[0] == 0
    left = [{name: value for name, value in group["labels"].items() if value} for group in clean_pushgateway.groups()]
    assert sorted(left, key=len, reverse=True) == others


@pytest.mark.slow
def test_groups_that_cannot_be_deleted_on_exit_mean_exit_three() -> None:
    with Loop("--every", "60", "--delete-on-exit", *NOBODY) as loop:
        loop.wait_for(1, PUSH_FAILED)
        assert loop.stop()[0] == 3


@pytest.mark.parametrize("goes_well", [True, False])
def test_the_heartbeat_file_is_touched_after_each_cycle(
    flower: Flower, clean_pushgateway: Pushgateway, tmp_path: Path, goes_well: bool
) -> None:
    heartbeat = tmp_path / "heartbeat"
    servers = to_both(flower, clean_pushgateway) if goes_well else NOBODY
    with Loop("--every", "0.05", "--heartbeat-file", str(heartbeat), *servers) as loop:
        for _ in range(3):
            loop.wait_for_more(1, PUSHED if goes_well else PUSH_FAILED)
            os.utime(heartbeat, (0, 0))
            eventually(lambda: heartbeat.stat().st_mtime > 0)


@pytest.mark.parametrize("place", ["missing/heartbeat", "."])
def test_an_unwritable_heartbeat_file_means_exit_two_at_the_start(
    quick_push_job: PushJob, tmp_path: Path, place: str
) -> None:
    with ScriptedServer({"*": answer(b"")}) as server:
        servers = ("--flower", server.url, "--pushgateway", server.url)
        done = quick_push_job("run", "--every", "1", "--heartbeat-file", str(tmp_path / place), *servers)
        assert server.connections == 0
    assert_one_line(done, "--heartbeat-file")


@pytest.mark.parametrize("every", ["0", "-1", "soon", "nan", "inf", ""])
def test_an_invalid_interval_means_exit_two(quick_push_job: PushJob, every: str) -> None:
    assert_one_line(quick_push_job("run", "--every", every, *NOBODY), "--every")


def test_an_interval_is_needed_and_may_come_from_the_environment(quick_push_job: PushJob) -> None:
    assert_one_line(quick_push_job("run", *NOBODY), "--every")
    assert_one_line(quick_push_job("run", *NOBODY, env={"PUSH_JOB_EVERY": "often"}), "PUSH_JOB_EVERY", "often")


def assert_one_line(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    for word in words:
        assert word in line


@pytest.mark.slow
def test_the_shortest_interval_means_cycle_after_cycle() -> None:
    with Loop("--every", "1e-7", *NOBODY) as loop:
        loop.wait_for(2, PUSH_FAILED)
        assert loop.stop()[0] == 0


@pytest.mark.slow
def test_the_heartbeat_file_is_touched_after_a_cycle_that_raises(tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    with Loop("--every", "0.05", "--heartbeat-file", str(heartbeat), program=RAISES) as loop:
        eventually(lambda: bool(loop.log()))
        os.utime(heartbeat, (0, 0))
        eventually(lambda: heartbeat.stat().st_mtime > 0)


@pytest.mark.slow
def test_a_heartbeat_file_that_cannot_be_touched_later_is_logged(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with Loop("--every", "0.05", "--heartbeat-file", str(folder / "heartbeat"), *NOBODY) as loop:
        loop.wait_for(1, PUSH_FAILED)
        shutil.rmtree(folder)
        loop.wait_for_more(3, PUSH_FAILED)
        assert loop.stop()[0] == 0
        lines = [line for line in loop.log() if line["msg"] == "heartbeat file not written"]
    assert len(lines) >= 2
    assert {(line["level"], line["reason"]) for line in lines} == {("warning", "No such file or directory")}
