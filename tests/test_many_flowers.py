"""Several Flowers in one run: none delays another, and the limits hold."""

import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from push_job.fan_out import FanOut
from push_job.job import Job
from push_job.settings import Endpoint, Settings
from testbed.command import PushJob
from testbed.process import wait_for
from testbed.services import Flower, Pushgateway
from tests.fakes.http import ScriptedServer, Stall, Wait, answer
from tests.faults.cycles import PUSHED, fake_flower, group, is_down, settings
from tests.independent import eventually
from tests.run_loop import DOWN, Loop
from tests.run_loop import PUSHED as PUSHED_LINE


def endpoints(count: int) -> list[Endpoint]:
    return [Endpoint(f"http://flower-{number}:5555") for number in range(count)]


def test_a_flower_that_hangs_costs_the_others_no_cycle(clean_pushgateway: Pushgateway) -> None:
    with (
        fake_flower(workers=(Stall(),)) as silent,
        fake_flower() as healthy,
        Loop(
            *("--flower", silent.url, "--flower", healthy.url, "--pushgateway", clean_pushgateway.url),
            *("--every", "0.2", "--deadline", "15", "--timeout", "60"),
        ) as loop,
    ):
        loop.wait_for(1, DOWN)
        cycles = loop.cycles()
        # The deadline has room for 75. If the others waited, there would be one.
        assert cycles.index(DOWN) >= 5
        assert set(cycles) == {PUSHED_LINE, DOWN}
        loop.wait_for(2, DOWN)  # its own cycles go on too, and do not overlap
        assert is_down(clean_pushgateway, silent.url)
        assert group(clean_pushgateway, healthy.url)["flower_up"] == 1
        code, _ = loop.stop()
        assert code == 0


def _raise(*_: object) -> None:
    raise KeyError


def test_a_cycle_that_raises_leaves_no_flower_out_of_the_next_one(
    clean_pushgateway: Pushgateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_flower() as flower:
        job = Job(settings(flower.url, clean_pushgateway.url))
        with monkeypatch.context() as broken:
            broken.setattr("push_job.job.FanOut", _raise)
            ended: list[bool] = []
            job.push_for(5, lambda: ended.append(True))
            with pytest.raises(KeyError):
                job.push()
        assert ended == [True]
        job.push_for(5, _raise)
        job.wait()
        (outcome,) = job.push()
        assert (outcome.push_error, outcome.scrape.error) == (None, None)
        job.close()


class Crowd:
    """Work that lasts until `end` is set, and counts how much of it runs at a time."""

    def __init__(self) -> None:
        self.at_work: set[Endpoint] = set()
        self.most = 0
        self.end = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, flower: Endpoint) -> Endpoint:
        with self._lock:
            self.at_work.add(flower)
            self.most = max(self.most, len(self.at_work))
        self.end.wait(300)
        with self._lock:
            self.at_work.discard(flower)
        return flower


def waiting(fan: FanOut[Endpoint], seconds: float) -> threading.Thread:
    thread = threading.Thread(target=fan.wait, args=(time.monotonic() + seconds,))
    thread.start()
    return thread


@pytest.mark.slow
def test_active_flowers_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("push_job.fan_out._SILENCE", 0.001)  # 0.3 s
    crowd = Crowd()
    fan = FanOut(endpoints(3 * ACTIVE_AT_A_TIME), crowd, last_byte_at=lambda _: time.monotonic())
    thread = waiting(fan, 300)
    wait_for("the limit to be reached", lambda: crowd.most == ACTIVE_AT_A_TIME, 120)
    time.sleep(1)  # silent Flowers would have lost their places in a third of this time
    assert crowd.most == ACTIVE_AT_A_TIME
    crowd.end.set()
    thread.join()
    assert not fan.missing()


def test_silent_flowers_do_not_count_for_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("push_job.fan_out._SILENCE", 0.0001)  # 0.03 s
    crowd = Crowd()
    fan = FanOut(endpoints(2 * ACTIVE_AT_A_TIME), crowd)
    thread = waiting(fan, 300)
    wait_for("the other half to start", lambda: crowd.most == 2 * ACTIVE_AT_A_TIME, 120)
    crowd.end.set()
    thread.join()
    assert not fan.missing()


