"""For any answer of Flower, the job does not crash and does not grow.

It pushes only samples that Prometheus can read.
"""

import gzip
import json
import math
import subprocess
from collections.abc import Callable
from functools import lru_cache
from itertools import product

import pytest

from push_job.flower.task import STATES
from testbed.command import PushJob
from testbed.process import find_program
from testbed.services import Pushgateway
from tests.fakes.http import Endless, Script, ScriptedServer, answer, head, json_answer
from tests.faults.cycles import (
    MEMORY_MIB,
    PUSHED,
    WORKERS,
    Counts,
    counts,
    fake_flower,
    peak_memory,
    run_cycle,
    samples,
    scraped,
)
from tests.metric_messages import unlabelled


def seconds(text: str) -> float:
    """Return the sum of all durations."""
    return math.fsum(value for _, value in samples(text, "celery_task_duration_seconds_by_state"))


ODD: dict[str, tuple[bytes, Counts, float]] = {
    "numbers that JSON does not have": (
        b'{"a": {"name": "t", "state": "SUCCESS", "runtime": NaN}, "b": {"name": "t", "state": "SUCCESS",'
        b' "runtime": -Infinity}, "c": {"name": "t", "state": "SUCCESS", "runtime": 2.5}}',
        {("t", "SUCCESS"): 3},
        2.5,
    ),
    "lone surrogates": (
        b'{"\\ud800": {"name": "t\\udfff", "state": "SUCCESS"}, "b": {"name": "t", "state": "\\ud800"}}',
        {("t?", "SUCCESS"): 1, ("t", "?"): 1},
        0,
    ),
    "a key twice": (
        b'{"a": {"name": "t", "name": "u", "state": "SUCCESS"}, "a": {"name": "v", "state": "FAILURE"}}',
        {("v", "FAILURE"): 1},
        0,
    ),
    "entries that are not tasks": (
        b'{"a": 1, "b": [], "c": null, "d": "s", "e": {"name": "t", "state": "SUCCESS"}}',
        {("t", "SUCCESS"): 1, ("unknown", "UNKNOWN"): 4},
        0,
    ),
    "numbers of any size": (
        b'{"a": {"name": "t", "state": "SUCCESS", "runtime": %b, "retries": %b}, "b": {"name": "t", "state": "SUCCESS",'
        b' "runtime": 1e999}, "c": {"name": "t", "state": "SUCCESS", "runtime": -1}, "d": {"name": "t",'
        b' "state": "SUCCESS", "runtime": 7}}' % (b"9" * 5000, b"9" * 5000),
        {("t", "SUCCESS"): 4},
        7,
    ),
    "deep nesting where nobody looks": (
        b'{"a": {"name": "t", "state": "SUCCESS", "args": %b%b}}' % (b"[" * 900, b"]" * 900),
        {("t", "SUCCESS"): 1},
        0,
    ),
    "a byte order mark": ("\ufeff".encode() + b'{"a": {"name": "t", "state": "SUCCESS"}}', {("t", "SUCCESS"): 1}, 0),
    "no tasks": (b"{}", {}, 0),
}


@pytest.mark.parametrize(("body", "wanted", "duration"), ODD.values(), ids=ODD)
def test_an_odd_task_counts_as_what_can_be_read_of_it(body: bytes, wanted: Counts, duration: float) -> None:
    text = scraped(body)
    assert counts(text) == wanted
    assert seconds(text) == pytest.approx(duration)


ANYTHING = [None, True, -1, 0, 10**30, 1e308, -1e308, 1.5, [1], {"a": 1}, "", "x" * 5000, '\n"\\', "\0", "é" * 300]
FIELDS = ["name", "state", "sent", "received", "started", "retried", "eta", "runtime", "timestamp", "uuid", "worker"]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.limit("names and texts of tasks", "a value of any type in any field", "costs no other task")
def test_any_type_in_any_field_costs_no_other_task(field: str) -> None:
    moment = 1700000000.5
    times = dict.fromkeys(("sent", "received", "started", "retried", "timestamp"), moment)
    tasks = {
        str(number): {"name": "t", "state": state, "runtime": 1.0, **times, field: value}
        for number, (state, value) in enumerate(product(STATES, ANYTHING))
    }
    tasks["healthy"] = {"name": "healthy", "state": "SUCCESS", "runtime": 3.0}
    text = scraped(json.dumps(tasks).encode())
    assert sum(counts(text).values()) == len(tasks)
    assert counts(text)["healthy", "SUCCESS"] == 1
    for labels, value in samples(text, "celery_task_duration_seconds_by_state"):
        assert 0 <= value < math.inf
        assert all(len(label) <= 200 for label in labels.values())


