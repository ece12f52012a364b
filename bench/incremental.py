"""Measure incremental scrapes.

The Flowers are full. Between two scrapes, a given number of tasks change, and half of these are new.
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

from bench import commands
from bench.cost import BenchError, Cost, medians, probed, run
from bench.flowers import flower_version
from testbed.command import ROOT, clean_environment
from testbed.events import TaskEvents, send_tasks
from testbed.process import wait_for
from testbed.services import Flower, Pushgateway, Redis, Testbed

CYCLE = "a cycle of push-job run"
STATE_FILE = "push-job push --state-file"
CYCLE_EXTRAS = "a cycle of push-job run, all extras"
STATE_FILE_EXTRAS = "push-job push --state-file, all extras"
FULL = "push-job push, full scrape"
SIMPLE = "simple exporter"
DOWNLOAD = "bare download"

TIMEOUT = 900.0  # seconds


@dataclass(frozen=True)
class IncrementalPlan:
    """Extent: sizes of the Flowers, and changes per cycle, half of them new tasks."""

    versions: tuple[str | None, ...] = (None, "2.0.1")
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    changes: tuple[int, ...] = (0, 200, 2_000, 10_000)
    usual: int = 2_000
    rounds: int = 9


QUICK = IncrementalPlan(sizes=(1_500, 3_000), changes=(0, 200), usual=200, rounds=2)


@dataclass
class IncrementalResults:
    """Medians by command at the largest size, and of a cycle by size and changes."""

    by_command: dict[tuple[str, str], Cost] = field(default_factory=dict)  # Flower, command
    by_size: dict[tuple[str, int], tuple[Cost, int]] = field(default_factory=dict)  # cost, number of tasks read
    by_changes: dict[tuple[str, int], tuple[Cost, int]] = field(default_factory=dict)


class CycleProcess:
    """Context manager for a process that runs cycles on request.

    Attributes:
        read: number of tasks that the last cycle read.
        full: whether its scrape was full.
    """

    def __init__(self, flower: Flower, pushgateway: Pushgateway, job: str, extras: Sequence[str] = ()) -> None:
        """Start the process."""
        self.read = 0
        self.full = True
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.cycle_process", flower.url, pushgateway.url, job, *extras],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=clean_environment(),
        )

    def __enter__(self) -> "CycleProcess":
        """Return the running process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._process.communicate()

    def cycle(self) -> Cost:
        """Run one cycle. Raises BenchError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("a cycle failed")
        cost = json.loads(line)
        self.read = cost.pop("read")
        self.full = cost.pop("full")
        return Cost(**cost)


class ChangingFlowers:
    """Full Flowers of several versions that receive the same events."""

    def __init__(self, bed: Testbed, versions: tuple[str | None, ...], room: int) -> None:
        """Start and fill the Flowers."""
        self.redis: Redis = bed.redis()
        started = [bed.flower(self.redis, version=version, options=[f"--max_tasks={room}"]) for version in versions]
        self.flowers = {flower_version(flower): flower for flower in started}
        self._open: list[str] = []
        self._random = random.Random(room)
        # One sender for all events: old Flowers sort by its logical clock, which a new sender would restart.
        self._events = TaskEvents(self.redis.url, buffer=100)
        self._events.__enter__()
        send_tasks(self._events, room, seed=room)
        self.change(2 * room // 50)

    def change(self, count: int) -> None:
        """Start new tasks, finish those of the previous call, and wait for all Flowers."""
        last = str(uuid.uuid4())
        events, started_ids = self._events, [str(uuid.uuid4()) for _ in range(count // 2)]
        for task_id in started_ids:
            name = f"shop.step_{self._random.randrange(40)}"
            events.send("task-received", uuid=task_id, name=name, args="x" * 500)
            events.send("task-started", uuid=task_id)
        for task_id in self._open:
            events.send("task-succeeded", uuid=task_id, result="y" * 100, runtime=self._random.expovariate(2))
        self._open = started_ids
        events.send("task-received", uuid=last, name="shop.last")
        events.flush()
        for flower in self.flowers.values():
            wait_for(f"{flower.name} to receive the last event", lambda: _is_in_first_page(flower, last), TIMEOUT)  # noqa: B023 - called immediately

    def stop(self) -> None:
        """Stop the Flowers."""
        self._events.__exit__(None, None, None)
        for flower in self.flowers.values():
            flower.stop()
        self.redis.stop()


def _is_in_first_page(flower: Flower, task_id: str) -> bool:
    try:
        return task_id in flower.client.get_json(f"{flower.url}/api/tasks?limit=5")
    except OSError:  # a busy Flower sometimes closes a connection
        return False


def measure_incremental(plan: IncrementalPlan, log: Callable[[str], None]) -> IncrementalResults:
    """Start the services, measure and stop them."""
    results = IncrementalResults()
    with Testbed() as bed:
        pushgateway = bed.pushgateway()
        for size in plan.sizes:
            log(f"incremental: filling Flowers with {size:,} tasks")
            changing = ChangingFlowers(bed, plan.versions, size)
            for version, flower in changing.flowers.items():
                with CycleProcess(flower, pushgateway, f"cycles-{version}-{size}") as process:
                    results.by_size[version, size] = _cycles(plan.rounds, changing, plan.usual, flower, process)
                    if size == plan.sizes[-1]:
                        for changes in plan.changes:
                            results.by_changes[version, changes] = _cycles(
                                plan.rounds, changing, changes, flower, process
                            )
            if size == plan.sizes[-1]:
                _measure_commands(results, plan, changing, pushgateway, log)
            changing.stop()
    return results


def _cycles(
    rounds: int, changing: ChangingFlowers, changes: int, flower: Flower, process: CycleProcess
) -> tuple[Cost, int]:
    costs, read = [], []
    for number in range(rounds + 1):
        changing.change(changes)
        cost = probed(process.cycle, flower)
        if number:  # the first one may be a full scrape
            costs.append(cost)
            read.append(process.read)
    return medians(costs), sorted(read)[len(read) // 2]


def _with_file(flower: Flower, pushgateway: Pushgateway, path: Path) -> list[str]:
    options = ("--state-file", str(path), "--full-every", "86400")
    return commands.push_job([flower.url], pushgateway.url, *options, job=path.name)


def _measure_commands(
    results: IncrementalResults,
    plan: IncrementalPlan,
    changing: ChangingFlowers,
    pushgateway: Pushgateway,
    log: Callable[[str], None],
) -> None:
    """Run all commands in random order, with the usual changes before each round."""
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[tuple[str, str], tuple[Flower, Callable[[], Cost]]] = {}
        running: dict[tuple[str, str], CycleProcess] = {}
        for version, flower in changing.flowers.items():
            extras = ("--with", ",".join(commands.ALL_EXTRAS))
            by_name = {
                STATE_FILE: _with_file(flower, pushgateway, Path(folder, version)),
                STATE_FILE_EXTRAS: [*_with_file(flower, pushgateway, Path(folder, f"extras-{version}")), *extras],
                FULL: commands.push_job([flower.url], pushgateway.url, job=f"full-{version}"),
                SIMPLE: commands.simple_exporter(flower.url, pushgateway.url, job=f"simple-{version}"),
                DOWNLOAD: commands.download(flower.url),
            }
            for name, command in by_name.items():
                runs[version, name] = flower, lambda command=command: run(command)  # type: ignore[misc]  # binds the loop variable
            running[version, CYCLE] = CycleProcess(flower, pushgateway, f"run-{version}")
            running[version, CYCLE_EXTRAS] = CycleProcess(
                flower, pushgateway, f"run-extras-{version}", commands.ALL_EXTRAS
            )
            runs |= {(version, name): (flower, running[version, name].cycle) for name in (CYCLE, CYCLE_EXTRAS)}
        costs: dict[tuple[str, str], list[Cost]] = {key: [] for key in runs}
        order = random.Random(plan.rounds)
        for number in range(plan.rounds + 1):
            log(f"incremental: round {number} of {plan.rounds}")
            changing.change(plan.usual)
            for key in order.sample(list(runs), len(runs)):
                flower, work = runs[key]
                cost = probed(work, flower)
                if number:  # the first round has no state yet
                    costs[key].append(cost)
        for process in running.values():
            process.__exit__(None, None, None)
        results.by_command = {key: medians(values) for key, values in costs.items()}
