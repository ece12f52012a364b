"""What a turn costs that reads only what has changed.

Between any two readings of a Flower that is full, so many of its tasks have changed and so many new ones have come.
"""

import json
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from bench import ways
from bench.cost import BenchError, Cost, medians, probed, run
from bench.scene import flower_version
from testbed.command import ROOT, clean_environment
from testbed.events import TaskEvents, send_tasks
from testbed.process import wait_for
from testbed.services import Flower, Pushgateway, Redis, Testbed

RUN = "a turn of push-job run"
FILE = "push-job push --state-file"
RUN_EXTRAS = "a turn of push-job run, all extras"
FILE_EXTRAS = "push-job push --state-file, all extras"
COLD = "push-job push, cold"
SIMPLE = "simple exporter"
DOWNLOAD = "bare download"

PATIENCE = 900.0  # seconds


@dataclass(frozen=True)
class WarmPlan:
    """How much to measure: Flowers with room for `sizes`, changes (half of them new tasks) a turn."""

    versions: tuple[str | None, ...] = (None, "2.0.1")
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    changes: tuple[int, ...] = (0, 200, 2_000, 10_000)
    usual: int = 2_000
    rounds: int = 9


QUICK = WarmPlan(sizes=(1_500, 3_000), changes=(0, 200), usual=200, rounds=2)


@dataclass
class WarmResults:
    """Medians: of each way at the largest size and the usual changes; of RUN by size, and by changes."""

    ways: dict[tuple[str, str], Cost] = field(default_factory=dict)  # Flower, way
    by_size: dict[tuple[str, int], tuple[Cost, int]] = field(default_factory=dict)  # the cost, and tasks read
    by_changes: dict[tuple[str, int], tuple[Cost, int]] = field(default_factory=dict)


class Turns:
    """A process that makes turns on demand; a context manager."""

    def __init__(self, flower: Flower, pushgateway: Pushgateway, job: str, extras: Sequence[str] = ()) -> None:
        """Start it."""
        self.read = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.turns", flower.url, pushgateway.url, job, *extras],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=clean_environment(),
        )

    def __enter__(self) -> "Turns":
        """It runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.communicate()

    def turn(self) -> Cost:
        """Make one turn. Raises BenchError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("a turn failed")
        told = json.loads(line)
        self.read = told.pop("read")
        return Cost(**told)


