"""Flowers with synthetic tasks, and a check of the pushed counts."""

import subprocess
import uuid
from collections import Counter
from collections.abc import Sequence

from bench.cost import BenchError
from testbed.events import TaskEvents, fill
from testbed.process import wait_for
from testbed.services import Flower, Pushgateway, Testbed

#: Seconds for a Flower to process events; 100,000 tasks take about half a minute.
TIMEOUT = 600.0


class FilledFlowers:
    """Flowers of several versions with the same tasks.

    Attributes:
        flowers: Flowers by version.
        tasks: number of tasks of each Flower.
    """

    def __init__(self, bed: Testbed, versions: Sequence[str | None]) -> None:
        """Start one Flower per version; None is the installed one."""
        self._redis = bed.redis()
        started = [bed.flower(self._redis, version=version) for version in versions]
        self.flowers = {flower_version(flower): flower for flower in started}
        self.tasks = 0
        self._tally: Counter[tuple[str, str]] = Counter()

    def fill_up(self, count: int) -> None:
        """Send events until there are `count` tasks, and wait for all Flowers."""
        # A different seed for each call, because the same one would send the same tasks.
        self._tally += fill(self._redis.url, count - self.tasks, seed=count)
        self.tasks = count
        for flower in self.flowers.values():
            wait_until_settled(flower, self._tally)


def small_flower(bed: Testbed, count: int) -> Flower:
    """Start a Flower with few tasks on all loopback addresses, to represent many."""
    redis = bed.redis()
    flower = bed.flower(redis, address="0.0.0.0")
    wait_until_settled(flower, fill(redis.url, count))
    return flower


def flower_of_many_types(bed: Testbed, count: int) -> Flower:
    """Start a Flower with `count` tasks, each with its own type."""
    redis = bed.redis()
    flower = bed.flower(redis)
    with TaskEvents(redis.url, buffer=100) as events:
        for number in range(count):
            task = str(uuid.UUID(int=number))
            events.send("task-received", uuid=task, name=f"shop.customer_{number}.greet")
            events.send("task-succeeded", uuid=task, result="None", runtime=0.5)
    flower.wait_for_tasks(count, TIMEOUT)
    return flower


def wait_until_settled(flower: Flower, tally: Counter[tuple[str, str]]) -> None:
    """Wait until the Flower has processed the last event of each task."""
    flower.wait_for_tasks(sum(tally.values()), TIMEOUT)
    for state in ("RECEIVED", "STARTED"):
        expected = sum(count for (_, its_state), count in tally.items() if its_state == state)
        _wait_for_state(flower, state, expected)


def _wait_for_state(flower: Flower, state: str, count: int) -> None:
    def known() -> int:
        return len(flower.client.get_json(f"{flower.url}/api/tasks?state={state}"))

    wait_for(f"{flower.name} to know {count} tasks as {state}", lambda: known() == count, TIMEOUT)


def flower_version(flower: Flower) -> str:
    """Return the version of a Flower's package."""
    program = "from importlib.metadata import version; print(version('flower'))"
    return subprocess.check_output([str(flower.python), "-c", program], text=True).strip()


def require_same_counts(pushgateway: Pushgateway, jobs: Sequence[str]) -> int:
    """Check that these jobs pushed the same counts, and return the number of tasks.

    Raises:
        BenchError: The counts differ, so the costs cannot be compared.
    """
    counts = [task_counts(pushgateway, job) for job in jobs]
    if any(count != counts[0] for count in counts):
        raise BenchError(f"the jobs {', '.join(jobs)} pushed different counts")
    return int(sum(counts[0].values()))


def task_counts(pushgateway: Pushgateway, job: str) -> dict[tuple[str, str], float]:
    """Return the counts that a job pushed by (task type, state), without zeros."""
    counts: dict[tuple[str, str], float] = {}
    for (name, labels), value in pushgateway.samples(job=job).items():
        if name == "celery_task_types_by_state" and value:
            by_label = dict(labels)
            counts[by_label["task_type"], by_label["state"]] = value
    return counts
