"""Transient errors are retried after growing pauses; other errors are not."""

import contextlib
import json
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from push_job.http.client import Client, _pause_before
from push_job.http.errors import TransportError
from push_job.settings import Endpoint
from tests.fakes.http import Close, Reset, Script, ScriptedServer, answer, head, status_answer
from tests.faults.cycles import PUSHED, TASKS, WORKERS, fake_flower, run_cycle
from tests.metric_messages import unlabelled

pytestmark = pytest.mark.usefixtures("no_pauses")

BODY = b'{"task-1": {"name": "shop.buy", "state": "SUCCESS"}}'
COMPLETE = head(content_length=len(BODY)) + BODY
SHA1_OF_ANOTHER_BODY = {"Etag": '"da39a3ee5e6b4b0d3255bfef95601890afd80709"'}

TRANSIENT: dict[str, Script] = {
    "502": status_answer(502),
    "503": status_answer(503),
    "504": status_answer(504),
    "429": status_answer(429),
    "closed before the answer": (Close(),),
    "reset before the answer": (Reset(),),
    "reset in the head": (b"HTTP/1.1 200 OK\r\nContent-", Reset()),
    "an invalid status line": (b"\x00\xffHTTP/1.1 200 OK\r\n\r\n", Close()),
}

TRANSIENT_AT_FLOWER: dict[str, Script] = {
    "closed in the head": (b"HTTP/1.1 200 OK\r\nContent-", Close()),
    "closed in the body": (head(content_length=100) + b'{"task-1": {"na', Close()),
    "reset in the body": (head(content_length=100) + b'{"task-1": {"na', Reset()),
    "chunks that are cut off": (head(headers={"Transfer-Encoding": "chunked"}) + b'ff\r\n{"task-1"', Close()),
    "a chunk without a size": (head(headers={"Transfer-Encoding": "chunked"}) + b"2\r\n{}\r\nzz\r\n", Close()),
    "a body that is cut off": answer(b'{"task-1": {"name": "shop.bu'),
    "a body with another SHA-1": answer(b"{}", headers=SHA1_OF_ANOTHER_BODY),
    "no body": answer(b""),
}

PERMANENT = [400, 401, 403, 404, 405, 500, 301, 302, 304]


@pytest.mark.parametrize("path", ["/api/workers", "/api/tasks"])
@pytest.mark.parametrize(
    "fault", [*TRANSIENT.values(), *TRANSIENT_AT_FLOWER.values()], ids=[*TRANSIENT, *TRANSIENT_AT_FLOWER]
)
def test_a_transient_error_of_flower_is_retried(path: str, fault: Script) -> None:
    healthy = {"/api/workers": WORKERS, "/api/tasks": TASKS}
    with (
        ScriptedServer({**healthy, path: [fault, healthy[path]]}) as flower,
        ScriptedServer({"*": PUSHED}) as gateway,
    ):
        cycle = run_cycle(flower.url, gateway.url)
        assert cycle.outcome.scrape.error is None
        assert cycle.outcome.scrape.snapshot
        assert cycle.outcome.scrape.snapshot.task_count == 1
        assert flower.paths().count(path) == 2
        assert unlabelled(gateway.pushes[-1].body)["flower_up"] == 1


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_a_transient_error_of_the_pushgateway_repeats_the_same_push(fault: Script) -> None:
    with fake_flower() as flower, ScriptedServer({"*": [fault, PUSHED]}) as gateway:
        cycle = run_cycle(flower.url, gateway.url)
        assert cycle.outcome.push_error is None
        first, second = gateway.pushes
    assert first.method == second.method == "PUT"
    assert first.body == second.body


@pytest.mark.parametrize("status", PERMANENT)
def test_a_permanent_error_of_flower_is_not_retried(status: int) -> None:
    with fake_flower(tasks=status_answer(status)) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        cycle = run_cycle(flower.url, gateway.url)
        assert str(status) in (cycle.outcome.scrape.error or "")
        assert flower.paths().count("/api/tasks") == 1
        assert unlabelled(gateway.pushes[-1].body)["flower_up"] == 0


