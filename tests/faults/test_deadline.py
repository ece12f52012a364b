"""The deadline holds for any behaviour of the servers.

Part of it is reserved to push that Flower is down.
"""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from push_job.fan_out import AT_ONCE
from push_job.flower import api
from push_job.job import Job
from testbed.command import PushJob
from testbed.process import wait_for
from testbed.services import Flower, Pushgateway
from tests.chaos.proxy import Plan, Proxy
from tests.fakes.http import Drip, Endless, Script, ScriptedServer, Stall, head, json_answer, status_answer
from tests.faults.cycles import (
    DEADLINE,
    GRACE,
    PUSHED,
    SHORT,
    TASKS,
    WORKERS,
    fake_flower,
    group,
    is_down,
    run_cycle,
    settings,
)

pytestmark = pytest.mark.slow

NEVER_DONE: dict[str, Script] = {
    "says nothing": (Stall(),),
    "drips its headers": (Drip(head(headers={"X-Padding": "x" * 10_000}, content_length=2), every=0.1),),
    "sends 100 Continue without end": (Endless(head("100 Continue"), every=0.01),),
    "stops in its body": (head(content_length=100), b'{"a": ', Stall()),
    "leaves out the last byte": (head(content_length=3), b"{}", Stall()),
    "drips its body": (head(content_length=10_000), Drip(b"{" + b" " * 9_999, every=0.1)),
    "drips the size of a chunk": (
        head(headers={"Transfer-Encoding": "chunked"}),
        Drip(b"5;" + b"x" * 10_000, every=0.1),
    ),
    "sends tasks without end": (head(), b"{", Endless(b'"a": {"name": "x", "state": "SUCCESS"}, ' * 1000)),
}


def never_done(path: str) -> pytest.MarkDecorator:
    """Return a parameter with each way of never finishing."""
    return pytest.mark.parametrize(path, NEVER_DONE.values(), ids=NEVER_DONE)


@never_done("tasks")
@pytest.mark.limit(
    "Flower, or a proxy in front of it",
    "an answer that never ends, or comes byte by byte",
    "is aborted at the deadline",
)
def test_a_flower_that_never_finishes_is_down_by_the_deadline(clean_pushgateway: Pushgateway, tasks: Script) -> None:
    with fake_flower(tasks=tasks) as flower:
        cycle = run_cycle(flower.url, clean_pushgateway.url, **SHORT)
        assert cycle.outcome.scrape.snapshot is None
        assert cycle.outcome.push_error is None
        assert cycle.seconds < DEADLINE + GRACE
        assert is_down(clean_pushgateway, flower.url)


@pytest.mark.parametrize("how", ["says nothing", "stops in its body", "drips its body"])
def test_counters_that_never_arrive_do_not_fail_the_cycle(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_OPTIONAL_SECONDS", 0.5)
    answers = {"/api/workers": WORKERS, "/api/tasks": TASKS, "/metrics": NEVER_DONE[how]}
    with ScriptedServer(answers) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        job = Job(settings(flower.url, gateway.url, deadline=60.0, timeout=60.0), keep_state=True)
        (outcome,) = job.push()
        job.close()
        assert "/metrics" in flower.paths()
    assert (outcome.scrape.error, outcome.push_error) == (None, None)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ((Stall(),), "it sent nothing until the deadline"),
        ((head(content_length=99), Drip(b"{" * 99, every=0.2)), "its answer was not complete by the deadline"),
    ],
)
def test_an_error_at_the_deadline_names_the_deadline_and_no_timeout(tasks: Script, words: str) -> None:
    with fake_flower(tasks=tasks) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        cycle = run_cycle(flower.url, gateway.url, deadline=DEADLINE, timeout=60.0)
    # On a busy machine, the cycle aborts the connection before the request itself gives up.
    assert cycle.outcome.scrape.error in {words, "it was not done by the deadline"}


def test_an_error_says_how_many_tasks_were_read() -> None:
    tasks = [
        json_answer({f"task-{number}": {"name": "shop.buy", "state": "SUCCESS"} for number in range(100)}),
        status_answer(403),
    ]
    with fake_flower(tasks=tasks) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        cycle = run_cycle(flower.url, gateway.url, page_size=100)
    assert "after 100 tasks in" in (cycle.outcome.scrape.error or "")


def test_an_error_before_the_deadline_is_reported_instead_of_the_deadline() -> None:
    tasks = [status_answer(503), NEVER_DONE["drips its headers"]]
    with fake_flower(tasks=tasks) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        cycle = run_cycle(flower.url, gateway.url, deadline=DEADLINE, timeout=60.0)
        assert flower.paths().count("/api/tasks") == 2
    assert "503" in (cycle.outcome.scrape.error or "")


