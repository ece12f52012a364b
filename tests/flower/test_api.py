"""Flower's API against a fake: workers, dates, checksums and lines of /metrics."""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from push_job.flower.api import Flower, FlowerError, optional_deadline
from push_job.flower.page import SharedIndex
from push_job.http.client import Client
from push_job.settings import Endpoint
from tests.fakes.http import Script, ScriptedServer, answer, json_answer, status_answer

NOW = 1_700_000_000


@contextlib.contextmanager
def flower_with(path: str, *scripts: Script) -> Iterator[tuple[Flower, ScriptedServer]]:
    """Yield a Flower that answers `path` with these scripts, one after the other."""
    with ScriptedServer({path: list(scripts)}) as server:
        client = Client(Endpoint.parse(server.url, "--flower"), timeout=300.0)
        with contextlib.closing(client):
            yield Flower(client), server


def soon() -> float:
    """Return a deadline that only a mistake reaches."""
    return time.monotonic() + 300


def tasks_at(at: float) -> Script:
    """Return an answer with one task and this Date."""
    return json_answer({"a": {"name": "t", "state": "SUCCESS"}}, {"Date": formatdate(at, usegmt=True)})


@pytest.mark.parametrize(
    ("scripts", "workers", "requests"),
    [
        ([json_answer({"a": True})], {"a": True}, 1),
        ([json_answer({}), json_answer({"a": False})], {"a": False}, 2),
        ([json_answer({})], {}, 2),
    ],
)
def test_an_empty_list_of_workers_is_requested_twice(
    scripts: list[Script], workers: dict[str, bool], requests: int
) -> None:
    with flower_with("/api/workers", *scripts) as (flower, server):
        assert flower.workers(soon()) == workers
        assert [request.query for request in server.requests] == ["status=1"] * requests


@pytest.mark.parametrize("document", [[], None, {"a": 1}, {"a": "true"}, {"a": None}, 7])
def test_invalid_workers_are_an_error(document: object) -> None:
    with flower_with("/api/workers", json_answer(document)) as (flower, _), pytest.raises(FlowerError):
        flower.workers(soon())


@pytest.mark.parametrize(
    ("later", "is_old"), [(0.0, False), (5.0, False), (-1.0, False), (-2.0, True), (-3600.0, True)]
)
def test_an_answer_that_is_older_than_the_one_before_is_an_error(later: float, is_old: bool) -> None:
    with flower_with("/api/tasks", tasks_at(NOW), tasks_at(NOW + later)) as (flower, _):
        flower.all_tasks(SharedIndex(), soon())
        assert flower.now == NOW
        if is_old:
            with pytest.raises(FlowerError):
                flower.all_tasks(SharedIndex(), soon())
        else:
            flower.all_tasks(SharedIndex(), soon())
            assert flower.now == NOW + later


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 22 Nov 2015 15:4", "Tue, 99 Nov 2023 22:13:20 GMT"])
def test_without_a_valid_date_our_own_time_counts(date: str) -> None:
    script = json_answer({}, {"Date": date} if date else {})
    with flower_with("/api/tasks", script) as (flower, _):
        before = time.time()
        flower.all_tasks(SharedIndex(), soon())
        assert before <= flower.now <= time.time()


@pytest.mark.parametrize(
    ("etag", "accepted"),
    [
        ('"{}"'.format(hashlib.sha1(b'{"a": {"name": "t"}}').hexdigest()), True),
        ('"{}"'.format(hashlib.sha1(b"{}").hexdigest()), False),
        ('W/"abc"', True),
        ('"not a checksum"', True),
    ],
)
def test_a_body_must_have_the_sha1_of_its_etag(etag: str, accepted: bool) -> None:
    with flower_with("/api/tasks", answer(b'{"a": {"name": "t"}}', headers={"Etag": etag})) as (flower, _):
        if accepted:
            assert len(flower.all_tasks(SharedIndex(), soon())) == 1
            return
        with pytest.raises(FlowerError) as error:
            flower.all_tasks(SharedIndex(), soon())
    assert error.value.transient  # the next answer may arrive undamaged


@pytest.mark.parametrize(("headers", "is_sorted"), [({}, False), ({"X-Content-Type-Options": "nosniff"}, True)])
def test_flower_2_2_is_known_by_a_header(headers: dict[str, str], is_sorted: bool) -> None:
    with flower_with("/api/tasks", json_answer({}, headers)) as (flower, server):
        flower.page(SharedIndex(), 5, 10, soon())
        assert flower.is_sorted is is_sorted
        assert server.requests[0].query == "limit=10&offset=5"


@pytest.mark.parametrize(("body", "has"), [(b"{}", False), (b'{"a": {"name": "t"}}', True)])
def test_a_task_in_a_state_is_asked_for_with_a_filter(body: bytes, has: bool) -> None:
    with flower_with("/api/tasks", answer(body)) as (flower, server):
        assert flower.has_task_in("STARTED", soon()) is has
        assert server.requests[0].query == "limit=1&state=STARTED"


@pytest.mark.parametrize("length", [16 * 1024, 16 * 1024 + 1])
def test_lines_of_metrics_have_a_limit(length: int) -> None:
    body = b"first 1\n" + b"x" * length + b"\nlast 2"
    with flower_with("/metrics", answer(body)) as (flower, _):
        if length > 16 * 1024:
            with pytest.raises(FlowerError):
                list(flower.metrics_lines(soon()))
        else:
            assert list(flower.metrics_lines(soon())) == ["first 1", "x" * length, "last 2"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ["--flower-username", "FLOWER_UNAUTHENTICATED_API"]),
        (404, ["404"]),
        (405, ["1.2"]),
        (500, ["why"]),
    ],
)
def test_an_error_says_what_to_change(status: int, words: list[str]) -> None:
    with flower_with("/api/workers", status_answer(status, b"why")) as (flower, _), pytest.raises(FlowerError) as error:
        flower.workers(soon())
    assert error.value.status == status
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(("left", "seconds"), [(100.0, 25.0), (4.0, 2.0), (1.0, 1.0)])
def test_an_optional_answer_gets_a_part_of_the_time(left: float, seconds: float) -> None:
    now = time.monotonic()
    assert optional_deadline(now + left) - now == pytest.approx(seconds, abs=0.5)