ETAS = [
    *(
        "9999-12-31T23:59:59+00:00",
        "0001-01-01T00:00:00-23:59",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ),
    *("2026-02-30T00:00:00", "2026-01-01T24:00:00", "2026-01-01T00:00:60", "2026-W01-1", "2026-01-01", "T", "garbage"),
    *("2026-01-01T00:00:00.123456789Z", "२०२६-01-01T00:00:00", "", "\ud800"),
]


@pytest.mark.parametrize("eta", ETAS)
def test_no_eta_breaks_the_clock(eta: str) -> None:
    received = 1700000000.5
    task = {"name": "t", "state": "RECEIVED", "received": received, "eta": eta}
    text = scraped(json.dumps({"a": task}).encode())
    assert counts(text) == {("t", "RECEIVED"): 1}
    assert 0 <= seconds(text) < 2e9


BROKEN: dict[str, tuple[bytes, str]] = {
    "nesting without end": (b'{"a": {"eta": %b' % (b"[" * 100_000), "nested"),
    "bytes that are not UTF-8": (b'{"a": {"name": "caf\xe9"}}', "JSON"),
    "something after the end": (b'{"a": {"name": "t"}}}', "JSON"),
    "a list": (b"[]", "a list"),
    "a string": (b'"tasks"', "a string"),
    "a number": (b"12", "a number"),
    "null": (b"null", "null"),
    "an object without tasks": (b'{"error": "not today", "code": 7}', "not hold tasks"),
    "a web page": (b"<html>", "web page"),
    "one task of 10 MB without a long text": (
        b'{"a": {"name": "t"}, "task-7": {"name": "t", "args": [%b1]}}' % (b"1," * (5 * 2**20)),
        "'task-7'",
    ),
}


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(("body", "reason"), BROKEN.values(), ids=BROKEN)
@pytest.mark.limit(
    "Flower, or a proxy in front of it",
    "an invalid list of tasks",
    "is one error and `flower_up 0`; no part of it is pushed",
)
def test_an_invalid_answer_about_tasks_is_one_clear_error(body: bytes, reason: str) -> None:
    text = scraped(body)
    assert text.startswith("down: ")
    assert reason in text
    assert "\n" not in text


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("workers", [b"[]", b"null", b'{"celery@a": "true"}', b'{"a": 1}', b"{", b"<html>", b"1"])
def test_an_invalid_answer_about_workers_is_one_clear_error(workers: bytes) -> None:
    assert scraped(b"{}", answer(workers)).startswith("down: ")


@pytest.mark.limit("Flower, or a proxy in front of it", "a compressed answer", "is refused; none is requested")
def test_a_body_in_an_encoding_that_was_not_asked_for_is_refused() -> None:
    packed = gzip.compress(b"{}")
    text = scraped((head(content_length=len(packed), headers={"Content-Encoding": "gzip"}) + packed,))
    assert text.startswith("down: ")
    assert "'gzip'" in text


def test_no_request_asks_for_compression() -> None:
    with fake_flower() as flower, ScriptedServer({"*": PUSHED}) as gateway:
        run_cycle(flower.url, gateway.url)
        assert {request.headers["accept-encoding"] for request in flower.requests} == {"identity"}


AWKWARD = ["\0", "\n", '"', "\\", "\u202e", "💥", "é" * 199, "a b", "{}", '",x="', "\x7f", "\u2028", " "]


