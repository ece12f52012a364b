"""Each Flower version with many tasks is counted exactly while events arrive.

A starved Flower is counted exactly too.
"""

import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from push_job.flower.api import Flower as FlowerApi
from push_job.flower.full_scrape import scrape_all_tasks
from push_job.flower.table import TaskTable
from push_job.http.client import Client
from push_job.settings import PAGE_SIZE, SORTED_PAGE_SIZE, Endpoint
from testbed.command import PushJob
from testbed.events import TaskEvents, send_tasks
from testbed.services import Flower, Pushgateway, Redis, Testbed
from tests.background import meanwhile
from tests.independent import key, without_group

VERSIONS = ("1.2.0", "2.0.1", None)
QUIET, RESTLESS = 20_000, 1_500


class Crowd:
    """Flowers of every version with the same tasks.

    Many tasks do not change. Some receive events.
    """

    def __init__(self, testbed: Testbed, redis: Redis, events: TaskEvents) -> None:
        self.redis = redis
        self.events = events
        self.flowers = {
            version: testbed.flower(self.redis, version=version, options=["--max_tasks=100000"]) for version in VERSIONS
        }
        self.quiet = send_tasks(events, QUIET)
        self.restless = [str(uuid.uuid4()) for _ in range(RESTLESS)]
        for task_id in self.restless:
            events.send("task-received", uuid=task_id, name="shop.restless")
        events.flush()
        for flower in self.flowers.values():
            flower.wait_for_tasks(QUIET + RESTLESS)

    def stirred(self, seed: int, events: TaskEvents) -> AbstractContextManager[None]:
        """Send events for the restless tasks and new tasks during the block.

        They come from several workers.
        """
        chance = random.Random(seed)

        def stir(ended: threading.Event) -> None:
            while not ended.wait(0.001):
                worker = f"celery@stirring-{chance.randrange(3)}"
                kind = chance.choice(["task-started", "task-retried", "task-received"])
                events.send(kind, uuid=chance.choice(self.restless), hostname=worker)
                if chance.random() < 0.1:
                    events.send("task-received", uuid=str(uuid.uuid4()), name="shop.newcomer", hostname=worker)
                events.flush()

        return meanwhile(stir)


@pytest.fixture(scope="module")
def crowd(testbed: Testbed) -> Iterator[Crowd]:
    redis = testbed.redis()
    with TaskEvents(redis.url, buffer=100) as events:
        made = Crowd(testbed, redis, events)
        yield made
    for flower in made.flowers.values():
        flower.stop()
    redis.stop()


def scan(flower: Flower, page_size: int) -> TaskTable:
    client = Client(Endpoint.parse(flower.url, "--flower"), timeout=30)
    try:
        return scrape_all_tasks(FlowerApi(client), page_size, time.monotonic() + 60)
    finally:
        client.close()


def counts(tasks: TaskTable) -> Counter[tuple[str, str]]:
    return Counter({labels: tally.count for labels, tally in tasks.tally().items()})


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_task_is_counted_by_pages_while_events_arrive(crowd: Crowd, version: str | None, seed: int) -> None:
    with crowd.stirred(seed, crowd.events):
        tasks = scan(crowd.flowers[version], page_size=(700, 1500, 4000)[seed - 1])
    assert_all_is_accounted_for(crowd, tasks)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_task_is_counted_after_a_restart_of_a_logical_clock(crowd: Crowd, version: str | None) -> None:
    with TaskEvents(crowd.redis.url) as events, crowd.stirred(1, events):
        tasks = scan(crowd.flowers[version], page_size=1500)
    assert_all_is_accounted_for(crowd, tasks)


def assert_all_is_accounted_for(crowd: Crowd, tasks: TaskTable) -> None:
    counted = counts(tasks)
    untouched = Counter({labels: n for labels, n in counted.items() if labels in crowd.quiet})
    assert untouched == crowd.quiet
    assert not [task_id for task_id in crowd.restless if task_id not in tasks]
    assert sum(n for (name, _), n in counted.items() if name == "shop.restless") == RESTLESS
    assert sum(counted.values()) == len(tasks)


@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_newest_flower_is_asked_for_larger_pages(crowd: Crowd, push_job: PushJob, version: str | None) -> None:
    # A timeout that no page comes near: on a slow page, the size would not grow.
    limits = ("--timeout", "300", "--deadline", "600")
    shown = push_job("show", "--flower", crowd.flowers[version].url, "--verbose", "--format", "prometheus", *limits)
    asked = {tuple(map(int, page)) for page in re.findall(r"/api/tasks\?limit=(\d+)&offset=(\d+)", shown.stderr)}
    second_page = SORTED_PAGE_SIZE if version is None else PAGE_SIZE
    assert {(PAGE_SIZE, 0), (second_page, PAGE_SIZE - 100)} <= asked
    assert {limit for limit, offset in asked if offset} == {second_page}


@pytest.mark.parametrize("version", VERSIONS)
def test_no_kept_task_is_missed_while_a_flower_forgets(testbed: Testbed, version: str | None) -> None:
    redis = testbed.redis()
    flower = testbed.flower(redis, version=version, options=["--max_tasks=3000"])
    ids = [str(uuid.uuid4()) for _ in range(3000)]
    with TaskEvents(redis.url, buffer=100) as events:
        for task_id in ids:
            events.send("task-received", uuid=task_id, name="shop.old")
    flower.wait_for_tasks(3000)
    sent = 0

    def arrive(ended: threading.Event) -> None:
        nonlocal sent
        with TaskEvents(redis.url) as events:
            while not ended.wait(0.002):
                events.send("task-received", uuid=str(uuid.uuid4()), name="shop.new")
                sent += 1

    with meanwhile(arrive):
        tasks = scan(flower, 200)
    # Flower forgets in the order of arrival, so what it has not forgotten by now are the last of the old ones.
    kept = ids[sent:]
    assert 0 < sent < 3000
    assert not [task_id for task_id in kept if task_id not in tasks]
    flower.stop()
    redis.stop()


def test_a_flower_that_is_paused_again_and_again_is_scraped_exactly(
    crowd: Crowd, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    flower = crowd.flowers[None]

    def starve(ended: threading.Event) -> None:
        while not ended.is_set():
            flower.pause()
            ended.wait(0.4)
            flower.resume()
            ended.wait(0.2)

    arguments = ("--page-size", "4000", "--timeout", "3", "--deadline", "50")
    with meanwhile(starve):
        done = push_job("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url, *arguments)
    assert done.returncode == 0, done.stderr
    samples = without_group(clean_pushgateway.samples())
    for (name, state), count in crowd.quiet.items():
        assert samples[key("celery_task_types_by_state", task_type=name, state=state)] == count
