"""`push-job explain` is true, short and worst first, on real services.

Its reader is someone who was just paged. The Flowers and workers are real.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Redis, Testbed

#: The longest that the output may be, in lines of a terminal.
SCREEN = 24


NODE = "celery@made-up"


@pytest.fixture(scope="module")
def broker(testbed: Testbed) -> Redis:
    return testbed.redis()


@pytest.fixture
def fresh(testbed: Testbed, broker: Redis) -> Iterator[Flower]:
    """A Flower that has just started and hears one worker.

    The worker runs one task and answers no question.
    """
    flower = testbed.flower(broker)
    beat(flower, NODE, active=1)
    yield flower
    flower.kill()


@pytest.fixture
def flower(fresh: Flower) -> Flower:
    """A Flower that remembers a success of an hour ago.

    It looks as if Flower had kept the task over a restart.
    """
    report(fresh, "shop.orders.place", sent=3601, received=3601, started=3600.1, succeeded=3600)
    return fresh


def beat(flower: Flower, node: str, **fields: Any) -> None:
    """Send a heartbeat that is good for twenty minutes."""
    with TaskEvents(flower.broker.url) as events:
        events.worker(node, "heartbeat", freq=600.0, **fields)
    flower.wait_for_worker(node)


def report(flower: Flower, name: str, node: str = NODE, **ago: float) -> str:
    """Report a task of a worker: how many seconds ago each of its events was."""
    task_id, now = f"{name}-{time.time()}", time.time()
    with TaskEvents(flower.broker.url) as events:
        for event, seconds in ago.items():
            fields: dict[str, Any] = {"name": name} if event in ("sent", "received") else {}
            if event == "succeeded":
                fields = {"result": "None", "runtime": 0.05}
            sender = "web@sender" if event == "sent" else node
            events.send(f"task-{event}", uuid=task_id, timestamp=now - seconds, hostname=sender, **fields)
    states = {"sent": "PENDING", "received": "RECEIVED", "started": "STARTED", "succeeded": "SUCCESS"}
    flower.wait_for_task(task_id, states[list(ago)[-1]])
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
    assert done.stdout == f"Flower {address}: no problem found (1 live worker, 1 task)\n"
    assert done.returncode == 0
    assert "refresh=1" not in done.stderr


def test_a_flower_that_has_just_started_says_how_little_it_knows(fresh: Flower, push_job: PushJob) -> None:
    code, lines = shown(push_job, fresh.url)
    assert code == 0
    assert "not known: " in " ".join(lines[:2])
    assert kinds(explained(push_job, fresh)) == [("flower-young", "")]


def test_a_flower_that_is_down_is_reported_next_to_one_that_is_well(flower: Flower, push_job: PushJob) -> None:
    code, lines = shown(push_job, flower.url, "http://ops:s3cr3t@127.0.0.1:9")
    assert code == 1
    assert lines[0] == "2 Flowers: 1 problem found (1 live worker, 1 task)"
    assert lines[1].startswith("✗ 127.0.0.1:9: ")
    assert "push-job check" in " ".join(map(str.strip, lines[2:]))


def test_a_stuck_task_with_its_page_and_its_worker(flower: Flower, push_job: PushJob) -> None:
    stuck = report(flower, "shop.orders.place", received=7301, started=7300)
    [finding] = explained(push_job, flower)
    _, lines = shown(push_job, flower.url)
    assert kinds([finding]) == [("stuck", "shop.orders.place")]
    assert page_of(flower, finding) == stuck
    assert NODE in finding["fact"]
    assert "(2 hours ago)" in finding["fact"]
    assert finding["link"] in "".join(lines)


@pytest.mark.parametrize("version", ["2.0.1", "1.2.0"])
def test_earlier_flowers_report_the_same(testbed: Testbed, broker: Redis, push_job: PushJob, version: str) -> None:
    flower = testbed.flower(broker, version=version)
    beat(flower, NODE, active=1)
    report(flower, "shop.orders.place", sent=3601, received=3601, started=3600.1, succeeded=3600)
    stuck = report(flower, "shop.orders.place", sent=7301, received=7301, started=7300)
    with TaskEvents(broker.url) as events:
        for second in range(4):
            events.worker("celery@gone", timestamp=time.time() - 9010 + second)
    flower.wait_for_worker("celery@gone", alive=False)
    held = report(flower, "shop.orders.place", "celery@gone", sent=9001, received=9001, started=9000)
    findings = explained(push_job, flower)
    assert kinds(findings) == [("worker-gone", "celery@gone"), ("stuck", "shop.orders.place")]
    assert [page_of(flower, finding) for finding in findings] == [held, stuck]
    flower.kill()


def test_a_flower_that_hangs_does_not_take_the_time_to_ask_the_others(
    testbed: Testbed, broker: Redis, flower: Flower, push_job: PushJob
) -> None:
    stuck = report(flower, "shop.orders.place", received=7301, started=7300)
    hung = testbed.flower(broker)
    hung.pause()
    flowers = ("--flower", flower.url, "--flower", hung.url)
    done = push_job("explain", *flowers, "--deadline", "3", "--format", "json")
    hung.kill()
    [found], [down] = (flower["findings"] for flower in json.loads(done.stdout)["flowers"])
    assert (found["kind"], page_of(flower, found)) == ("stuck", stuck)
    assert down["kind"] == "flower-down"


def test_a_beat_that_stopped_is_found_by_what_came_regularly(flower: Flower, push_job: PushJob) -> None:
    for number in range(7):
        ago = 1000.0 - 60 * number
        report(flower, "shop.vouchers.remind", sent=ago + 0.1, received=ago + 0.1, started=ago + 0.1, succeeded=ago)
    [finding] = explained(push_job, flower)
    assert kinds([finding]) == [("overdue", "shop.vouchers.remind")]
    assert "Celery beat" in finding["likely"]
    for number in range(7):
        ago = 60 - 10 * number + 0.1
        report(flower, "shop.reports.hourly", sent=ago, received=ago, started=ago, succeeded=ago)
    [finding] = explained(push_job, flower)
    assert finding["subject"] == "shop.vouchers.remind"
    assert "other periodic tasks still run" in finding["likely"]


def test_a_full_flower_says_how_far_back_it_remembers_and_that_is_no_trouble(
    testbed: Testbed, broker: Redis, push_job: PushJob
) -> None:
    flower = testbed.flower(broker, options=["--max_tasks=1000"])
    beat(flower, NODE)
    with TaskEvents(broker.url, buffer=100) as events:
        for number in range(1001):
            when: dict[str, Any] = {"timestamp": time.time() - 10_000 + number, "hostname": NODE}
            events.send("task-sent", uuid=f"full-{number}", name="shop.full", **{**when, "hostname": "web@sender"})
            events.send("task-received", uuid=f"full-{number}", name="shop.full", **when)
            events.send("task-revoked", uuid=f"full-{number}", **when)
    flower.wait_for_task("full-1000", "REVOKED")
    findings = explained(push_job, flower)
    flower.kill()
    assert [(finding["level"], finding["kind"]) for finding in findings] == [("note", "flower-full")]
    assert "remembers 1,000 tasks, back to" in findings[0]["fact"]
    assert "(3 hours ago)" in findings[0]["fact"]