class BusyFlowers:
    """Full Flowers of several versions that hear the same events."""

    def __init__(self, bed: Testbed, versions: tuple[str | None, ...], room: int) -> None:
        """Start them and fill them."""
        self.redis: Redis = bed.redis()
        started = [bed.flower(self.redis, version=version, options=[f"--max_tasks={room}"]) for version in versions]
        self.flowers = {flower_version(flower): flower for flower in started}
        self._open: list[str] = []
        self._random = random.Random(room)
        # One sender for all: another one's logical clock would begin at zero, and old Flowers sort by that.
        self._events = TaskEvents(self.redis.url, buffer=100)
        self._events.__enter__()
        send_tasks(self._events, room, seed=room)
        self.change(2 * room // 50)

    def change(self, count: int) -> None:
        """Let half as many new tasks begin, and as many that have begun end; returns once all have heard of it."""
        last = str(uuid.uuid4())
        events, begun = self._events, [str(uuid.uuid4()) for _ in range(count // 2)]
        for task_id in begun:
            name = f"shop.step_{self._random.randrange(40)}"
            events.send("task-received", uuid=task_id, name=name, args="x" * 500)
            events.send("task-started", uuid=task_id)
        for task_id in self._open:
            events.send("task-succeeded", uuid=task_id, result="y" * 100, runtime=self._random.expovariate(2))
        self._open = begun
        events.send("task-received", uuid=last, name="shop.last")
        events.flush()
        for flower in self.flowers.values():
            wait_for(f"{flower.name} to know the last task", lambda: _is_at_the_front(flower, last), PATIENCE)  # noqa: B023 - called at once

    def stop(self) -> None:
        """Stop them."""
        self._events.__exit__(None, None, None)
        for flower in self.flowers.values():
            flower.stop()
        self.redis.stop()


def _is_at_the_front(flower: Flower, task_id: str) -> bool:
    try:
        return task_id in flower.client.get_json(f"{flower.url}/api/tasks?limit=5")
    except OSError:  # a Flower that takes in so many events closes a connection now and then
        return False


def measure_warm(plan: WarmPlan, say: Callable[[str], None]) -> WarmResults:
    """Start the services, measure, stop them."""
    results = WarmResults()
    with Testbed() as bed:
        pushgateway = bed.pushgateway()
        for size in plan.sizes:
            say(f"warm turns: filling Flowers with {size:,} tasks")
            busy = BusyFlowers(bed, plan.versions, size)
            for version, flower in busy.flowers.items():
                with Turns(flower, pushgateway, f"turns-{version}-{size}") as turns:
                    results.by_size[version, size] = _turns(plan.rounds, busy, plan.usual, flower, turns)
                    if size == plan.sizes[-1]:
                        for changes in plan.changes:
                            results.by_changes[version, changes] = _turns(plan.rounds, busy, changes, flower, turns)
            if size == plan.sizes[-1]:
                _measure_ways(results, plan, busy, pushgateway, say)
            busy.stop()
    return results


def _turns(rounds: int, busy: BusyFlowers, changes: int, flower: Flower, turns: Turns) -> tuple[Cost, int]:
    costs, read = [], []
    for number in range(rounds + 1):
        busy.change(changes)
        cost = probed(turns.turn, flower)
        if number:  # the first one may be whole
            costs.append(cost)
            read.append(turns.read)
    return medians(costs), sorted(read)[len(read) // 2]


def _with_file(flower: Flower, pushgateway: Pushgateway, path: Path) -> list[str]:
    options = ("--state-file", str(path), "--full-every", "86400")
    return ways.push_job([flower.url], pushgateway.url, *options, job=path.name)


def _measure_ways(
    results: WarmResults, plan: WarmPlan, busy: BusyFlowers, pushgateway: Pushgateway, say: Callable[[str], None]
) -> None:
    """Each way in turns, in an order that is drawn anew for each round, with the usual changes before each round."""
    with tempfile.TemporaryDirectory() as folder:
        takes: dict[tuple[str, str], tuple[Flower, Callable[[], Cost]]] = {}
        running: dict[tuple[str, str], Turns] = {}
        for version, flower in busy.flowers.items():
            extras = ("--with", ",".join(ways.ALL_EXTRAS))
            commands = {
                FILE: _with_file(flower, pushgateway, Path(folder, version)),
                FILE_EXTRAS: [*_with_file(flower, pushgateway, Path(folder, f"extras-{version}")), *extras],
                COLD: ways.push_job([flower.url], pushgateway.url, job=f"cold-{version}"),
                SIMPLE: ways.simple_exporter(flower.url, pushgateway.url, job=f"simple-{version}"),
                DOWNLOAD: ways.download(flower.url),
            }
            for way, command in commands.items():
                takes[version, way] = flower, lambda command=command: run(command)  # type: ignore[misc]  # a default that binds
            running[version, RUN] = Turns(flower, pushgateway, f"run-{version}")
            running[version, RUN_EXTRAS] = Turns(flower, pushgateway, f"run-extras-{version}", ways.ALL_EXTRAS)
            takes |= {(version, way): (flower, running[version, way].turn) for way in (RUN, RUN_EXTRAS)}
        costs: dict[tuple[str, str], list[Cost]] = {key: [] for key in takes}
        order = random.Random(plan.rounds)
        for number in range(plan.rounds + 1):
            say(f"warm turns: round {number} of {plan.rounds}")
            busy.change(plan.usual)
            for key in order.sample(list(takes), len(takes)):
                flower, take = takes[key]
                cost = probed(take, flower)
                if number:  # in the first round nothing is remembered yet
                    costs[key].append(cost)
        for turns in running.values():
            turns.__exit__(None, None, None)
        results.ways = {key: medians(of_key) for key, of_key in costs.items()}
