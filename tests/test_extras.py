"""The families that `--with` adds are right on real Flowers of three versions.

They are compared with counts of Flower's own answers.
"""

import math
import re
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

import pytest
import redis as redis_client
import requests

from testbed.command import PushJob
from testbed.events import TaskEvents, fill
from testbed.services import Flower, Pushgateway, Testbed, Worker
from testbed.shop import shop_app
from tests.extras_reading import (
    histogram,
    interpolated_quantile,
    of_family,
    own_metrics,
    push,
    raw_tasks,
    runtimes,
    waits,
    without_group_labels,
)
from tests.independent import Key, assert_agree, eventually, expected_samples, key, without_group

NEWEST = "newest"
VERSIONS = (NEWEST, "2.0.1", "1.2.0")
EXTRAS = ("queues", "runtimes", "waits", "activity", "flower-metrics")
RUNTIME = "celery_task_runtime_seconds"
WAIT = "celery_task_wait_seconds"
QUEUED = 7
HOSTILE_WORKER = 'celery@quo"te\\back\nline {ünï} \U0001f33b'
FOR_EVER = 86400.0


@dataclass(frozen=True)
class Quiet:
    """Flowers of all versions on one broker that received the same events.

    Their content does not change any more.
    """

    flowers: Mapping[str, Flower]
    broker_port: int


@pytest.fixture(scope="module")
def quiet(testbed: Testbed) -> Quiet:
    """Flowers with 1500 tasks of a shop and some odd ones.

    There are two workers that sent one heartbeat, and a queue without a consumer.
    """
    broker = testbed.redis()
    flowers = {version: testbed.flower(broker, version=None if version == NEWEST else version) for version in VERSIONS}
    fill(broker.url, 1500, task_types=12)
    now = time.time()
    with TaskEvents(broker.url) as events:
        for number, (waited, ran) in enumerate([(0.0, 0.004), (0.2, 0.01), (3, 2.0), (70, 59), (2000, 4000)]):
            task = f"slow-{number}-{uuid.uuid4()}"
            events.send("task-received", uuid=task, name="shop.slow", timestamp=now - 9000 - waited)
            events.send("task-started", uuid=task, timestamp=now - 9000)
            events.send("task-succeeded", uuid=task, runtime=ran, result="None", timestamp=now - 9000 + ran)
        eta = datetime.fromtimestamp(now - 110, timezone.utc).isoformat()
        events.send("task-received", uuid="with-eta", name="shop.with_eta", eta=eta, timestamp=now - 5000)
        events.send("task-started", uuid="with-eta", timestamp=now - 100)
        events.send("task-received", uuid="never-started", name="shop.never_started", timestamp=now - 50)
        for name in ("shop.waits_again", "shop.second_try"):
            events.send("task-received", uuid=name, name=name, timestamp=now - 90)
            events.send("task-started", uuid=name, timestamp=now - 85)
            events.send("task-retried", uuid=name, exception="Busy()", timestamp=now - 80)
            again = datetime.fromtimestamp(now - 20, timezone.utc).isoformat()
            events.send("task-received", uuid=name, name=name, eta=again, timestamp=now - 79)
        events.send("task-started", uuid="shop.second_try", timestamp=now - 18)
        events.send("task-received", uuid="delivered", name="shop.delivered_twice", timestamp=now - 70)
        events.send("task-started", uuid="delivered", timestamp=now - 60)
        events.send("task-received", uuid="delivered", name="shop.delivered_twice", timestamp=now - 30)
        events.send("task-sent", uuid="sender-ahead", name="shop.sender_ahead", timestamp=now - 39.9)
        events.send("task-received", uuid="sender-ahead", name="shop.sender_ahead", timestamp=now - 40)
        events.send("task-started", uuid="sender-ahead", timestamp=now - 39.95)
        for name, active in (("celery@w-1", 3), ("celery@events", 0), (HOSTILE_WORKER, 0)):
            load = [1.5, 1.25, 0.5]
            events.worker(name, freq=FOR_EVER, active=active, processed=40 + active, loadavg=load)
    shop = shop_app(broker.url)
    sent = [shop.send_task("shop.orders.place", (number,)).id for number in range(QUEUED)]
    for flower in flowers.values():
        flower.wait_for_worker(HOSTILE_WORKER)
        flower.wait_for_task(sent[-1], "PENDING")
    return Quiet(flowers, broker.port)


@pytest.fixture(params=VERSIONS)
def quiet_flower(request: pytest.FixtureRequest, quiet: Quiet) -> Flower:
    return quiet.flowers[request.param]


def success(samples: Mapping[Key, float]) -> dict[str, float]:
    return {dict(labels)["extra"]: value for (name, labels), value in samples.items() if name.endswith("extra_success")}


