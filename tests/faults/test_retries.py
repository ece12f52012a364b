"""What may heal by itself is tried again, nothing else is, and each time after a longer wait."""

import contextlib
import json
import time
from email.utils import formatdate
from itertools import pairwise
from types import SimpleNamespace

import pytest

from push_job.http.client import Client
from push_job.http.errors import TransportError
from push_job.settings import Endpoint
from tests.fakes.http import Close, Reset, Script, ScriptedServer, answer, head, status_answer
from tests.faults.turns import PUSHED, TASKS, WORKERS, fake_flower, one_turn
from tests.metric_messages import unlabelled

BODY = b'{"task-1": {"name": "shop.buy", "state": "SUCCESS"}}'
WHOLE = head(content_length=len(BODY)) + BODY
SHA1_OF_ANOTHER_BODY = {"Etag": '"da39a3ee5e6b4b0d3255bfef95601890afd80709"'}

HEALS: dict[str, Script] = {
    "502": status_answer(502),
    "503": status_answer(503),
    "504": status_answer(504),
    "429": status_answer(429),
    "closed before the answer": (Close(),),
    "reset before the answer": (Reset(),),
    "reset in the head": (b"HTTP/1.1 200 OK\r\nContent-", Reset()),
    "a status line that is none": (b"\x00\xffHTTP/1.1 200 OK\r\n\r\n", Close()),
}

HEALS_AT_FLOWER: dict[str, Script] = {
    "closed in the head": (b"HTTP/1.1 200 OK\r\nContent-", Close()),
    "closed in the body": (head(content_length=100) + b'{"task-1": {"na', Close()),
    "reset in the body": (head(content_length=100) + b'{"task-1": {"na', Reset()),
    "chunks that break off": (head(headers={"Transfer-Encoding": "chunked"}) + b'ff\r\n{"task-1"', Close()),
    "a chunk without a size": (head(headers={"Transfer-Encoding": "chunked"}) + b"2\r\n{}\r\nzz\r\n", Close()),
    "a body cut short of its own length": answer(b'{"task-1": {"name": "shop.bu'),
    "a body that is not the one of its SHA-1": answer(b"{}", headers=SHA1_OF_ANOTHER_BODY),
    "no body": answer(b""),
}

NEVER_HEALS = [400, 401, 403, 404, 405, 500, 301, 302, 304]


@pytest.mark.parametrize("path", ["/api/workers", "/api/tasks"])
@pytest.mark.parametrize("fault", [*HEALS.values(), *HEALS_AT_FLOWER.values()], ids=[*HEALS, *HEALS_AT_FLOWER])
def test_what_may_heal_at_flower_is_asked_again(path: str, fault: Script) -> None:
    sound = {"/api/workers": WORKERS, "/api/tasks": TASKS}
    with (
        ScriptedServer({**sound, path: [fault, sound[path]]}) as flower,
        ScriptedServer({"*": PUSHED}) as gateway,
    ):
        turn = one_turn(flower.url, gateway.url)
        assert turn.outcome.scrape.error is None
        assert turn.outcome.scrape.snapshot
        assert turn.outcome.scrape.snapshot.task_count == 1
        assert flower.paths().count(path) == 2
        assert unlabelled(gateway.requests[-1].body)["flower_up"] == 1


@pytest.mark.parametrize("fault", HEALS.values(), ids=HEALS)
def test_what_may_heal_at_the_pushgateway_is_pushed_again_the_same(fault: Script) -> None:
    with fake_flower() as flower, ScriptedServer({"*": [fault, PUSHED]}) as gateway:
        turn = one_turn(flower.url, gateway.url)
        assert turn.outcome.push_error is None
        first, second = gateway.requests
    assert first.method == second.method == "PUT"
    assert first.body == second.body


@pytest.mark.parametrize("status", NEVER_HEALS)
def test_a_refusal_of_flower_is_not_asked_again(status: int) -> None:
    with fake_flower(tasks=status_answer(status)) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        turn = one_turn(flower.url, gateway.url)
        assert str(status) in (turn.outcome.scrape.error or "")
        assert flower.paths().count("/api/tasks") == 1
        assert unlabelled(gateway.requests[-1].body)["flower_up"] == 0


@pytest.mark.parametrize("status", NEVER_HEALS)
def test_a_refusal_of_the_pushgateway_is_not_asked_again(status: int) -> None:
    with fake_flower() as flower, ScriptedServer({"*": status_answer(status)}) as gateway:
        turn = one_turn(flower.url, gateway.url)
        assert str(status) in (turn.outcome.push_error or "")
        assert len(gateway.requests) == 1


def test_a_login_that_redirects_to_itself_is_asked_once() -> None:
    with (
        ScriptedServer({"*": status_answer(302, headers={"Location": "/api/workers"})}) as flower,
        ScriptedServer({"*": PUSHED}) as gateway,
    ):
        one_turn(flower.url, gateway.url)
        assert flower.paths() == ["/api/workers"]


