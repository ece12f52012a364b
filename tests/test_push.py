"""The main job on real services: one push, and what it leaves on the Pushgateway."""

import re
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Pushgateway, Redis, Testbed, Worker
from testbed.shop import shop_app
from tests.independent import assert_agree, eventually, expected_samples, key, without_group

OWN = {"flower_up", "flower_scrape_duration_seconds", "flower_scrape_tasks", "push_job_build_info"}
OF_THE_PUSHGATEWAY = {"push_time_seconds", "push_failure_time_seconds"}


def instance(url: str) -> str:
    return url.removeprefix("http://")


@pytest.fixture(scope="module")
def busy_flower(flower: Flower, redis: Redis, worker: Worker) -> Flower:
    """The session's Flower with real tasks and events of every odd kind.

    A real worker runs the tasks.
    """
    shop = shop_app(redis.url)
    sent = [shop.send_task("shop.orders.place", (n,)).id for n in range(5)]
    sent += [shop.send_task("shop.stock.reserve", (n, "teapot"), {"available": n % 2 == 0}).id for n in range(4)]
    later = shop.send_task("shop.mail.send_receipt", (1, "a@example.com"), countdown=3600)
    now = time.time()
    with TaskEvents(redis.url) as events:
        send = events.send
        ids = {name: f"odd-{name}-{uuid.uuid4()}" for name in ("nameless", "custom", "eta", "late", "sent", "retry")}
        send("task-started", uuid=ids["nameless"], timestamp=now - 100)
        send("task-received", uuid=ids["custom"], name="shop.odd.custom", timestamp=now - 50)
        send("task-halfway", uuid=ids["custom"], timestamp=now - 40)
        in_an_hour = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
        a_minute_ago = (datetime.now(timezone(timedelta(hours=-3))) - timedelta(minutes=1)).isoformat()
        send("task-received", uuid=ids["eta"], name="shop.odd.eta", eta=in_an_hour, timestamp=now - 1000)
        send("task-received", uuid=ids["late"], name="shop.odd.late", eta=a_minute_ago, timestamp=now - 1000)
        send("task-sent", uuid=ids["sent"], name='shop.odd.quo"te\\ünï', timestamp=now - 30)
        send("task-received", uuid=ids["retry"], name="shop.odd.retry", timestamp=now - 30)
        send("task-retried", uuid=ids["retry"], exception="X()", timestamp=now - 20)
        send("task-rejected", uuid=f"odd-rejected-{uuid.uuid4()}", timestamp=now - 5)
    flower.wait_for_task(ids["retry"], "RETRY")
    flower.wait_for_task(later.id, "RECEIVED")
    for task_id in sent[:5]:
        flower.wait_for_task(task_id, "SUCCESS")
    flower.wait_for_task(sent[5], "SUCCESS")
    flower.wait_for_task(sent[6], "FAILURE")
    flower.wait_for_task(sent[7], "SUCCESS")
    flower.wait_for_task(sent[8], "FAILURE")
    return flower