def test_a_push_without_extras_has_only_the_families_of_the_contract(
    quiet: Quiet, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    samples = push(push_job, quiet.flowers[NEWEST], clean_pushgateway)
    assert {name for name, _ in samples} == {
        *("celery_workers", "celery_task_types_by_state", "celery_task_duration_seconds_by_state"),
        *("flower_up", "flower_scrape_duration_seconds", "flower_scrape_tasks", "push_job_build_info"),
        "flower_scrape_window_seconds",
    }


def test_with_every_extra_the_three_families_are_the_same(
    quiet_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    started = time.time()
    samples = push(push_job, quiet_flower, clean_pushgateway, "--with", ",".join(EXTRAS))
    three = ("celery_workers", "celery_task_types_by_state", "celery_task_duration_seconds_by_state")
    expected, growing = expected_samples(quiet_flower.url)
    pushed = {sample: value for sample, value in without_group(samples).items() if sample[0] in three}
    assert_agree(pushed, expected, growing, time.time() - started)
    assert success(samples) == dict.fromkeys(EXTRAS, 1)


def test_only_the_selected_extras_are_pushed(quiet: Quiet, clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    samples = push(push_job, quiet.flowers[NEWEST], clean_pushgateway, "--with", "queues", "--with", "waits")
    assert success(samples) == {"queues": 1, "waits": 1}
    assert of_family(samples, "celery_queue_length")
    assert of_family(samples, WAIT)
    assert not of_family(samples, RUNTIME) | of_family(samples, "celery_worker_") | of_family(samples, "flower_events")


def test_queue_lengths_are_those_of_the_broker(
    quiet: Quiet, quiet_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    samples = push(push_job, quiet_flower, clean_pushgateway, "--with", "queues")
    waiting = redis_client.Redis(port=quiet.broker_port).llen("celery")
    assert waiting == QUEUED
    assert of_family(samples, "celery_queue") == {key("celery_queue_length", queue="celery"): waiting}


@pytest.mark.parametrize(
    ("options", "buckets"),
    [((), None), (("--buckets", "0.2,2.5,300"), (0.2, 2.5, 300.0)), (("--buckets", "0.00002 5"), (0.00002, 5.0))],
)
def test_runtimes_and_waits_agree_with_the_raw_tasks_bucket_by_bucket(
    quiet: Quiet,
    clean_pushgateway: Pushgateway,
    push_job: PushJob,
    options: tuple[str, ...],
    buckets: tuple[float, ...] | None,
) -> None:
    assert_histograms(quiet.flowers[NEWEST], clean_pushgateway, push_job, options, buckets)


@pytest.mark.parametrize("version", ["2.0.1", "1.2.0"])
def test_older_flowers_give_the_same_histograms(
    quiet: Quiet, clean_pushgateway: Pushgateway, push_job: PushJob, version: str
) -> None:
    assert_histograms(quiet.flowers[version], clean_pushgateway, push_job, (), None)


def assert_histograms(
    flower: Flower,
    pushgateway: Pushgateway,
    push_job: PushJob,
    options: tuple[str, ...],
    buckets: tuple[float, ...] | None,
) -> None:
    samples = push(push_job, flower, pushgateway, "--with", "runtimes,waits", *options)
    tasks = raw_tasks(flower.url)
    bounds = {"buckets": buckets} if buckets else {}
    expected = histogram(RUNTIME, runtimes(tasks), **bounds) | histogram(WAIT, waits(tasks), **bounds)
    pushed = of_family(samples, RUNTIME) | of_family(samples, WAIT)
    assert pushed == pytest.approx(expected)
    assert pushed[key(f"{RUNTIME}_count", name="shop.slow")] == 5
    assert pushed[key(f"{WAIT}_sum", name="shop.with_eta")] == pytest.approx(10)
    assert pushed[key(f"{WAIT}_sum", name="shop.second_try")] == pytest.approx(2)
    assert pushed[key(f"{WAIT}_count", name="shop.sender_ahead")] == 1
    assert key(f"{WAIT}_count", name="shop.waits_again") not in pushed
    assert key(f"{WAIT}_count", name="shop.delivered_twice") not in pushed


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
def test_quantiles_are_within_a_bucket_of_the_exact_ones(
    quiet: Quiet, clean_pushgateway: Pushgateway, push_job: PushJob, share: float
) -> None:
    flower = quiet.flowers[NEWEST]
    samples = push(push_job, flower, clean_pushgateway, "--with", "runtimes,waits")
    tasks = raw_tasks(flower.url)
    compared = 0
    for family, seconds in ((RUNTIME, runtimes(tasks)), (WAIT, waits(tasks))):
        for name, values in seconds.items():
            if name != "shop.slow":  # one of its tasks is beyond the last bucket
                exact = sorted(values)[math.ceil(share * len(values)) - 1]
                estimate, width = interpolated_quantile(samples, family, name, share)
                assert abs(estimate - exact) <= width, f"{family} {name}"
                compared += 1
    assert compared > 20


def test_types_beyond_the_limit_share_the_histograms_of_other(
    quiet: Quiet, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    flower = quiet.flowers[NEWEST]
    done = push_job(
        *("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url),
        *("--with", "runtimes", "--max-task-types", "3"),
    )
    assert done.returncode == 0
    samples = without_group_labels(clean_pushgateway.samples())
    counts = {dict(labels)["name"]: n for (name, labels), n in samples.items() if name == f"{RUNTIME}_count"}
    exact = {name: len(values) for name, values in runtimes(raw_tasks(flower.url)).items()}
    assert len(counts) == 3
    assert sum(counts.values()) == sum(exact.values())
    assert all(exact[name] == count for name, count in counts.items() if name != "other")


def test_activity_is_that_of_the_last_heartbeats(
    quiet_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    samples = of_family(push(push_job, quiet_flower, clean_pushgateway, "--with", "activity"), "celery_worker_")
    for worker, active in (("celery@w-1", 3), (HOSTILE_WORKER, 0)):
        assert samples[key("celery_worker_active_tasks", worker=worker)] == active
        assert samples[key("celery_worker_processed_tasks", worker=worker)] == 40 + active
        for period, load in (("1m", 1.5), ("5m", 1.25), ("15m", 0.5)):
            assert samples[key("celery_worker_load_average", worker=worker, period=period)] == load


def test_prefetched_tasks_are_flowers_own_count_summed_by_worker(
    quiet_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    samples = push(push_job, quiet_flower, clean_pushgateway, "--with", "activity")
    own = of_family(own_metrics(quiet_flower.url)[0], "flower_worker_prefetched_tasks")
    prefetched = sum(value for (_, labels), value in own.items() if ("worker", "celery@events") in labels)
    assert prefetched > 0
    assert samples[key("celery_worker_prefetched_tasks", worker="celery@events")] == prefetched


def test_activity_of_a_real_worker(
    flower: Flower, worker: Worker, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    shop = shop_app(worker.broker.url)
    tasks = [shop.send_task("shop.reports.daily_sales", (seconds,)).id for seconds in (0, 20)]
    flower.wait_for_task(tasks[0], "SUCCESS")
    flower.wait_for_task(tasks[1], "STARTED")

    def row() -> dict[str, float]:
        rows = requests.get(f"{flower.url}/workers?json=1", timeout=30).json()["data"]
        return next(row for row in rows if row["hostname"] == worker.node)

    eventually(lambda: row()["active"] == 1)  # heartbeats have it, every 2 s
    before = row()
    samples = push(push_job, flower, clean_pushgateway, "--with", "activity")
    after = row()
    assert samples[key("celery_worker_active_tasks", worker=worker.node)] == 1
    processed = samples[key("celery_worker_processed_tasks", worker=worker.node)]
    assert 1 <= before["processed"] <= processed <= after["processed"]
    # Flower's time has a resolution of one second, and a busy machine sends heartbeats late.
    assert 0 <= samples[key("celery_worker_last_heartbeat_age_seconds", worker=worker.node)] < 30
    assert samples[key("celery_worker_load_average", worker=worker.node, period="15m")] >= 0
    shop.control.revoke(tasks[1], terminate=True)


def test_every_family_of_flowers_own_metrics_arrives_with_its_type_and_values(
    quiet_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    samples = push(push_job, quiet_flower, clean_pushgateway, "--with", "flower-metrics")
    expected, types = own_metrics(quiet_flower.url)
    assert {"flower_events", "flower_task_runtime_seconds", "flower_worker_online"} <= types.keys()
    ours = ("flower_up", "flower_scrape_")
    assert {s: v for s, v in of_family(samples, "flower_").items() if not s[0].startswith(ours)} == expected
    (group,) = clean_pushgateway.groups()
    for name, kind in types.items():
        pushed_as = f"{name}_total" if kind == "counter" else name
        assert group[pushed_as]["type"] == kind.upper()
    assert not [name for name in group if name.startswith(("process_", "python_"))]


def test_names_follow_the_rules_of_prometheus_and_a_window_is_no_counter(quiet: Quiet, push_job: PushJob) -> None:
    flower = quiet.flowers[NEWEST]
    shown = push_job("show", "--flower", flower.url, "--format", "prometheus", "--with", ",".join(EXTRAS[:-1]))
    lint = subprocess.run(
        ["promtool", "check", "metrics"], input=shown.stdout, capture_output=True, text=True, check=False
    )
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
    for family in (RUNTIME, WAIT):
        assert re.search(rf"^# HELP {family} .*not a counter: use histogram_quantile without rate", shown.stdout, re.M)


def test_the_table_shows_the_selected_extras(quiet: Quiet, push_job: PushJob) -> None:
    url = quiet.flowers[NEWEST].url
    plain = push_job("show", "--flower", url, env={"COLUMNS": "200"}).stdout
    shown = push_job("show", "--flower", url, "--with", ",".join(EXTRAS), env={"COLUMNS": "200"})
    assert shown.returncode == 0, shown.stderr
    rows = [re.sub(r"[\s│┃]+", " ", line).strip() for line in shown.stdout.splitlines()]
    for title in ("celery_queue_length", RUNTIME, WAIT, "celery_worker_load_average", "flower_events_total"):
        assert title in rows
        assert title not in plain
    assert f"celery {QUEUED}" in rows
    assert "shop.slow 5 812.203 2.5 +Inf" in rows
    assert "15m celery@w-1 0.5" in rows
    assert "queues 1" in rows