class FewThreads(threading.Thread):
    """A thread under a limit of processes: only `left` more can be started."""

    left = 0

    def start(self) -> None:
        """Start it, or raise what Python raises."""
        if FewThreads.left <= 0:
            raise RuntimeError("can't start new thread")
        FewThreads.left -= 1
        super().start()


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_every_group_is_pushed_when_the_system_has_no_more_threads(
    clean_pushgateway: Pushgateway, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    real = threading.Thread

    def few(*args: Any, **kwargs: Any) -> threading.Thread:
        return (FewThreads if kwargs.get("daemon") else real)(*args, **kwargs)  # threads of the fakes are not daemons

    with ExitStack() as stack:
        flowers = [stack.enter_context(fake_flower()) for _ in range(4)]
        gone = "http://127.0.0.1:9"
        urls = [*(flower.url for flower in flowers), gone]
        every = settings(urls[0], clean_pushgateway.url)
        job = Job(
            Settings(
                tuple(Endpoint.parse(url, "--flower") for url in urls),
                every.pushgateway,
                deadline=60,
            )
        )
        FewThreads.left = threads
        monkeypatch.setattr(threading, "Thread", few)
        outcomes = job.push()
        monkeypatch.undo()
        assert [outcome.push_error for outcome in outcomes] == [None] * 5
        assert all(group(clean_pushgateway, flower.url)["flower_up"] == 1 for flower in flowers)
        assert is_down(clean_pushgateway, gone)
        job.close()


#: Active Flowers at a time. It is not imported: the tests must notice a change.
ACTIVE_AT_A_TIME = 64

#: Pushes at a time that a Pushgateway may see. It is not imported: the test must notice a change.
PUSHES_AT_A_TIME = 4


def test_pushes_at_a_time_are_limited() -> None:
    with ExitStack() as stack:
        flowers = [stack.enter_context(fake_flower()) for _ in range(3 * PUSHES_AT_A_TIME)]
        # A connection serves one push at a time and is kept for the next, so connections count concurrent pushes.
        gateway = stack.enter_context(ScriptedServer({"*": (Wait(0.1), *answer(b""))}))
        first = settings(flowers[0].url, gateway.url)
        job = Job(replace(first, flowers=tuple(Endpoint.parse(flower.url, "--flower") for flower in flowers)))
        outcomes = job.push()
        job.close()
        assert [outcome.push_error for outcome in outcomes] == [None] * len(flowers)
        assert len(gateway.pushes) == len(flowers)
        assert 2 <= gateway.connections <= PUSHES_AT_A_TIME


@pytest.mark.slow
def test_a_push_that_got_no_slot_before_the_deadline_is_reported(quick_push_job: PushJob) -> None:
    with ExitStack() as stack:
        flowers = [stack.enter_context(fake_flower()) for _ in range(PUSHES_AT_A_TIME + 1)]
        gateway = stack.enter_context(ScriptedServer({"*": (Stall(),)}))
        options = [part for flower in flowers for part in ("--flower", flower.url)]
        done = quick_push_job("push", *options, "--pushgateway", gateway.url, "--deadline", "5", "--timeout", "60")
        assert done.returncode == 3
        assert len(done.stderr.splitlines()) == len(flowers)


def test_a_closed_terminal_ends_a_run(flower: Flower, clean_pushgateway: Pushgateway) -> None:
    servers = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    with Loop(*servers, "--every", "60", "--delete-on-exit") as loop:
        loop.wait_for(1)
        assert clean_pushgateway.groups()
        code, _ = loop.stop(signal.SIGHUP)
        assert code == 0
        assert loop.log()[-1]["signal"] == "SIGHUP"
    eventually(lambda: not clean_pushgateway.groups())


@pytest.mark.parametrize("kind", ["PASSWORD", "TOKEN"])
@pytest.mark.parametrize("server", ["FLOWER", "PUSHGATEWAY"])
def test_an_empty_variable_of_a_secret_is_ignored(quick_push_job: PushJob, server: str, kind: str) -> None:
    with fake_flower() as flower, ScriptedServer({"*": PUSHED}) as gateway:
        servers = ("--flower", flower.url, "--pushgateway", gateway.url)
        done = quick_push_job("push", *servers, env={f"PUSH_JOB_{server}_{kind}": ""})
        assert done.returncode == 0, done.stderr
        assert all("authorization" not in str(request).lower() for request in (*flower.requests, *gateway.requests))