@never_done("answer")
@pytest.mark.limit(
    "the Pushgateway, or a proxy in front of it", "an answer that never ends", "is aborted at the deadline"
)
def test_a_pushgateway_that_never_finishes_is_given_up_by_the_deadline(
    caplog: pytest.LogCaptureFixture, answer: Script
) -> None:
    caplog.set_level(logging.INFO, "push_job")
    with fake_flower() as flower, ScriptedServer({"*": answer}) as gateway:
        cycle = run_cycle(flower.url, gateway.url, deadline=DEADLINE, timeout=60.0)
    assert cycle.seconds < DEADLINE + GRACE
    # A Pushgateway answers a push without a body, so status 200 with a body does not mean that the group is stored.
    assert cycle.outcome.push_error
    (line,) = [record for record in caplog.records if record.name == "push_job"]
    assert line.getMessage() == "push failed"


def test_both_servers_may_be_silent_at_once() -> None:
    with fake_flower(workers=(Stall(),)) as flower, ScriptedServer({"*": (Stall(),)}) as gateway:
        cycle = run_cycle(flower.url, gateway.url, **SHORT)
    assert cycle.outcome.scrape.snapshot is None
    assert cycle.outcome.push_error
    assert cycle.seconds < DEADLINE + GRACE


def test_a_real_flower_that_hangs_is_down_and_up_in_the_next_cycle(
    clean_pushgateway: Pushgateway, flower: Flower
) -> None:
    flower.pause()
    try:
        cycle = run_cycle(flower.url, clean_pushgateway.url, **SHORT)
        assert cycle.seconds < DEADLINE + GRACE
        assert is_down(clean_pushgateway, flower.url)
    finally:
        flower.resume()
    assert run_cycle(flower.url, clean_pushgateway.url).outcome.scrape.snapshot
    assert group(clean_pushgateway, flower.url)["flower_up"] == 1


def test_a_real_pushgateway_that_hangs_is_given_up_by_the_deadline(pushgateway: Pushgateway) -> None:
    pushgateway.pause()
    try:
        with fake_flower() as flower:
            cycle = run_cycle(flower.url, pushgateway.url, **SHORT)
    finally:
        pushgateway.resume()
    assert cycle.outcome.push_error
    assert cycle.seconds < DEADLINE + GRACE


@pytest.mark.parametrize("greeting", [(Stall(),), (Drip(b"\x16\x03\x03\x40\x00" + b"\x02" * 10_000, every=0.1),)])
@pytest.mark.limit("Flower, or a proxy in front of it", "a TLS handshake that never ends", "is aborted at the deadline")
def test_a_tls_handshake_that_never_ends_is_aborted(clean_pushgateway: Pushgateway, greeting: Script) -> None:
    with ScriptedServer({}, greeting=greeting) as server, fake_flower() as flower:
        https = server.url.replace("http:", "https:")
        cycle = run_cycle(https, clean_pushgateway.url, **SHORT)
        assert cycle.seconds < DEADLINE + GRACE
        assert is_down(clean_pushgateway, https)
        cycle = run_cycle(flower.url, https, **SHORT)
        assert cycle.outcome.push_error
        assert cycle.seconds < DEADLINE + GRACE


def test_a_port_that_takes_no_connection_is_given_up_by_the_deadline(clean_pushgateway: Pushgateway) -> None:
    with Proxy(0, Plan(full_for=60.0)) as dead:
        cycle = run_cycle(dead.url, clean_pushgateway.url, **SHORT)
        assert cycle.seconds < DEADLINE + GRACE
        assert "did not accept a connection" in (cycle.outcome.scrape.error or "")
        assert is_down(clean_pushgateway, dead.url)


@contextmanager
def slow_name(monkeypatch: pytest.MonkeyPatch, lookups_that_hang: int = 10**6) -> Iterator[threading.Event]:
    """Resolve `slow.test` as 127.0.0.1, but let its first lookups hang.

    They hang until the event is set.
    """
    real, released, lookups = socket.getaddrinfo, threading.Event(), [lookups_that_hang]

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        if host != "slow.test":
            return real(host, *args, **kwargs)
        lookups[0] -= 1
        if lookups[0] >= 0:
            released.wait(300)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        yield released
    finally:
        released.set()


def under_slow_name(server: ScriptedServer) -> str:
    """Return the server's URL with the name that is slow to resolve."""
    return server.url.replace("127.0.0.1", "slow.test")


