"""The expected push of the chaos test's Flower, computed without push-job's code.

Flower has tasks that do not change, some of them unfinished, whose ages grow with the clock. MOVING_TASKS further tasks
alternate between STARTED and RETRY. Each such event moves its task to the front of Flower's list while it is read in
pages. The number of moving tasks is constant.
"""

import json
import random
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from testbed.events import TaskEvents, fill
from testbed.services import Flower, Redis
from tests.background import meanwhile
from tests.chaos.extras import ExtrasTruth
from tests.chaos.values import FAMILIES_OF_RUN, OWN_FAMILIES, Values, labelled, of_family

STILL_TASKS = 700  # with the moving ones, more than a job reads fully in each cycle
MOVING_TASKS = 400
MOVING = "chaos.moving"
LIVE_WORKER = "celery@live"
DEAD_WORKER = "celery@events"  # the sender of the events of `fill`; its heartbeats have stopped

#: Seconds by which two clocks that are read one after the other may differ. Flower's has a resolution of one second.
CLOCK_SLACK = 1.5

STATES = ("FAILURE", "PENDING", "RECEIVED", "RETRY", "REVOKED", "STARTED", "SUCCESS")
IN_FLIGHT = {"PENDING": "sent", "RECEIVED": "received", "RETRY": "retried", "STARTED": "started"}


@dataclass(frozen=True)
class Truth:
    """The content of Flower.

    Attributes:
        counts: number of tasks that do not change, by (task type, state).
        runtimes: seconds summed over the finished ones, by the same.
        since: Unix times at which the unfinished ones entered their state, by the same.
        moving_since: when the first moving task was sent.
        extras: the expected histograms.
    """

    counts: Counter[tuple[str, str]]
    runtimes: Mapping[tuple[str, str], float]
    since: Mapping[tuple[str, str], list[float]]
    moving_since: float
    extras: ExtrasTruth

    def lies(self, values: Values, earliest: float, latest: float) -> list[str]:
        """Return what is false in a pushed group that was scraped between two Unix times."""
        found = list(self._false_counts(values))
        found += self._false_durations(values, earliest - CLOCK_SLACK, latest + CLOCK_SLACK)
        for name, wanted in (
            ("celery_workers", {frozenset({("app", LIVE_WORKER)}): 1.0, frozenset({("app", DEAD_WORKER)}): 0.0}),
            ("flower_scrape_tasks", {frozenset(): float(STILL_TASKS + MOVING_TASKS)}),
            ("flower_up", {frozenset(): 1.0}),
        ):
            if (found_samples := of_family(values, name)) != wanted:
                found.append(f"{name}: {found_samples} and not {wanted}")
        families = {"celery_workers", "flower_scrape_tasks", "flower_scrape_window_seconds", *OWN_FAMILIES}
        families |= {"celery_task_types_by_state", "celery_task_duration_seconds_by_state"}
        if others := ({name for name, _ in values} - FAMILIES_OF_RUN) ^ families:
            found.append(f"families missing or left over: {others}")
        return found

    def _false_counts(self, values: Values) -> Iterator[str]:
        found_samples = {
            (labels["task_type"], labels["state"]): value
            for labels, value in labelled(values, "celery_task_types_by_state")
        }
        moving = {state: found_samples.pop((MOVING, state), None) for state in STATES}
        if sum(count or 0.0 for count in moving.values()) != MOVING_TASKS:
            yield f"{MOVING}: {moving} does not sum up to {MOVING_TASKS}"
        wanted = {(name, state): 0.0 for name, _ in self.counts for state in STATES}
        wanted.update((kind, float(count)) for kind, count in self.counts.items())
        for kind in sorted(wanted.keys() | found_samples.keys()):
            if wanted.get(kind) != found_samples.get(kind):
                yield f"count of {kind}: {found_samples.get(kind)} and not {wanted.get(kind)}"

    def _false_durations(self, values: Values, earliest: float, latest: float) -> Iterator[str]:
        found_samples = {
            (labels["name"], labels["state"]): value
            for labels, value in labelled(values, "celery_task_duration_seconds_by_state")
        }
        for state in IN_FLIGHT:
            moving = found_samples.pop((MOVING, state), 0.0)
            if not 0 <= moving <= MOVING_TASKS * (latest - self.moving_since):
                yield f"duration of {MOVING} in {state}: {moving}"
        for kind in sorted(self.counts.keys() | found_samples.keys()):
            low = high = self.runtimes.get(kind, 0.0)
            if kind in self.since:
                low = sum(max(0.0, earliest - moment) for moment in self.since[kind])
                high = sum(max(0.0, latest - moment) for moment in self.since[kind])
            if kind not in found_samples or not low - 1e-6 <= found_samples[kind] <= high + 1e-6:
                yield f"duration of {kind}: {found_samples.get(kind)} and not from {low} to {high}"


