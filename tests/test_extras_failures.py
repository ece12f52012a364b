"""An extra that fails does not fail the push of the three families.

The extra is left out with one log line.
"""

import contextlib
import json
import math
import time
import uuid
from typing import Any

import pytest
import requests

from push_job.flower.api import Flower, FlowerError
from push_job.http.client import Client
from push_job.metrics.extras import own_metrics
from push_job.metrics.extras.own_metrics import read_own_metrics
from push_job.settings import Endpoint
from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Pushgateway, Testbed
from tests.extras_answers import METRICS, UNASKED, WORKERS, assert_three_families, left_out, pushed
from tests.extras_reading import of_family, without_group_labels
from tests.fakes.http import Close, Endless, Script, ScriptedServer, Stall, answer, head, json_answer, status_answer
from tests.independent import key

#: Extras that each path's failure leaves out.
NEEDED_BY = {"/api/queues/length": {"queues"}, "/workers": {"activity"}, "/metrics": {"activity", "flower-metrics"}}


BAD_ANSWERS: dict[str, Script] = {
    "404": status_answer(404),
    "500": status_answer(500, b"<html>Internal Server Error</html>"),
    "403": status_answer(403),
    "redirect": status_answer(302, headers={"Location": "/login"}),
    "web page": answer(b"<!DOCTYPE html>\n<html><body>Log in</body></html>"),
    "nothing": answer(b""),
    "garbage": answer(bytes(range(256)) * 40),
    "one long line": answer(b"x" * 2**20),
    "cut short": (head(content_length=500) + b'{"active_queues": [{"name": "cele', Close()),
    "huge": (head(content_length=2**30), Endless(b'"' + b"x" * 2**16)),
    "null": json_answer(None),
    "a list": json_answer([1]),
    "other JSON": json_answer({"active_queues": {"celery": 1}, "data": {"celery@a": 1}}),
    "a list of numbers": json_answer({"active_queues": [1, None], "data": [1, None]}),
    "nested too deeply": answer(b'{"data": ' + b"[" * 50_000),
}


@pytest.mark.parametrize("path", NEEDED_BY)
@pytest.mark.parametrize("bad", BAD_ANSWERS)
def test_an_extra_with_a_bad_answer_is_left_out_with_one_log_line(
    clean_pushgateway: Pushgateway, push_job: PushJob, path: str, bad: str
) -> None:
    with pushed(push_job, clean_pushgateway, {path: BAD_ANSWERS[bad]}) as (samples, warnings):
        assert left_out(samples) == NEEDED_BY[path]
        assert len(warnings) == len(NEEDED_BY[path])
        for extra, line in zip(sorted(NEEDED_BY[path]), sorted(warnings), strict=True):
            assert f"extra={extra}" in line
            assert "mistake" not in line
        assert bool(of_family(samples, "celery_queue_length")) == (path != "/api/queues/length")
        assert bool(of_family(samples, "celery_worker_")) == (path == "/api/queues/length")
        assert bool(of_family(samples, "flower_events")) == (path != "/metrics")
        assert samples[key("celery_task_runtime_seconds_count", name="shop.a")] == 1
        assert samples[key("celery_task_wait_seconds_sum", name="shop.a")] == pytest.approx(1)


@pytest.mark.parametrize("path", NEEDED_BY)
@pytest.mark.parametrize("stops", ["before the answer", "within it"])
def test_an_extra_that_hangs_until_the_deadline_does_not_fail_the_push(
    clean_pushgateway: Pushgateway, push_job: PushJob, path: str, stops: str
) -> None:
    script: Script = (Stall(),) if stops == "before the answer" else (head(content_length=100) + b"{", Stall())
    with pushed(push_job, clean_pushgateway, {path: script}, "--deadline", "4") as (samples, _):
        assert NEEDED_BY[path] <= left_out(samples)
        assert not left_out(samples) & {"runtimes", "waits"}


def test_reading_a_long_metrics_page_stops_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        """Passes the deadline while the page is read."""

        reads = 0

        def monotonic(self) -> float:
            self.reads += 1
            return 0.0 if self.reads < 1000 else math.inf

    monkeypatch.setattr(own_metrics, "time", Clock())
    page = METRICS + b"".join(b'flower_long{n="%d"} 1\n' % number for number in range(2000))
    with ScriptedServer({"/metrics": answer(page)}) as server:
        client = Client(Endpoint.parse(server.url, "--flower"), 30)
        with contextlib.closing(client), pytest.raises(FlowerError, match="too long to be read before the deadline"):
            read_own_metrics(Flower(client), time.monotonic() + 60, lambda _: True)


