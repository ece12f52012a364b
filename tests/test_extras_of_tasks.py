"""Extras of tasks are right on real Flowers, workers and beat.

They are ages, waits, exceptions and last runs.
"""

import functools
import json
import re
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
import requests

from testbed.command import ROOT, PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Prometheus, Pushgateway, Testbed, Worker
from testbed.shop import shop_app
from tests.deploy.test_chart_rules import alert, rendered
from tests.extras_reading import histogram, of_family, push, raw_tasks
from tests.fakes.beat import EVERY, TASK
from tests.independent import ENTERED_BY, Key, eventually, key
from tests.panels.ask import answer, shown
from tests.panels.boards import queries_of

VERSIONS = ("newest", "2.0.1", "1.2.0")
EXTRAS = ("ages", "waits", "failures", "last-run")
OLDEST = "celery_task_oldest_seconds"
QUEUE_WAIT = "celery_task_queue_wait_seconds"
FAILURES = "celery_task_failures"
LAST = {
    "SUCCESS": "celery_task_last_success_timestamp_seconds",
    "FAILURE": "celery_task_last_failure_timestamp_seconds",
}
INTERVAL = "celery_task_interval_seconds"

#: Exceptions as Flower has them, and the class that is pushed.
TEXTS = {
    "ValueError('no (such) card')": "ValueError",
    "KeyError('id',)": "KeyError",
    "billiard.exceptions.WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 0.')": (
        "billiard.exceptions.WorkerLostError"
    ),
    "TimeLimitExceeded(300,)": "TimeLimitExceeded",
    "Überlauf('zu viel')": "Überlauf",
    "1 validation error for Order\nname\n  missing (anna@example.com)": "unknown",
    "anna@example.com": "unknown",
    "anna": "unknown",
    "anna(at)example.com": "unknown",
    "<Unrepresentable 'x'>": "unknown",
    "": "unknown",
    "('a', 'b')": "unknown",
    "x" * 101 + "()": "unknown",
    "a..b()": "unknown",
    "MemoryError('" + "x" * 70_000 + "')": "MemoryError",
}


@dataclass(frozen=True)
class Shop:
    """Flowers of all versions that received the same events.

    All tasks and beat have ended.

    Attributes:
        flowers: by version.
        worker: the worker of all tasks.
    """

    flowers: Mapping[str, Flower]
    worker: Worker


