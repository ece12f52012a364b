"""A shop whose tasks change on real Flowers, and comparisons with Flower's list."""

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from push_job.flower.incremental.scraper import ScrapedTasks
from push_job.http.client import Client
from push_job.settings import Endpoint
from testbed.events import TaskEvents
from testbed.services import Broker, Flower
from tests.independent import durations_by_labels

VERSIONS = ("1.2.0", "2.0.1", None)
TASKS, ROOM = 2_000, 2_300
PAGE = 1_500
NAMES = ("shop.pay", "shop.mail", "shop.report")
ENDS = ("task-succeeded", "task-failed", "task-revoked", "task-retried", "task-rejected", "task-progressed")

#: Worker names, and by how many seconds their clocks are fast.
WORKERS = {"celery@one": 0.0, "celery@two": 0.0, "celery@slow": -90.0, "celery@fast": 90.0, "celery@reborn": 0.0}

#: The worker whose logical clock starts at zero.
REBORN = "celery@reborn"


class Shop:
    """Sends events of all kinds for young and old tasks; a context manager."""

    def __init__(self, redis: Broker, seed: int) -> None:
        self.events = TaskEvents(redis.url, buffer=20)
        self.events_of_reborn = TaskEvents(redis.url, buffer=20)
        self.chance = random.Random(seed)
        self.ids: list[str] = []
        self.owner: dict[str, str] = {}

    def __enter__(self) -> "Shop":
        """Connect."""
        self.events.__enter__()
        self.events_of_reborn.__enter__()
        return self

    def __exit__(self, *of_error: Any) -> None:
        """Disconnect."""
        self.events_of_reborn.__exit__(None, None, None)
        self.events.__exit__(None, None, None)

    def send(self, kind: str, task_id: str, worker: str, **fields: Any) -> None:
        """Send one event, by the worker's own clock."""
        stamp = time.time() + WORKERS.get(worker, 0.0)
        events = self.events_of_reborn if worker == REBORN else self.events
        events.send(kind, uuid=task_id, hostname=worker, timestamp=stamp, **fields)

    def arrive(self, count: int) -> None:
        """Send new tasks, each in some state."""
        for _ in range(count):
            task_id, worker = str(uuid.uuid4()), self.chance.choice(list(WORKERS))
            self.ids.append(task_id)
            self.owner[task_id] = worker
            eta = datetime.now(timezone.utc) - timedelta(hours=1) if self.chance.random() < 0.1 else None
            name = self.chance.choice(NAMES)
            self.send("task-received", task_id, worker, name=name, eta=eta.isoformat() if eta else None)
            if self.chance.random() < 0.6:
                self.change(task_id)

    def change(self, task_id: str) -> None:
        """Send another event of a task."""
        kind = self.chance.choice(("task-started", *ENDS))
        runtime = {"runtime": self.chance.random()} if kind == "task-succeeded" else {}
        self.send(kind, task_id, self.owner[task_id], **runtime)

    def burst(self) -> None:
        """Send the events of one interval."""
        self.arrive(self.chance.choice((0, 5, 60)))
        for task_id in self.chance.sample(self.ids[-ROOM:], self.chance.choice((1, 40))):
            self.change(task_id)

    def settle(self, flower: Flower) -> None:
        """Wait until Flower has handled everything that was sent."""
        last = str(uuid.uuid4())
        self.events_of_reborn.flush()
        self.send("task-received", last, "celery@one", name="shop.last")
        self.events.flush()
        # A request for this task alone would touch it.
        deadline = time.monotonic() + 60
        while last not in requests.get(f"{flower.url}/api/tasks?workername=celery@one&limit=200", timeout=30).json():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def count_all(flower: Flower) -> tuple[Counter[tuple[str, str]], dict[tuple[str, str], float]]:
    """Count the whole list in the simplest way."""
    answer = requests.get(f"{flower.url}/api/tasks", timeout=60)
    now = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    return durations_by_labels(answer.json().values(), now)


def assert_equals_list(flower: Flower, scrape: Callable[[], ScrapedTasks]) -> ScrapedTasks:
    """Check that a scrape equals a count just before it; return the scrape.

    The count makes old Flowers drop the tasks that they forgot.
    """
    for _ in range(3):
        counts, seconds = count_all(flower)
        scraped = scrape()
        tallies = scraped.tasks.tally()
        if {labels: tally.count for labels, tally in tallies.items()} == counts:
            break
    assert {labels: tally.count for labels, tally in tallies.items()} == counts
    for (name, state), tally in tallies.items():
        allowed = 1e-6 + 3.0 * tally.count
        assert abs(tally.seconds - seconds[name, state]) <= allowed
    return scraped


@contextmanager
def client_of(flower: Flower) -> Iterator[Client]:
    """Return a client of the job for a Flower."""
    client = Client(Endpoint.parse(flower.url, "--flower"), timeout=30)
    yield client
    client.close()
