"""Extras are right for tasks that die, end unheard or fail.

The pools and the events of Celery are real.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Pushgateway, Testbed, Worker
from testbed.troubles import troubles_app
from tests.extras_answers import pushed
from tests.extras_reading import of_family, push
from tests.fakes.http import Script, json_answer
from tests.independent import key

FAILURES, SINCE = "celery_task_failures", "celery_task_failures_since_success"


@pytest.fixture(scope="module")
def flower(testbed: Testbed) -> Iterator[Flower]:
    started = testbed.flower(testbed.redis())
    yield started
    started.kill()


@pytest.fixture(scope="module")
def troubled(testbed: Testbed, flower: Flower) -> Iterator[Worker]:
    worker = testbed.worker(flower.broker, name="troubled", app="testbed.troubles")
    flower.wait_for_worker(worker.node)
    yield worker
    worker.kill()


def test_the_exception_is_the_one_that_failed_the_task(
    flower: Flower, troubled: Worker, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    del troubled
    kinds = {
        "value": "ValueError",
        "validation": "testbed.troubles.ValidationError",
        "rpc": "testbed.troubles.RpcError",
        "reject": "celery.exceptions.Reject",
        "exit": "billiard.exceptions.WorkerLostError",
    }
    expected = {key(FAILURES, name="t.fail", exception=name): 1 for name in kinds.values()}
    others = {
        "t.kill": "billiard.exceptions.WorkerLostError",
        "t.limit": "billiard.exceptions.TimeLimitExceeded",
        "t.soft_limit": "SoftTimeLimitExceeded",
        "t.nobody": "NotRegistered",
    }
    expected |= {key(FAILURES, name=name, exception=exception): 1 for name, exception in others.items()}
    with troubles_app(flower.broker.url) as app:
        sent = [app.send_task("t.fail", (kind,)).id for kind in kinds] + [app.send_task(name).id for name in others]
        app.send_task("t.quick")
    for task in sent:
        flower.wait_for_task(task, "FAILURE")
    samples = push(push_job, flower, clean_pushgateway, "--with", "failures")
    found = {sample: value for sample, value in of_family(samples, FAILURES).items() if sample[0] == FAILURES}
    assert found == expected
    assert samples[key(SINCE, name="t.fail")] == len(kinds)


def test_failures_count_since_the_last_success(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    now = time.time()
    with TaskEvents(flower.broker.url) as events:
        for number, event in enumerate(["failed", "succeeded", *["failed"] * 3]):
            at: dict[str, Any] = {
                "uuid": f"order-{number}",
                "timestamp": now - 60 + number,
                "hostname": "celery@made-up",
            }
            events.send("task-received", name="t.order", **at)
            events.send(f"task-{event}", runtime=0.1, result="1", exception="E()", traceback="", **at)
    flower.wait_for_task("order-4", "FAILURE")
    samples = push(push_job, flower, clean_pushgateway, "--with", "failures")
    assert samples[key(SINCE, name="t.order")] == 3


def test_tasks_whose_end_was_lost_are_not_old_and_those_of_a_custom_state_are(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    now = time.time()
    with TaskEvents(flower.broker.url) as events:
        # 20 reports of two hours ago, three of them without their end: their live worker runs one other task.
        for number in range(20):
            at = {"uuid": f"report-{number}", "hostname": "celery@live"}
            events.send("task-received", name="t.report", timestamp=now - 7200 - number, **at)
            events.send("task-started", timestamp=now - 7199.9 - number, **at)
            if number >= 3:
                events.send("task-succeeded", result="1", runtime=2.0, timestamp=now - 7198 - number, **at)
        at = {"uuid": "progress", "hostname": "celery@live"}
        events.send("task-received", name="t.import", timestamp=now - 401, **at)
        events.send("task-started", timestamp=now - 400, **at)
        events.send("task-progress", timestamp=now - 300, **at)
        for _ in range(4):
            events.worker("celery@live", freq=600.0, active=1)
    flower.wait_for_task("progress", "PROGRESS")
    flower.wait_for_worker("celery@live")
    samples = push(push_job, flower, clean_pushgateway, "--with", "ages,failures")
    oldest = "celery_task_oldest_seconds"
    assert key(oldest, name="t.report", state="STARTED") not in samples
    assert samples[key("celery_tasks_ended_unheard", name="t.report")] == 3
    assert 299 <= samples[key(oldest, name="t.import", state="PROGRESS")] < 900
    duration = samples[key("celery_task_duration_seconds_by_state", name="t.import", state="PROGRESS")]
    assert 299 <= duration < 900


@pytest.mark.parametrize(
    ("queues", "workers_host", "expected"),
    [
        ([("celery", "/"), ("celery", "b")], None, {"celery": 1}),
        ([("celery", "b")], None, {"celery": 1}),
        ([("celery", "b")], "b", {"celery": 1}),
        ([("celery", "b")], "/", {}),
        ([("celery", "b"), ("celery", "c")], None, {}),
    ],
)
def test_queues_of_other_virtual_hosts_are_not_ours(
    clean_pushgateway: Pushgateway,
    push_job: PushJob,
    queues: list[tuple[str, str]],
    workers_host: str | None,
    expected: dict[str, float],
) -> None:
    entries = [{"name": name, "vhost": host, "messages_ready": 1, "consumers": 4} for name, host in queues]
    known = {} if workers_host is None else {"celery@a": {"stats": {"broker": {"virtual_host": workers_host}}}}
    answers: dict[str, Script | list[Script]] = {
        "/api/queues/length": json_answer({"active_queues": entries}),
        "/api/workers": [json_answer({"celery@a": True}), json_answer(known)],
    }
    with pushed(push_job, clean_pushgateway, answers) as (samples, _):
        lengths = {
            dict(labels)["queue"]: value for (_, labels), value in of_family(samples, "celery_queue_length").items()
        }
        consumers = of_family(samples, "celery_queue_consumers")
    assert lengths == expected
    assert set(consumers.values()) == ({4} if expected else set())