@pytest.mark.limit("names and texts of tasks", "any characters in a name", "arrive as a label value and nothing else")
def test_any_text_for_a_name_arrives_at_a_real_pushgateway_as_it_was(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    tasks = {str(number): {"name": name, "state": "SUCCESS"} for number, name in enumerate(AWKWARD)}
    workers = dict.fromkeys(AWKWARD, True)
    with fake_flower(json_answer(workers), json_answer(tasks)) as flower:
        done = push_job("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    assert done.returncode == 0, done.stderr
    (group,) = clean_pushgateway.groups()
    found = {
        family: {metric["labels"][label] for metric in group[family]["metrics"]}
        for family, label in (("celery_workers", "app"), ("celery_task_types_by_state", "task_type"))
    }
    assert found == {"celery_workers": set(AWKWARD), "celery_task_types_by_state": set(AWKWARD)}


@pytest.mark.limit(
    "names and texts of tasks", "a new task type for each task", "become `other` beyond `--max-task-types`"
)
def test_one_name_per_task_is_summed_under_other_and_said_once(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    tasks = {str(number): {"name": f"t{number}", "state": "SUCCESS", "runtime": 1.0} for number in range(3000)}
    tasks |= {f"more {number}": {"name": "frequent", "state": "SUCCESS", "runtime": 1.0} for number in range(5)}
    with fake_flower(tasks=json_answer(tasks)) as flower:
        done = push_job(
            *("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url, "--max-task-types", "10")
        )
    assert done.returncode == 0
    pushed = clean_pushgateway.samples()
    found = {
        dict(labels)["task_type"]: value
        for (name, labels), value in pushed.items()
        if name == "celery_task_types_by_state" and dict(labels)["state"] == "SUCCESS"
    }
    assert len(found) == 10
    assert found["frequent"] == 5
    assert found["other"] == 3005 - 5 - 8
    assert done.stderr.count("max_task_types=10") == 1


def test_one_state_per_task_is_summed_under_other() -> None:
    tasks = {str(number): {"name": "t", "state": f"STATE-{number}", "runtime": 1.0} for number in range(5000)}
    found = counts(scraped(json.dumps(tasks).encode()))
    assert len(found) < 200
    assert found["t", "OTHER"] > 4000
    assert sum(found.values()) == 5000


@lru_cache
def packed_gigabyte() -> bytes:
    """Return a megabyte that a careless client would unpack to a thousand."""
    return gzip.compress(bytes(2**30), 1)


PACKED = {"Content-Encoding": "gzip", "Location": "/login"}
HUGE: dict[str, Callable[[], Script]] = {
    "a body without end": lambda: (head(), b'{"a": "', Endless(b"x" * 2**16)),
    "a task without end": lambda: (head(), b'{"a": {"name": "t", "eta": [', Endless(b"[], " * 2**14)),
    "an id of 100 MB": lambda: answer(b'{"%b": {"name": "t"}}' % (b"x" * (100 * 2**20))),
    "15 MB of brackets": lambda: answer(b'{"a": [%b1]}' % (b"[]," * (5 * 2**20))),
    "an error's body without end": lambda: (head("500 Oh No"), Endless(b"x" * 2**16)),
    "a redirect's body without end": lambda: (head("302 Found", headers={"Location": "/x"}), Endless(b"x" * 2**16)),
    "a packed gigabyte": lambda: answer(packed_gigabyte(), headers=PACKED),
    "a redirect with a packed gigabyte": lambda: answer(packed_gigabyte(), "302 Found", PACKED),
    "an error with a packed gigabyte": lambda: answer(packed_gigabyte(), "500 Oh No", PACKED),
    "a header without end": lambda: (b"HTTP/1.1 200 OK\r\nX: ", Endless(b"x" * 2**16)),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/api/workers", "/api/tasks"])
@pytest.mark.parametrize("script", HUGE.values(), ids=HUGE)
@pytest.mark.limit(
    "Flower, or a proxy in front of it",
    "an answer, error, header or task without end, or a compressed gigabyte",
    "is refused within 128 MiB of memory",
)
def test_nothing_huge_outgrows_the_container(path: str, script: Callable[[], Script]) -> None:
    with ScriptedServer({"/api/workers": WORKERS, path: script(), "*": PUSHED}) as server:
        options = ("--flower", server.url, "--pushgateway", server.url, "--deadline", "10", "--timeout", "6")
        exit_code, mib = peak_memory("push", *options)
        assert unlabelled(server.pushes[-1].body)["flower_up"] == 0
    assert exit_code == 1
    assert mib < MEMORY_MIB


@pytest.mark.slow
def test_what_would_be_pushed_is_valid_to_promtool() -> None:
    everything = {**{str(n): {"name": name, "state": "SUCCESS"} for n, name in enumerate(AWKWARD)}}
    text = scraped(json.dumps(everything).encode(), json_answer(dict.fromkeys([*AWKWARD, "", "x" * 999], True)))
    promtool = find_program("promtool", "prometheus")
    subprocess.run([promtool, "check", "metrics"], input=text.encode(), check=True, capture_output=True)