def test_a_name_that_does_not_resolve_in_time_is_left_behind(
    clean_pushgateway: Pushgateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_flower() as flower, ScriptedServer({"*": PUSHED}) as gateway, slow_name(monkeypatch):
        cycle = run_cycle(under_slow_name(flower), clean_pushgateway.url, **SHORT)
        assert cycle.seconds < DEADLINE + GRACE
        assert is_down(clean_pushgateway, under_slow_name(flower))
        cycle = run_cycle(flower.url, under_slow_name(gateway), **SHORT)
        assert cycle.outcome.push_error
        assert cycle.seconds < DEADLINE + GRACE


def test_a_push_that_hung_cannot_replace_the_push_of_a_later_cycle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = set(threading.enumerate())
    with fake_flower() as flower, ScriptedServer({"*": PUSHED}) as gateway:
        with slow_name(monkeypatch, lookups_that_hang=1) as released:
            job = Job(settings(flower.url, under_slow_name(gateway), **SHORT))
            assert job.push()[0].push_error
            assert job.push()[0].push_error is None
            hung = set(threading.enumerate()) - before
            released.set()
            wait_for("the thread of the first cycle to end", lambda: not any(_is_jobs(thread) for thread in hung), 120)
        assert len(gateway.pushes) == 1
        job.close()


def test_a_scrape_that_missed_the_deadline_pushes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    with fake_flower() as flower, ScriptedServer({"*": PUSHED}) as gateway:
        with slow_name(monkeypatch, lookups_that_hang=1) as released:
            job = Job(settings(under_slow_name(flower), gateway.url, **SHORT))
            (outcome,) = job.push()
            assert outcome.scrape.snapshot is None
            hung = set(threading.enumerate()) - before
            assert any(_is_jobs(thread) for thread in hung)
            released.set()
            wait_for("the thread of the scrape to end", lambda: not any(_is_jobs(thread) for thread in hung), 120)
        assert len(gateway.pushes) == 1
        job.close()


@pytest.mark.parametrize("last_answer", [{}, {"Connection": "close"}], ids=["kept alive", "Connection: close"])
def test_aborted_cycles_leave_no_thread_and_no_connection(
    clean_pushgateway: Pushgateway, last_answer: dict[str, str]
) -> None:
    before = set(threading.enumerate())
    headers = {"Transfer-Encoding": "chunked", **last_answer}
    with fake_flower(tasks=(head(headers=headers), Drip(b"5;" + b"x" * 10_000, every=0.1))) as flower:
        port = int(flower.url.rpartition(":")[2])
        for _ in range(3):
            run_cycle(flower.url, clean_pushgateway.url, deadline=1.5)
        new = set(threading.enumerate()) - before
        wait_for("the job's threads to end", lambda: not any(_is_jobs(thread) for thread in new), 120)
        mine = psutil.Process().net_connections("tcp")
        assert not [one for one in mine if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED"]


def _is_jobs(thread: threading.Thread) -> bool:
    return thread.is_alive() and thread.daemon  # the threads of the fakes are no daemons


def test_the_command_ends_by_the_deadline_with_exit_one_and_one_line(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower(tasks=NEVER_DONE["drips its headers"]) as flower:
        done = push_job(
            *("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url),
            *("--deadline", str(DEADLINE), "--timeout", "60"),
            timeout=60,  # the server would drip for longer
        )
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert is_down(clean_pushgateway, flower.url)


def test_more_silent_flowers_than_slots_delay_no_other(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    # The kernel accepts connections to all loopback addresses; no program answers.
    with socket.create_server(("0.0.0.0", 0), backlog=256) as silent, fake_flower() as healthy:
        port = silent.getsockname()[1]
        flowers = [f"http://127.0.1.{number}:{port}" for number in range(1, AT_ONCE + 11)]
        options = [part for url in (*flowers, healthy.url) for part in ("--flower", url)]
        done = push_job("push", *options, "--pushgateway", clean_pushgateway.url, "--deadline", "30")
        assert done.returncode == 1
        assert group(clean_pushgateway, healthy.url)["flower_up"] == 1
        assert is_down(clean_pushgateway, flowers[-1])


def test_a_silent_flower_delays_no_other(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    with fake_flower(workers=(Stall(),)) as silent, fake_flower() as healthy:
        done = push_job(
            *("push", "--flower", silent.url, "--flower", healthy.url, "--pushgateway", clean_pushgateway.url),
            *("--deadline", "10", "--timeout", "60"),
        )
        assert done.returncode == 1
        assert is_down(clean_pushgateway, silent.url)
        up, down = group(clean_pushgateway, healthy.url), group(clean_pushgateway, silent.url)
        assert up["flower_up"] == 1
        assert up["push_time_seconds"] < down["push_time_seconds"] - 1  # the healthy one did not wait for it