def test_each_wait_is_longer_and_five_tries_are_enough() -> None:
    with fake_flower(workers=status_answer(503)) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        turn = one_turn(flower.url, gateway.url, deadline=30.0)
        assert "503" in (turn.outcome.scrape.error or "")
        times = [request.at for request in flower.requests]
    assert len(times) == 5
    waits = [later - earlier for earlier, later in pairwise(times)]
    for wait, least in zip(waits, (0.0, 0.5, 1.0, 2.0), strict=True):
        assert wait >= least


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_is_left_alone_for_as_long_as_it_asks(status: int) -> None:
    refusal = status_answer(status, headers={"Retry-After": "1"})
    with fake_flower(workers=[refusal, WORKERS]) as flower, ScriptedServer({"*": [refusal, PUSHED]}) as gateway:
        turn = one_turn(flower.url, gateway.url)
        assert turn.outcome.scrape.snapshot
        assert turn.outcome.push_error is None
        for server in (flower, gateway):
            assert server.requests[1].at - server.requests[0].at >= 1.0


def test_a_date_to_come_back_at_is_kept_too() -> None:
    date = formatdate(time.time() + 3, usegmt=True)
    refusal = status_answer(503, headers={"Retry-After": date})
    with fake_flower(workers=[refusal, WORKERS]) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        turn = one_turn(flower.url, gateway.url)
        assert turn.outcome.scrape.snapshot
        assert flower.requests[1].at - flower.requests[0].at >= 1.0


@pytest.mark.parametrize("retry_after", ["3600", "9" * 400, "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_server_that_asks_for_more_time_than_there_is_is_given_up_at_once(retry_after: str) -> None:
    refusal = status_answer(503, headers={"Retry-After": retry_after})
    with fake_flower(workers=refusal) as flower, ScriptedServer({"*": refusal}) as gateway:
        turn = one_turn(flower.url, gateway.url, deadline=60.0)
        assert "503" in (turn.outcome.scrape.error or "")
        assert "503" in (turn.outcome.push_error or "")
        assert len(flower.requests) == len(gateway.requests) == 1
    assert turn.seconds < 30


@pytest.mark.parametrize("retry_after", ["soon", "-1", "9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT", "1e3", "\xff"])
def test_a_time_to_come_back_that_is_none_is_as_if_not_said(retry_after: str) -> None:
    refusal = status_answer(503, headers={"Retry-After": retry_after})
    with fake_flower(workers=[refusal, WORKERS]) as flower, ScriptedServer({"*": [refusal, PUSHED]}) as gateway:
        turn = one_turn(flower.url, gateway.url)
        assert turn.outcome.scrape.snapshot
        assert turn.outcome.push_error is None


ODD_BUT_WHOLE: dict[str, Script] = {
    "100 Continue first": (head("100 Continue") * 3 + WHOLE,),
    "HTTP/1.0": (head(content_length=len(BODY), version="HTTP/1.0") + BODY, Close()),
    "ended by closing": (head() + BODY, Close()),
    "chunked": (head(headers={"Transfer-Encoding": "chunked"}) + b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: 1\r\n\r\n",),
    "no reason phrase": (head("200", content_length=len(BODY)) + BODY,),
    "junk after it": (WHOLE + b"junk", Close()),
    "a header without a colon": (head(headers={"no colon here": ""}).replace(b": ", b"") + BODY, Close()),
    "no Date": (WHOLE,),
    "a Date that is none": (head(content_length=len(BODY), headers={"Date": "yesterday"}) + BODY,),
}


@pytest.mark.parametrize("tasks", ODD_BUT_WHOLE.values(), ids=ODD_BUT_WHOLE)
def test_an_odd_answer_that_is_whole_is_taken(tasks: Script) -> None:
    with fake_flower(tasks=tasks) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        turn = one_turn(flower.url, gateway.url)
        assert turn.outcome.scrape.error is None
        assert turn.outcome.scrape.requests == 2
        assert turn.outcome.push_error is None


@pytest.mark.parametrize(
    "date", ["Sun, 22 Nov 2015 15:4", "Sun, 22 Nov 2015 15:47:12", "Sun, 22 Nov 2015 15:47:12 \x07MT"]
)
def test_half_a_date_does_not_change_the_age_of_a_task(date: str) -> None:
    body = json.dumps({"a": {"name": "shop.age", "state": "STARTED", "started": time.time() - 10}}).encode()
    tasks = (head(content_length=len(body), headers={"Date": date}) + body,)
    with fake_flower(tasks=tasks) as flower, ScriptedServer({"*": PUSHED}) as gateway:
        snapshot = one_turn(flower.url, gateway.url).outcome.scrape.snapshot
    assert snapshot
    assert 10 <= snapshot.tallies["shop.age", "STARTED"].seconds < 60


def test_a_retry_that_has_no_time_left_is_not_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a millisecond before the deadline, which is too little for a request and not yet past it."""
    now = 0.0
    monkeypatch.setattr("push_job.http.client.time", SimpleNamespace(monotonic=lambda: now))
    client = Client(Endpoint("http://127.0.0.1:9"), timeout=10)
    tries = 0

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
