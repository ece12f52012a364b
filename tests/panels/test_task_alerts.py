"""Alerts on tasks, queues and pools are quiet when all is well, then each fires.

The pushes and the Prometheus are real.

The rules are the project's own, shortened as those of test_trouble.py.
"""

import functools
import time
import uuid

import pytest

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.process import wait_for
from testbed.services import Redis, Testbed, Worker
from testbed.shop import shop_app
from tests.panels.ask import answer
from tests.panels.boards import ROOT
from tests.panels.scene import Tasks, send_tasks
from tests.panels.test_trouble import Bed, shortened

EXTRAS = "queues,activity,ages,failures,last-run,pools,by-queue"

#: What the alerts ask is known, and well.
QUIET = {
    "celery_task_interval_seconds": 120.0,
    "celery_task_failures": 1.0,
    "celery_queue_consumers": 1.0,
    "celery_queue_length": 0.0,
    "instance:celery_pools_busy:ratio": 0.0,
}

TROUBLE = {
    ("CeleryTaskStuck", "shop.report"),
    ("CeleryPeriodicTaskOverdue", "shop.nightly"),
    ("CeleryNewException", "shop.errors.OutOfStock"),
    ("CeleryQueueNotConsumed", "mail"),
    ("CeleryQueueNotConsumed", "mial"),
    ("CeleryWorkersFull", ""),
}


@pytest.fixture(scope="module")
def mailer(testbed: Testbed) -> Worker:
    """The only worker of the queue `mail`."""
    return testbed.worker(testbed.redis(), name="mailer", concurrency=1, options=("-Q", "mail"))


@pytest.fixture(scope="module")
def clerk(testbed: Testbed, mailer: Worker) -> Worker:
    """A worker with one process; the tests send events in its name.

    A worker that nobody can ask may consume any queue.
    """
    return testbed.worker(mailer.broker, concurrency=1)


@pytest.fixture(scope="module")
def bed(testbed: Testbed, push_job: PushJob, mailer: Worker, clerk: Worker) -> Bed:
    """A Flower that knows both."""
    redis, pushgateway = mailer.broker, testbed.pushgateway()
    assert isinstance(redis, Redis)
    rules = [shortened(rules, testbed.folder) for rules in ROOT.glob("prometheus/rules/*.yml")]
    prometheus = testbed.prometheus(pushgateway, rule_files=rules, scrape_interval="500ms")
    bed = Bed(redis, testbed.flower(redis), pushgateway, prometheus, push_job)
    for worker in (mailer, clerk):
        bed.flower.wait_for_worker(worker.node)
    return bed


def come(bed: Bed, clerk: Worker, name: str, *ago: float) -> None:
    """Tell of tasks that succeeded so many seconds ago."""
    now = time.time()
    with TaskEvents(bed.redis.url) as events:
        send = functools.partial(events.send, hostname=clerk.node)
        for seconds in ago:
            task, at = str(uuid.uuid4()), now - seconds
            send("task-received", uuid=task, name=name, timestamp=at - 2)
            send("task-started", uuid=task, timestamp=at - 1)
            send("task-succeeded", uuid=task, timestamp=at, runtime=1.0, result="None")
    bed.flower.wait_for_task(task, "SUCCESS")


def fired(bed: Bed) -> set[tuple[str, str]]:
    """The alerts that have fired by now, with their task type, queue or exception."""
    query = 'max_over_time(ALERTS{alertname=~"Celery.*", alertstate="firing"}[5m])'
    about = ("task_type", "name", "queue", "exception")
    return {
        (labels["alertname"], next((labels[name] for name in about if name in labels), ""))
        for labels in map(dict, answer(bed.prometheus, query, time.time()))
    }


def test_each_alert_is_quiet_when_all_is_well_and_fires_when_it_is_not(bed: Bed, mailer: Worker, clerk: Worker) -> None:
    come(bed, clerk, "shop.tidy", *(120.0 * number for number in range(8, 0, -1)))
    send_tasks(bed.redis.url, bed.flower, [Tasks("shop.pay", "FAILURE", 1, 1.0)], worker=clerk.node)
    assert bed.push("--with", "failures") == 0
    # Failures are compared with those of five seconds ago.
    bed.wait_until('flower_scrape_extra_success{extra="failures"} offset 5s')
    assert bed.push("--with", EXTRAS) == 0
    bed.wait_for_a_second_scrape()
    told = {name: bed.prometheus.query(f"max({name})") for name in QUIET}
    assert told == {name: [({}, number)] for name, number in QUIET.items()}
    assert fired(bed) == set()

    send_tasks(bed.redis.url, bed.flower, [Tasks("shop.report", "RETRY", 1, 4000.0)], worker=clerk.node)
    come(bed, clerk, "shop.nightly", *(4000.0 + 120.0 * number for number in range(8, 0, -1)))
    with TaskEvents(bed.redis.url) as events:
        task = str(uuid.uuid4())
        events.send("task-received", uuid=task, name="shop.pay", hostname=clerk.node)
        events.send(
            "task-failed", uuid=task, hostname=clerk.node, exception="shop.errors.OutOfStock('no teapot')", traceback=""
        )
    mailer.stop()
    with shop_app(bed.redis.url) as shop:
        for queue in ("mail", "mial"):
            shop.send_task("shop.mail.send_receipt", (1,), queue=queue)
        for _ in range(8):  # more than a worker with one process fetches ahead
            shop.send_task("shop.reports.daily_sales", (60,))

    def all_of_it() -> bool:
        assert bed.push("--with", EXTRAS) == 0
        return fired(bed) >= TROUBLE

    try:
        wait_for("the alerts", all_of_it, 60)
    finally:
        print("fired at last:", fired(bed))
    assert {about for name, about in fired(bed) if name == "CeleryPeriodicTaskOverdue"} == {"shop.nightly"}
    assert {about for name, about in fired(bed) if name == "CeleryNewException"} == {"shop.errors.OutOfStock"}