@pytest.mark.parametrize("status", PERMANENT)
def test_a_permanent_error_of_the_pushgateway_is_not_retried(status: int) -> None:
    with fake_flower() as flower, ScriptedServer({"*": status_answer(status)}) as gateway:
        cycle = run_cycle(flower.url, gateway.url)
        assert str(status) in (cycle.outcome.push_error or "")
        assert len(gateway.pushes) == 1


def test_a_login_that_redirects_to_itself_is_asked_once() -> None:
    with (
        ScriptedServer({"*": status_answer(302, headers={"Location": "/api/workers"})}) as flower,
        ScriptedServer({"*": PUSHED}) as gateway,
    ):
        run_cycle(flower.url, gateway.url)
        assert flower.paths() == ["/api/workers"]


def test_each_pause_is_longer_and_there_are_five_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("push_job.http.client._pause_before", _pause_before)
    now, pauses = 0.0, list[float]()

    def pause(_event: object, seconds: float) -> bool:
        nonlocal now
        now += seconds
        pauses.append(seconds)
        return False

    monkeypatch.setattr("push_job.http.client.time", SimpleNamespace(monotonic=lambda: now))
    client = Client(Endpoint("http://127.0.0.1:9"), timeout=10)
    monkeypatch.setattr(client, "_aborted", SimpleNamespace(is_set=lambda: False, wait=lambda s: pause(None, s)))
    attempts = 0

    def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise TransportError("it answered 503", transient=True, status=503)

    with contextlib.closing(client), pytest.raises(TransportError):
        client.retrying(attempt, until=100.0)
    assert attempts == 5
    now, attempts = 0.0, 0
    client.is_patient = True  # but 503 means that the server can be reached
    with pytest.raises(TransportError):
        client.retrying(attempt, until=100.0)
    assert attempts == 5
    pauses = pauses[:4]
    for seconds, least in zip(pauses, (0.0, 0.5, 1.0, 2.0), strict=True):
        assert least <= seconds <= least + 0.25


def test_a_patient_client_tries_an_unreachable_server_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("push_job.http.client._pause_before", _pause_before)
    now, attempts = 0.0, 0

    def wait(seconds: float) -> bool:
        nonlocal now
        now += seconds
        return False

    def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise TransportError("it refused the connection", transient=True, unreachable=True)

    monkeypatch.setattr("push_job.http.client.time", SimpleNamespace(monotonic=lambda: now))
    for patient, until, tries in ((False, 100.0, range(5, 6)), (True, 100.0, range(10, 200)), (True, 1.0, range(2, 5))):
        now, attempts = 0.0, 0
        client = Client(Endpoint("http://127.0.0.1:9"), timeout=10)
        monkeypatch.setattr(client, "_aborted", SimpleNamespace(is_set=lambda: False, wait=wait))
        client.is_patient = patient
        with contextlib.closing(client), pytest.raises(TransportError):
            client.retrying(attempt, until)
        assert attempts in tries
        assert now < until


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_retry_after_in_seconds_is_kept(status: int) -> None:
    refusal = status_answer(status, headers={"Retry-After": "1"})
    with fake_flower(workers=[refusal, WORKERS]) as flower, ScriptedServer({"*": [refusal, PUSHED]}) as gateway:
        cycle = run_cycle(flower.url, gateway.url)
        assert cycle.outcome.scrape.snapshot
        assert cycle.outcome.push_error is None
        for server in (flower, gateway):
            assert server.requests[1].at - server.requests[0].at >= 1.0


@pytest.mark.slow
def test_a_retry_after_with_a_date_is_kept() -> None:
    date = formatdate(time.time() + 5, usegmt=True)
    refusal = status_answer(503, headers={"Retry-After": date})
    with fake_flower(workers=[refusal, WORKERS]) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        cycle = run_cycle(flower.url, gateway.url)
        assert cycle.outcome.scrape.snapshot
        assert flower.requests[1].at - flower.requests[0].at >= 1.0