@pytest.mark.parametrize("version", [None, "2.0.1", "1.2.0"])
def test_without_a_broker_only_the_queue_lengths_are_missing(
    testbed: Testbed, clean_pushgateway: Pushgateway, push_job: PushJob, version: str | None
) -> None:
    broker = testbed.redis()
    flower = testbed.flower(broker, version=version)
    task = str(uuid.uuid4())
    with TaskEvents(broker.url) as events:
        events.worker("celery@a", freq=86400.0)
        events.send("task-received", hostname="celery@a", uuid=task, name="shop.a")
        events.send("task-started", hostname="celery@a", uuid=task)
        events.send("task-succeeded", hostname="celery@a", uuid=task, runtime=2.0, result="None")
    flower.wait_for_task(task, "SUCCESS")
    broker.stop()
    where = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    done = push_job("push", *where, "--with", ",".join(UNASKED))
    assert done.returncode == 0, done.stderr
    samples = without_group_labels(clean_pushgateway.samples())
    assert_three_families(samples)
    assert left_out(samples) == {"queues"}
    (warning,) = [line for line in done.stderr.splitlines() if "level=warning" in line]
    assert "extra=queues" in warning
    assert samples[key("celery_worker_active_tasks", worker="celery@a")] == 0
    assert of_family(samples, "flower_events_total")
    flower.stop()


HOSTILE = ['quo"te', "back\\slash", "new\nline", "{ünï} 🌻", "\x00\x1b[2J", "a,b=c#d", " "]


def test_hostile_text_in_names_of_queues_and_workers_arrives_as_it_is(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    answers = {
        "/api/queues/length": json_answer({"active_queues": [{"name": name, "messages": 1} for name in HOSTILE]}),
        "/workers": json_answer({"data": [{**WORKERS[0], "hostname": name} for name in HOSTILE]}),
    }
    with pushed(push_job, clean_pushgateway, answers) as (_, warnings):
        assert warnings == []
        entries = json.loads(requests.get(f"{clean_pushgateway.url}/api/v1/metrics", timeout=10).content)["data"][0]
    for family, label in (("celery_queue_length", "queue"), ("celery_worker_active_tasks", "worker")):
        assert {metric["labels"][label] for metric in entries[family]["metrics"]} == set(HOSTILE)


def test_names_are_made_valid_labels_and_odd_numbers_are_left_out(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    queues: list[dict[str, Any]] = [
        {"name": "x" * 300, "messages": 1},
        {"name": "x" * 299, "messages": 2},
        {"name": "\ud800", "messages": 3},
        {"name": 7, "messages": 4},
        {"name": "huge", "messages": 10**400},
        {"name": "none", "messages": None},
        {"name": "text", "messages": "5"},
        {"name": "young"},
    ]
    worker = {"hostname": "celery@a", "active": "x", "processed": 10**400, "loadavg": [None, 1], "heartbeats": "soon"}
    answers = {
        "/api/queues/length": json_answer({"active_queues": queues}),
        "/workers": json_answer({"data": [worker, {}]}),
    }
    with pushed(push_job, clean_pushgateway, answers) as (samples, warnings):
        assert warnings == []
        assert sorted(of_family(samples, "celery_queue_length").values()) == [3, 3, 4]
        assert key("celery_queue_length", queue="unknown") in samples
        assert key("celery_worker_active_tasks", worker="celery@a") not in samples


def test_queues_of_rabbitmq_are_those_of_the_own_virtual_host(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    # What Flower 2.2.0 answered with RabbitMQ 3.10.8, less what does not matter here: see docs/extras.md.
    queues = [
        {"name": "celery", "vhost": "/", "messages": 8, "messages_ready": 4, "messages_unacknowledged": 4},
        {"name": "celery", "vhost": "other", "messages": 3, "messages_ready": 3, "messages_unacknowledged": 0},
        {"name": "declared-a-second-ago", "vhost": "/"},
    ]
    answers = {"/api/queues/length": json_answer({"active_queues": queues})}
    with pushed(push_job, clean_pushgateway, answers) as (samples, warnings):
        assert warnings == []
        assert of_family(samples, "celery_queue_length") == {key("celery_queue_length", queue="celery"): 4}


def test_no_queue_at_all_is_a_failure_that_names_rabbitmqs_management_api(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    answers = {"/api/queues/length": json_answer({"active_queues": []})}
    with pushed(push_job, clean_pushgateway, answers) as (samples, warnings):
        assert left_out(samples) == {"queues"}
        assert "--broker-api" in "".join(warnings)