@pytest.fixture(scope="module")
def shop(testbed: Testbed, push_job: PushJob, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Flowers with a stuck task, real failures and a beat that has stopped.

    There are also young tasks, one with an ETA, and odd texts.
    """
    broker = testbed.redis()
    flowers = {
        version: testbed.flower(broker, version=None if version == "newest" else version) for version in VERSIONS
    }
    worker = testbed.worker(broker, name="questions-1", concurrency=3)
    app = shop_app(broker.url)
    schedule = tmp_path_factory.mktemp("beat") / "schedule"
    command = [sys.executable, "-m", "tests.fakes.beat", broker.url, str(schedule)]
    beat = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        stuck = app.send_task("shop.reports.daily_sales", (300,)).id
        for number in range(3):
            app.send_task("shop.stock.reserve", (number, "teapot"), {"available": False})
        app.send_task("shop.stock.reserve", (9, "teapot"))
        app.send_task("shop.courier.book", (1,), {"reachable": False})
        last = app.send_task("shop.mail.send_receipt", (1, "anna@example.com"), countdown=3).id
        app.send_task("shop.vouchers.later", (1,), countdown=3600)
        now = time.time()
        with TaskEvents(broker.url) as events:
            # A worker that cannot be asked may consume any queue.
            send = functools.partial(events.send, hostname=worker.node)
            for age in (5000, 40):
                send("task-received", uuid=f"stuck-{age}", name="shop.stuck", timestamp=now - age - 1)
                send("task-started", uuid=f"stuck-{age}", timestamp=now - age)
            eta = datetime.fromtimestamp(now - 100, timezone.utc).isoformat()
            send("task-received", uuid="eta", name="shop.eta", eta=eta, timestamp=now - 900)
            for text in TEXTS:
                failed = str(uuid.uuid4())
                send("task-received", uuid=failed, name="shop.odd", timestamp=now - 9)
                send("task-failed", uuid=failed, exception=text, timestamp=now - 8)
        flowers["newest"].wait_for_task(last, "SUCCESS")
        eventually(lambda: sum(task["name"] == TASK for task in raw_tasks(flowers["newest"].url)) >= 8)
        # On a busy machine beat may really be late for a while.
        eventually(lambda: found_overdue(push_job, flowers["newest"]) == [])
    finally:
        beat.kill()
        beat.wait(30)
    end = app.send_task("shop.mail.send_receipt", (2, "end@example.com")).id
    time.sleep(4 * EVERY)  # a type is overdue after three of its intervals
    for flower in flowers.values():
        flower.wait_for_task(end, "SUCCESS")
        flower.wait_for_task(stuck, "STARTED")
        flower.wait_for_worker(worker.node)
    return Shop(flowers, worker)


@pytest.fixture(params=VERSIONS)
def flower(request: pytest.FixtureRequest, shop: Shop) -> Flower:
    return shop.flowers[request.param]


def oldest(tasks: Sequence[dict[str, Any]], now: float) -> dict[Key, float]:
    ages: dict[Key, list[float]] = defaultdict(list)
    for task in tasks:
        if task["state"] in ENTERED_BY:
            since = task[ENTERED_BY[task["state"]]]
            if task["eta"]:
                since = max(since, datetime.fromisoformat(task["eta"]).timestamp())
            ages[key(OLDEST, name=task["name"] or "unknown", state=task["state"])].append(max(0, now - since))
    return {sample: max(values) for sample, values in ages.items()}


def test_the_oldest_task_of_each_type_and_unfinished_state(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    started = time.time()
    pushed = push(push_job, flower, clean_pushgateway, "--with", "ages")
    samples = of_family(pushed, OLDEST)
    answer = requests.get(f"{flower.url}/api/tasks", timeout=60)
    expected = oldest(list(answer.json().values()), parsedate_to_datetime(answer.headers["Date"]).timestamp())
    # The worker is alive and runs neither of these, so they ended and Flower did not hear of it.
    assert expected.pop(key(OLDEST, name="shop.stuck", state="STARTED")) >= 4999
    assert of_family(pushed, "celery_tasks_ended_unheard") == {key("celery_tasks_ended_unheard", name="shop.stuck"): 1}
    assert samples.keys() == expected.keys()
    for sample, value in expected.items():
        assert value - (time.time() - started) - 1 <= samples[sample] <= value
    assert 99 <= samples[key(OLDEST, name="shop.eta", state="RECEIVED")] < 900
    assert key(OLDEST, name="shop.reports.daily_sales", state="STARTED") in samples


def test_the_wait_in_the_queue_is_from_sent_or_the_eta_to_started(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    waits: dict[str, list[float]] = defaultdict(list)
    for task in raw_tasks(flower.url):
        eta = datetime.fromisoformat(task["eta"]).timestamp() if task["eta"] else 0
        waits_again = task["state"] == "RETRY" or (task["retried"] and task["started"] < task["retried"])
        if task["sent"] and task["started"] and not waits_again:
            waits[task["name"]].append(max(0, task["started"] - max(task["sent"], eta)))
    samples = of_family(push(push_job, flower, clean_pushgateway, "--with", "waits"), QUEUE_WAIT)
    assert samples == pytest.approx(histogram(QUEUE_WAIT, waits))
    assert samples[key(f"{QUEUE_WAIT}_count", name="shop.mail.send_receipt")] == 2
    assert key(f"{QUEUE_WAIT}_count", name="shop.stuck") not in samples  # the time of its sending is unknown


def test_failures_are_counted_by_exception(flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    expected: dict[Key, float] = defaultdict(float)
    for task in raw_tasks(flower.url):
        if task["state"] == "FAILURE":
            exception = TEXTS.get(task["exception"] or "") or task["exception"].split("(")[0]
            expected[key(FAILURES, name=task["name"], exception=exception)] += 1
    samples = push(push_job, flower, clean_pushgateway, "--with", "failures")
    assert {
        sample: count for sample, count in of_family(samples, FAILURES).items() if sample[0] == FAILURES
    } == expected
    assert samples[key(FAILURES, name="shop.stock.reserve", exception="OutOfStockError")] == 3
    for exception in TEXTS.values():
        assert key(FAILURES, name="shop.odd", exception=exception) in samples
    assert not [text for _, labels in samples for _, text in labels if "example.com" in text]


def test_last_success_last_failure_and_interval_of_periodic_tasks(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    expected: dict[Key, float] = {}
    tasks = raw_tasks(flower.url)
    for task in tasks:
        if field := {"SUCCESS": "succeeded", "FAILURE": "failed"}.get(task["state"]):
            sample = key(LAST[task["state"]], name=task["name"])
            expected[sample] = max(expected.get(sample, 0), task[field])
    sent = sorted(task["sent"] for task in tasks if task["name"] == TASK)
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    samples = push(push_job, flower, clean_pushgateway, "--with", "last-run")
    last = of_family(samples, "celery_task_last_")
    assert last == pytest.approx(expected, rel=1e-12)
    assert len({name for name, _ in last}) == 2
    regular = {sample: value for sample, value in samples.items() if sample[0] == INTERVAL}
    assert regular == {key(INTERVAL, name=TASK): pytest.approx(median(gaps))}
    assert regular[key(INTERVAL, name=TASK)] == pytest.approx(EVERY, rel=0.2)


def found_overdue(push_job: PushJob, flower: Flower) -> list[dict[str, Any]]:
    done = push_job("explain", "--flower", flower.url, "--format", "json")
    [report] = json.loads(done.stdout)["flowers"]
    assert report["up"]
    return [finding for finding in report["findings"] if finding["kind"] == "overdue"]


def test_explain_reports_the_beat_once_it_has_stopped(shop: Shop, flower: Flower, push_job: PushJob) -> None:
    # The fixture has checked that it was not reported while beat ran.
    [finding] = found_overdue(push_job, flower)
    assert finding["subject"] == TASK
    every = re.search(r"every ([\d.]+) s", finding["fact"])
    assert every
    assert float(every[1]) == pytest.approx(EVERY, rel=0.2)
    assert "Celery beat" in finding["likely"]
    # An interval this short may be that of a batch, and does not page anybody.
    assert finding["level"] == "unsure"


def test_panel_and_alert_report_it_as_overdue(
    shop: Shop, clean_pushgateway: Pushgateway, prometheus: Prometheus, push_job: PushJob
) -> None:
    push(push_job, shop.flowers["newest"], clean_pushgateway, "--with", "last-run")
    prometheus.wait_for_scrape()
    now = time.time()
    of_panel = {
        query.ref: [*shown(prometheus, query, {"job": ["flower"]}, now).items()]
        for query in queries_of("celery-by-flower-in-depth")
        if query.where == "Overdue types"
    }
    labels = frozenset({("name", TASK)})
    [[(_, intervals)], [(_, ago)], [(_, interval)]] = (of_panel[ref] for ref in "ABC")
    assert {about for row in of_panel.values() for about, _ in row} == {labels}
    assert interval == pytest.approx(EVERY, rel=0.2)
    assert intervals == pytest.approx(ago / interval)
    assert intervals > 3

    # The alert ignores an interval this short by default.
    as_it_is, short = (
        alert(rendered(**values), "CeleryPeriodicTaskOverdue")["expr"] for values in ({}, {"shortestInterval": 0.5})
    )
    assert answer(prometheus, as_it_is, now) == {}
    [(about, seconds)] = answer(prometheus, short, now).items()
    assert dict(about)["name"] == TASK
    assert seconds == pytest.approx(ago)


@pytest.fixture(scope="module")
def night(testbed: Testbed, shop: Shop) -> str:
    """A queue whose only worker was stopped."""
    worker = testbed.worker(shop.worker.broker, name="questions-night", concurrency=1, options=["-Q", "night"])
    for flower in shop.flowers.values():
        flower.wait_for_worker(worker.node)
        told = requests.get(f"{flower.url}/api/workers?refresh=1", timeout=60).json()
        assert [queue["name"] for queue in told[worker.node]["active_queues"]] == ["night"]
    worker.stop()
    for flower in shop.flowers.values():
        flower.wait_for_worker(worker.node, alive=False)
    return "night"


def test_pool_sizes_and_consumers_of_queues(
    shop: Shop, night: str, flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    samples = push(push_job, flower, clean_pushgateway, "--with", "pools")
    pools = of_family(samples, "celery_worker_pool_processes") | of_family(samples, "celery_queue_consumers")
    assert pools == {
        key("celery_worker_pool_processes", worker=shop.worker.node): 3,
        key("celery_queue_consumers", queue="celery"): 1,
        key("celery_queue_consumers", queue=night): 0,
    }


def test_the_table_shows_pools_and_consumers(shop: Shop, push_job: PushJob) -> None:
    shown = push_job("show", "--flower", shop.flowers["newest"].url, "--with", ",".join(EXTRAS), env={"COLUMNS": "160"})
    assert shown.returncode == 0, shown.stderr
    for title in (OLDEST, QUEUE_WAIT, FAILURES, *LAST.values(), INTERVAL):
        assert title in shown.stdout