@pytest.mark.parametrize("retry_after", ["3600", "9" * 400, "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_retry_after_beyond_the_deadline_is_given_up_at_once(retry_after: str) -> None:
    refusal = status_answer(503, headers={"Retry-After": retry_after})
    with fake_flower(workers=refusal) as flower, ScriptedServer({"*": refusal}) as gateway:
        cycle = run_cycle(flower.url, gateway.url, deadline=300.0)
        assert "503" in (cycle.outcome.scrape.error or "")
        assert "503" in (cycle.outcome.push_error or "")
        assert len(flower.requests) == len(gateway.pushes) == 1
    assert cycle.seconds < 150


@pytest.mark.parametrize("retry_after", ["soon", "-1", "9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT", "1e3", "\xff"])
def test_an_invalid_retry_after_is_ignored(retry_after: str) -> None:
    refusal = status_answer(503, headers={"Retry-After": retry_after})
    with fake_flower(workers=[refusal, WORKERS]) as flower, ScriptedServer({"*": [refusal, PUSHED]}) as gateway:
        cycle = run_cycle(flower.url, gateway.url)
        assert cycle.outcome.scrape.snapshot
        assert cycle.outcome.push_error is None


ODD_BUT_COMPLETE: dict[str, Script] = {
    "100 Continue first": (head("100 Continue") * 3 + COMPLETE,),
    "HTTP/1.0": (head(content_length=len(BODY), version="HTTP/1.0") + BODY, Close()),
    "ended by closing": (head() + BODY, Close()),
    "chunked": (head(headers={"Transfer-Encoding": "chunked"}) + b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: 1\r\n\r\n",),
    "no reason phrase": (head("200", content_length=len(BODY)) + BODY,),
    "junk after it": (COMPLETE + b"junk", Close()),
    "a header without a colon": (head(headers={"no colon here": ""}).replace(b": ", b"") + BODY, Close()),
    "no Date": (COMPLETE,),
    "an invalid Date": (head(content_length=len(BODY), headers={"Date": "yesterday"}) + BODY,),
}


@pytest.mark.parametrize("tasks", ODD_BUT_COMPLETE.values(), ids=ODD_BUT_COMPLETE)
def test_an_odd_but_complete_answer_is_accepted(tasks: Script) -> None:
    with fake_flower(tasks=tasks) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        cycle = run_cycle(flower.url, gateway.url)
        assert cycle.outcome.scrape.error is None
        assert cycle.outcome.scrape.requests == 2
        assert cycle.outcome.push_error is None


@pytest.mark.parametrize(
    "date", ["Sun, 22 Nov 2015 15:4", "Sun, 22 Nov 2015 15:47:12", "Sun, 22 Nov 2015 15:47:12 \x07MT"]
)
def test_half_a_date_does_not_change_the_age_of_a_task(date: str) -> None:
    body = json.dumps({"a": {"name": "shop.age", "state": "STARTED", "started": time.time() - 10}}).encode()
    tasks = (head(content_length=len(body), headers={"Date": date}) + body,)
    with fake_flower(tasks=tasks) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        snapshot = run_cycle(flower.url, gateway.url).outcome.scrape.snapshot
    assert snapshot
    assert 10 <= snapshot.tallies["shop.age", "STARTED"].seconds < 300


def test_a_retry_without_time_left_does_not_hide_the_first_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a millisecond before the deadline is too little for a request."""
    now, tries = 0.0, 0
    monkeypatch.setattr("push_job.http.client.time", SimpleNamespace(monotonic=lambda: now))
    client = Client(Endpoint("http://127.0.0.1:9"), timeout=10)

    def attempt() -> None:
        nonlocal now, tries
        tries += 1
        if tries == 2:
            now = 4.9995
            client.get("/", until=5.0)
        raise TransportError("it refused the connection", transient=True)

    with contextlib.closing(client), pytest.raises(TransportError, match="it refused the connection"):
        client.retrying(attempt, until=5.0)
    assert tries == 2


@pytest.mark.parametrize(("status", "pushes"), [(400, 2), (413, 2), (401, 1), (403, 1), (500, 1)])
def test_only_a_push_with_rejected_content_is_repeated_without_extras(status: int, pushes: int) -> None:
    with fake_flower() as flower, ScriptedServer({"*": [status_answer(status), PUSHED]}) as gateway:
        cycle = run_cycle(flower.url, gateway.url, extras=("runtimes",))
        assert len(gateway.pushes) == pushes
        assert (cycle.outcome.push_error is None) is (pushes == 2)