def test_every_pushed_sample_agrees_with_an_independent_count(
    busy_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    started = time.time()
    done = push_job("push", "--flower", busy_flower.url, "--pushgateway", clean_pushgateway.url)
    expected, growing = expected_samples(busy_flower.url)
    seconds = time.time() - started
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    pushed = clean_pushgateway.samples(job="flower", instance=instance(busy_flower.url))
    assert_agree(without_group(pushed), expected, growing, seconds)
    odd = without_group(pushed)
    assert odd[key("celery_task_types_by_state", task_type="unknown", state="STARTED")] >= 1
    assert odd[key("celery_task_types_by_state", task_type="unknown", state="REJECTED")] >= 1
    assert odd[key("celery_task_types_by_state", task_type="shop.odd.custom", state="HALFWAY")] >= 1
    assert odd[key("celery_task_duration_seconds_by_state", name="shop.odd.eta", state="RECEIVED")] == 0
    assert 58 < odd[key("celery_task_duration_seconds_by_state", name="shop.odd.late", state="RECEIVED")] < 90


def test_a_push_says_what_the_job_did_itself(
    busy_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    push_job("push", "--flower", busy_flower.url, "--pushgateway", clean_pushgateway.url)
    pushed = clean_pushgateway.samples()
    values = {name: value for (name, _), value in pushed.items() if name in OWN}
    counted = sum(value for (name, _), value in pushed.items() if name == "celery_task_types_by_state")
    assert values.keys() == OWN
    assert values["flower_up"] == 1
    assert values["flower_scrape_tasks"] == counted > 0
    assert 0 < values["flower_scrape_duration_seconds"] < 30


def test_one_log_line_reports_the_cycle(busy_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    done = push_job("push", "--flower", busy_flower.url, "--pushgateway", clean_pushgateway.url)
    (line,) = done.stderr.splitlines()
    for part in ("level=info", "msg=pushed", f"flower={instance(busy_flower.url)}", "tasks=", "workers="):
        assert part in line
    assert re.search(r" requests=[23] ", line)  # the third one, if a worker is not alive, shows since when
    assert "seconds=" in line


def test_what_is_gone_from_flower_is_gone_from_its_group(
    testbed: Testbed, redis: Redis, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    flower = testbed.flower(redis)
    with TaskEvents(redis.url) as events:
        events.send("task-received", uuid=f"gone-{uuid.uuid4()}", name="shop.gone.soon")
    flower.wait_for_tasks(1)
    push_job("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    gone = key("celery_task_types_by_state", task_type="shop.gone.soon", state="RECEIVED")
    assert without_group(clean_pushgateway.samples())[gone] == 1
    flower.stop()
    flower.start()
    push_job("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    assert gone not in without_group(clean_pushgateway.samples())
    flower.stop()


def test_a_stopped_flower_leaves_a_gap_and_harms_no_other(
    testbed: Testbed, redis: Redis, busy_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    other = testbed.flower(redis)
    both = ("--flower", busy_flower.url, "--flower", other.url, "--pushgateway", clean_pushgateway.url)
    assert push_job("push", *both).returncode == 0
    other.stop()
    started = time.time()
    done = push_job("push", *both, "--deadline", "15")
    assert done.returncode == 1
    down = clean_pushgateway.samples(instance=instance(other.url))
    names = {name for name, _ in down}
    assert names <= {"flower_up", "flower_scrape_duration_seconds", "push_job_build_info"} | OF_THE_PUSHGATEWAY
    assert [value for (name, _), value in down.items() if name == "flower_up"] == [0]
    up = clean_pushgateway.samples(instance=instance(busy_flower.url))
    expected, growing = expected_samples(busy_flower.url)
    assert_agree(without_group(up), expected, growing, time.time() - started)
    (complaint,) = [line for line in done.stderr.splitlines() if "level=error" in line]
    assert instance(other.url) in complaint


def test_a_worker_started_after_flower_counts_one_and_killed_counts_zero(
    testbed: Testbed, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    redis = testbed.redis()
    flower = testbed.flower(redis)
    arguments = ("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)

    def workers() -> dict[str, float]:
        assert push_job(*arguments).returncode == 0
        samples = clean_pushgateway.samples(instance=instance(flower.url))
        return {dict(labels)["app"]: value for (name, labels), value in samples.items() if name == "celery_workers"}

    assert workers() == {"": 0}
    worker = testbed.worker(redis, name="late-one")
    flower.wait_for_worker(worker.node)
    assert workers() == {worker.node: 1}
    worker.kill()
    # Celery lets a heartbeat expire after twice its period, which is 2 s.
    eventually(lambda: workers() == {worker.node: 0}, timeout=120)
    flower.stop()
    redis.stop()


def test_a_url_prefix_is_part_of_the_instance(
    testbed: Testbed, redis: Redis, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    flower = testbed.flower(redis, options=["--url_prefix=ops/flower"])
    done = push_job("push", "--flower", f"{flower.url}/", "--pushgateway", clean_pushgateway.url)
    assert done.returncode == 0, done.stderr
    assert clean_pushgateway.samples(instance=f"127.0.0.1:{flower.port}/ops/flower")
    flower.stop()


@pytest.mark.parametrize("job", ["flower", "a/b", "two words", "ümläut", "50%+&?#"])
def test_names_of_jobs_and_grouping_values_may_be_any_text(
    busy_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob, job: str
) -> None:
    arguments = ("--flower", busy_flower.url, "--pushgateway", clean_pushgateway.url, "--job", job)
    grouping = ("--grouping", f"team=of {job}", "--grouping", "empty=")
    done = push_job("push", *arguments, *grouping)
    assert done.returncode == 0, done.stderr
    (group,) = clean_pushgateway.groups()
    assert group["labels"]["job"] == job
    assert group["labels"]["team"] == f"of {job}"
    deleted = push_job(
        "delete", "--flower", busy_flower.url, "--pushgateway", clean_pushgateway.url, "--job", job, *grouping
    )
    assert deleted.returncode == 0
    assert clean_pushgateway.groups() == []


def test_a_pushgateway_may_have_a_path_prefix(testbed: Testbed, busy_flower: Flower, push_job: PushJob) -> None:
    gateway = testbed.pushgateway(options=["--web.route-prefix=/metrics/gateway"])
    assert gateway.url.endswith("/metrics/gateway")
    done = push_job("push", "--flower", busy_flower.url, "--pushgateway", gateway.url)
    assert done.returncode == 0, done.stderr
    gateway.stop()


def test_settings_come_from_the_environment(
    busy_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    env = {"PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url, "PUSH_JOB_JOB": "from-env", "PUSH_JOB_GROUPING": "a=1 b=2"}
    assert push_job("push", env={**env, "PUSH_JOB_FLOWER": busy_flower.url}).returncode == 0
    assert clean_pushgateway.samples(job="from-env", a="1", b="2")
    clean_pushgateway.wipe()
    done = push_job("push", env={**env, "FLOWER_HOSTS_LIST": f"{busy_flower.url} http://127.0.0.1:9"})
    assert done.returncode == 1
    assert {group["labels"]["instance"] for group in clean_pushgateway.groups()} == {
        instance(busy_flower.url),
        "127.0.0.1:9",
    }


def test_a_shard_takes_its_flowers_and_no_other(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    flowers = [f"127.0.0.1:{port}" for port in range(1, 8)]
    urls = [part for flower in flowers for part in ("--flower", flower)]
    taken: list[set[str]] = []
    for shard in range(3):
        clean_pushgateway.wipe()
        push_job("push", *urls, "--pushgateway", clean_pushgateway.url, "--shard", f"{shard}/3", "--deadline", "10")
        taken.append({group["labels"]["instance"] for group in clean_pushgateway.groups()})
    assert [len(shard) for shard in taken] == [3, 2, 2]
    assert set.union(*taken) == set(flowers)