def down_lies(values: Values) -> list[str]:
    """Return what is false in a group that should only say that Flower is down."""
    found = []
    if (found_samples := of_family(values, "flower_up")) != {frozenset(): 0.0}:
        found.append(f"flower_up: {found_samples} and not 0")
    if others := ({name for name, _ in values} - FAMILIES_OF_RUN) ^ OWN_FAMILIES:
        found.append(f"families missing or left over: {others}")
    return found


def fill_flower(redis: Redis, flower: Flower) -> Truth:
    """Give Flower its tasks and workers, then read from it what it has."""
    fill(redis.url, STILL_TASKS, task_types=12)
    with TaskEvents(redis.url) as events:
        events.worker(LIVE_WORKER, event="online", freq=10**6)
        events.worker(LIVE_WORKER, freq=10**6)
        moving_since = time.time()
        for number in range(MOVING_TASKS):
            events.send("task-received", hostname=LIVE_WORKER, uuid=f"moving-{number}", name=MOVING)
            events.send("task-started", hostname=LIVE_WORKER, uuid=f"moving-{number}")
    flower.wait_for_tasks(STILL_TASKS + MOVING_TASKS)
    flower.wait_for_task(f"moving-{MOVING_TASKS - 1}", "STARTED")
    flower.wait_for_worker(LIVE_WORKER)
    flower.wait_for_worker(DEAD_WORKER, alive=False)
    with urllib.request.urlopen(f"{flower.url}/api/tasks") as answer:
        tasks = json.load(answer)
    counts: Counter[tuple[str, str]] = Counter()
    runtimes: dict[tuple[str, str], float] = defaultdict(float)
    since: dict[tuple[str, str], list[float]] = defaultdict(list)
    for task in tasks.values():
        kind = task["name"], task["state"]
        if task["name"] == MOVING:
            continue
        counts[kind] += 1
        if task["state"] in IN_FLIGHT:
            since[kind].append(task[IN_FLIGHT[task["state"]]])
        else:
            runtimes[kind] += task["runtime"] or 0.0
    still = [task for task in tasks.values() if task["name"] != MOVING]
    return Truth(counts, runtimes, since, moving_since, ExtrasTruth.of(still))


def moving_tasks(redis: Redis, seed: str) -> AbstractContextManager[None]:
    """Keep the moving tasks moving, in random bursts.

    A burst takes about half a second. The pauses have the same length.
    """
    chance = random.Random(seed)

    def move(ended: threading.Event) -> None:
        with TaskEvents(redis.url) as events:
            while not ended.wait(chance.uniform(0.1, 1.0)):
                for _ in range(chance.randrange(100)):
                    task = f"moving-{chance.randrange(MOVING_TASKS)}"
                    events.send(chance.choice(["task-retried", "task-started"]), hostname=LIVE_WORKER, uuid=task)
                    ended.wait(0.005)

    return meanwhile(move)
