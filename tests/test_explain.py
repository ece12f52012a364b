"""`push-job explain` is true, short and worst first for someone who was just paged, on real Flowers and workers."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Redis, Testbed, Worker
from testbed.shop import shop_app
from tests.independent import eventually

#: The longest that the output may be, in lines of a terminal.
SCREEN = 24


class Gone:
    """A worker that was heard of once."""

    node = "celery@gone"


@pytest.fixture(scope="module")
def broker(testbed: Testbed) -> Redis:
    return testbed.redis()


@pytest.fixture(scope="module")
def shop_worker(testbed: Testbed, broker: Redis) -> Worker:
    return testbed.worker(broker, name="paged-1")


@pytest.fixture
def fresh(testbed: Testbed, broker: Redis, shop_worker: Worker) -> Iterator[Flower]:
    """A Flower that has just started, and sees the worker."""
    flower = testbed.flower(broker)
    flower.wait_for_worker(shop_worker.node)
    yield flower
    flower.kill()


@pytest.fixture
def flower(fresh: Flower, shop_worker: Worker) -> Flower:
    """One that remembers tasks of an hour ago, as if it had kept them over a restart."""
    past(fresh, shop_worker, "shop.orders.place", ended=3600)
    return fresh


def past(flower: Flower, worker: Worker | Gone, name: str, **ago: float) -> str:
    """Tell of a task of this worker: so many seconds ago it was received, `started` or `ended`, or `failed`."""
    task_id = f"{name}-{time.time()}"
    now = time.time()
    with TaskEvents(flower.broker.url) as events:

        def send(event: str, seconds: float, **fields: Any) -> None:
            events.send(event, uuid=task_id, timestamp=now - seconds, hostname=worker.node, **fields)

        send("task-received", max(ago.values()) + 0.1, name=name)
        if "started" in ago:
            send("task-started", ago["started"])
        if "ended" in ago:
            send("task-succeeded", ago["ended"], result="None", runtime=0.05)
    flower.wait_for_task(task_id, "SUCCESS" if "ended" in ago else "STARTED" if "started" in ago else "RECEIVED")
    return task_id


def explained(push_job: PushJob, flower: Flower) -> list[dict[str, Any]]:
    """The findings, as a program gets them."""
    done = push_job("explain", "--flower", flower.url, "--format", "json")
    report = json.loads(done.stdout)
    findings: list[dict[str, Any]] = report["flowers"][0]["findings"]
    wrong = any(finding["level"] == "wrong" for finding in findings)
    assert (done.returncode, report["well"]) == ((1, False) if wrong else (0, True))
    return findings


def shown(push_job: PushJob, *flowers: str) -> tuple[int, list[str]]:
    """The exit code and the lines, which fit on a screen."""
    options = [option for flower in flowers for option in ("--flower", flower)]
    done = push_job("explain", *options, "--deadline", "3", env={"COLUMNS": "80"})
    lines = done.stdout.splitlines()
    assert sum(-(-len(line) // 80) for line in lines) <= SCREEN
    assert "s3cr3t" not in done.stdout + done.stderr
    return done.returncode, lines


def kinds(findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(finding["kind"], finding["subject"]) for finding in findings]


def page_of(flower: Flower, finding: dict[str, Any]) -> str:
    """The id of the task whose page is linked, which is a page that there is."""
    assert requests.get(finding["link"], timeout=10).status_code == 200
    assert finding["link"].startswith(f"{flower.url}/task/")
    return str(finding["link"]).rpartition("/")[2]


def test_all_is_well_in_one_line_and_no_worker_is_asked(flower: Flower, push_job: PushJob) -> None:
    done = push_job("explain", "--flower", flower.url, "--verbose")
    address = flower.url.removeprefix("http://")
    assert done.stdout == f"Flower {address}: all is well (1 live worker, 1 task)\n"
    assert done.returncode == 0
    assert "refresh=1" not in done.stderr


def test_a_flower_that_has_just_started_says_how_little_it_knows(fresh: Flower, push_job: PushJob) -> None:
    code, lines = shown(push_job, fresh.url)
    assert code == 0
    assert "nothing is known to be wrong, but not all can be known" in " ".join(lines[:2])
    [finding] = [line for line in lines if line.startswith("?")]
    assert re.fullmatch(r"\? Flower started [\d.]+ s ago and knows no task yet", finding)


def test_a_flower_that_is_down_is_told_with_its_reason_beside_one_that_is_well(
    flower: Flower, push_job: PushJob
) -> None:
    code, lines = shown(push_job, flower.url, "http://ops:s3cr3t@127.0.0.1:9")
    assert code == 1
    assert lines[0] == "2 Flowers: 1 thing is wrong (1 live worker, 1 task)"
    assert lines[1].startswith("✗ 127.0.0.1:9: Flower cannot be read: it refused the connection")
    assert "push-job check" in " ".join(map(str.strip, lines[2:]))


def test_a_stuck_task_with_its_type_since_when_its_page_and_its_worker(
    flower: Flower, shop_worker: Worker, push_job: PushJob
) -> None:
    past(flower, shop_worker, "shop.orders.place", started=9)
    stuck = past(flower, shop_worker, "shop.orders.place", started=7300)
    past(flower, shop_worker, "shop.orders.place", started=400)
    [finding] = explained(push_job, flower)
    _, lines = shown(push_job, flower.url)
    assert (finding["kind"], finding["subject"]) == ("stuck", "shop.orders.place")
    assert page_of(flower, finding) == stuck
    assert "has been STARTED for 2 hours, since " in finding["fact"]
    assert f"on {shop_worker.node}; those that succeeded took 0.1 s" in finding["fact"]
    assert "likely it is stuck" in finding["likely"]
    assert finding["link"] in "".join(lines)


@pytest.mark.parametrize("version", ["2.0.1", "1.2.0"])
def test_earlier_flowers_tell_the_same(
    testbed: Testbed, broker: Redis, shop_worker: Worker, push_job: PushJob, version: str
) -> None:
    flower = testbed.flower(broker, version=version)
    flower.wait_for_worker(shop_worker.node)
    past(flower, shop_worker, "shop.orders.place", ended=3600)
    stuck = past(flower, shop_worker, "shop.orders.place", started=7300)
    gone = Gone()
    with TaskEvents(broker.url) as events:
        for second in range(4):
            events.worker(gone.node, timestamp=time.time() - 9010 + second)
    flower.wait_for_worker(gone.node, alive=False)
    held = past(flower, gone, "shop.orders.place", started=9000)
    findings = explained(push_job, flower)
    assert kinds(findings) == [("worker-gone", "celery@gone"), ("stuck", "shop.orders.place")]
    assert [page_of(flower, finding) for finding in findings] == [held, stuck]
    flower.kill()


def test_tasks_that_wait_at_a_worker_that_lives(flower: Flower, shop_worker: Worker, push_job: PushJob) -> None:
    waits = past(flower, shop_worker, "shop.mail.send_receipt", received=400)
    [finding] = explained(push_job, flower)
    assert (finding["kind"], finding["subject"]) == ("waiting", "shop.mail.send_receipt")
    assert page_of(flower, finding) == waits
    assert f"has waited 7 minutes (RECEIVED at {shop_worker.node})" in finding["fact"]


def test_a_flower_that_hangs_does_not_take_the_time_to_ask_the_others(
    testbed: Testbed, broker: Redis, flower: Flower, shop_worker: Worker, push_job: PushJob
) -> None:
    waits = past(flower, shop_worker, "shop.mail.send_receipt", received=400)
    hung = testbed.flower(broker)
    hung.pause()
    flowers = ("--flower", flower.url, "--flower", hung.url)
    done = push_job("explain", *flowers, "--deadline", "3", "--format", "json")
    hung.kill()
    [told], [down] = (report["findings"] for report in json.loads(done.stdout)["flowers"])
    assert (told["kind"], page_of(flower, told)) == ("waiting", waits)
    assert down["kind"] == "flower-down"


def test_one_type_fails_with_one_exception_and_the_page_of_the_newest(
    flower: Flower, broker: Redis, push_job: PushJob
) -> None:
    app = shop_app(broker.url)
    app.send_task("shop.stock.reserve", (1, "teapot"))
    failed = [app.send_task("shop.stock.reserve", (order, "teapot", False)).id for order in range(3)]
    for task_id in failed:
        flower.wait_for_task(task_id, "FAILURE")
    odd = app.send_task("shop.stock.reserve", ()).id  # fails for want of arguments
    flower.wait_for_task(odd, "FAILURE")
    [finding] = explained(push_job, flower)
    assert (finding["kind"], finding["subject"]) == ("failing", "shop.stock.reserve")
    assert "4 of 5 ended tasks failed, the last one" in finding["fact"]
    assert "3 of them with OutOfStockError" in finding["fact"]
    assert page_of(flower, finding) == odd


def test_a_beat_that_stopped_is_told_by_what_came_regularly(
    flower: Flower, shop_worker: Worker, push_job: PushJob
) -> None:
    for number in range(7):
        past(flower, shop_worker, "shop.vouchers.remind", ended=1000 - 60 * number)
    [finding] = explained(push_job, flower)
    assert (finding["kind"], finding["subject"]) == ("overdue", "shop.vouchers.remind")
    assert "usually comes every 60 s, but last succeeded 11 minutes ago, at " in finding["fact"]
    assert "likely Celery beat has stopped" in finding["likely"]
    for number in range(7):
        past(flower, shop_worker, "shop.reports.hourly", ended=60 - 10 * number)
    [finding] = explained(push_job, flower)
    assert finding["subject"] == "shop.vouchers.remind"
    assert "other periodic tasks still come" in finding["likely"]


def test_a_queue_nobody_consumes_by_its_messages_and_by_what_was_sent(
    flower: Flower, broker: Redis, shop_worker: Worker, push_job: PushJob
) -> None:
    app = shop_app(broker.url)
    there = {"destination": [shop_worker.node], "reply": True, "timeout": 10}
    app.control.add_consumer("paged-night", **there)
    # Flower's own question at its start may be under way still, and is answered in the place of ours.
    eventually(lambda: "paged-night" in queues_told(flower, shop_worker))
    app.control.cancel_consumer("paged-night", **there)
    sent = app.send_task("shop.orders.place", (1,), queue="paged-night").id
    flower.wait_for_task(sent, "PENDING")
    [finding] = explained(push_job, flower)
    assert (finding["kind"], finding["subject"]) == ("no-consumer", "paged-night")
    assert "No live worker consumes paged-night: 1 message in it" in finding["fact"]
    assert page_of(flower, finding) == sent

    # Flower has forgotten that queue now, as it does not know of one that no worker has told of.
    with TaskEvents(broker.url) as events:
        key = "paged-nobody"
        old: dict[str, Any] = {"exchange": "", "routing_key": key, "queue": key, "timestamp": time.time() - 4000}
        events.send("task-sent", uuid="paged-sent", name="shop.sent", **old)
    flower.wait_for_task("paged-sent", "PENDING")
    findings = explained(push_job, flower)
    assert sorted(kinds(findings)) == [("no-consumer", "paged-night"), ("no-consumer", "paged-nobody")]
    assert "1 task PENDING with that routing key, the oldest since" in findings[1]["fact"]
    assert all("-Q" in finding["do"] for finding in findings)


def queues_told(flower: Flower, worker: Worker) -> set[str]:
    told = requests.get(f"{flower.url}/api/workers?refresh=1", timeout=60).json()
    return {queue["name"] for queue in told.get(worker.node, {}).get("active_queues", [])}


def test_workers_that_are_all_busy_while_a_task_waits(
    flower: Flower, broker: Redis, shop_worker: Worker, push_job: PushJob
) -> None:
    app = shop_app(broker.url)
    running = [app.send_task("shop.reports.daily_sales", (300,)) for _ in range(2)]
    for task in running:
        flower.wait_for_task(task.id, "STARTED")
    past(flower, shop_worker, "shop.mail.send_receipt", received=400)
    eventually(lambda: active(flower) == [2])  # by its next heartbeat
    [finding] = explained(push_job, flower)
    app.control.revoke([task.id for task in running], terminate=True)
    assert finding["kind"] == "workers-full"
    assert "All 2 processes of 1 live worker are busy, and a task has waited 7 minutes" in finding["fact"]


def active(flower: Flower) -> list[int]:
    rows = requests.get(f"{flower.url}/workers?json=1", timeout=60).json()["data"]
    return [row["active"] for row in rows]


def test_a_full_flower_says_how_far_back_it_remembers_and_that_is_no_trouble(
    testbed: Testbed, broker: Redis, shop_worker: Worker, push_job: PushJob
) -> None:
    flower = testbed.flower(broker, options=["--max_tasks=1000"])
    flower.wait_for_worker(shop_worker.node)
    with TaskEvents(broker.url, buffer=100) as events:
        for number in range(1001):
            when: dict[str, Any] = {"timestamp": time.time() - 10_000 + number, "hostname": shop_worker.node}
            events.send("task-received", uuid=f"full-{number}", name="shop.full", **when)
            events.send("task-revoked", uuid=f"full-{number}", **when)
    flower.wait_for_task("full-1000", "REVOKED")
    findings = explained(push_job, flower)
    flower.kill()
    assert [(finding["level"], finding["kind"]) for finding in findings] == [("note", "flower-full")]
    assert "remembers 1,000 tasks, back to" in findings[0]["fact"]
    assert "(3 hours)" in findings[0]["fact"]


def test_a_killed_worker_and_what_it_held_and_that_none_is_left(testbed: Testbed, push_job: PushJob) -> None:
    apart = testbed.redis()
    flower, worker = testbed.flower(apart), testbed.worker(apart, name="paged-killed", concurrency=1)
    with TaskEvents(apart.url) as events:
        events.worker("celery@spare", "online", freq=600.0)
        for node in (worker.node, "celery@spare"):
            flower.wait_for_worker(node)
    app = shop_app(apart.url)
    started, received = (app.send_task("shop.reports.daily_sales", (300,)).id for _ in range(2))
    flower.wait_for_task(started, "STARTED")
    flower.wait_for_task(received, "RECEIVED")
    worker.kill()
    flower.wait_for_worker(worker.node, alive=False)
    [finding, _young] = explained(push_job, flower)
    _, lines = shown(push_job, flower.url)
    assert (finding["kind"], finding["subject"]) == ("worker-gone", worker.node)
    assert "s ago and held 1 STARTED and 1 RECEIVED tasks" in finding["fact"]
    assert "likely it was killed" in finding["likely"]
    assert page_of(flower, finding) == started
    assert lines[1].startswith(f"✗ Worker {worker.node} went silent")

    with TaskEvents(apart.url) as events:
        events.worker("celery@spare", "offline")
    flower.wait_for_worker("celery@spare", alive=False)
    findings = explained(push_job, flower)
    # The spare one was stopped in order and held nothing, so it is no news.
    assert kinds(findings)[:2] == [("no-workers", ""), ("worker-gone", worker.node)]
    assert "No worker is alive, of 2 that Flower knows" in findings[0]["fact"]
    assert "celery@spare" not in str(findings)
    flower.kill()
    apart.kill()
