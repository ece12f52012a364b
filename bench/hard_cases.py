"""Measure `push-job run` in cases in which incremental scrapes are difficult.

Every Flower receives events all the time, during the scrapes too.
"""

import random
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import psutil

from bench.cost import Cost, medians, processor_time
from bench.flowers import flower_version
from bench.incremental import CycleProcess
from testbed.events import TaskEvents, send_tasks
from testbed.services import Flower, Testbed

#: Seconds that a task of the load takes.
_DURATION = 2.0


@dataclass(frozen=True)
class HardCase:
    """One case.

    Attributes:
        name: its name in the report.
        retried: share of the tasks that are retried once.
        room: number of tasks that the Flowers remember, as a multiple of those that they have at the start.
        persistent: whether they save their tasks when they stop.
        restart: whether they are restarted before the measured cycles.
    """

    name: str
    retried: float = 0.0
    room: float = 2.0
    persistent: bool = False
    restart: bool = False


CASES = (
    HardCase("steady load"),
    HardCase("full Flower", room=1.0),
    HardCase("one task in five is retried", retried=0.2),
    HardCase("restarted under load", retried=0.2, restart=True),
    HardCase("persistent, restarted under load", retried=0.2, persistent=True, restart=True),
    HardCase("persistent and full, restarted under load", retried=0.2, room=1.0, persistent=True, restart=True),
)


@dataclass(frozen=True)
class HardCasesPlan:
    """Extent of the measurements.

    Attributes:
        versions: versions of Flower; None is the installed one.
        cases: the cases.
        tasks: number of tasks of each Flower at the start.
        rate: tasks per second.
        cycles: number of cycles.
        interval: seconds between two cycles.
    """

    versions: tuple[str | None, ...] = (None, "2.0.1")
    cases: tuple[HardCase, ...] = CASES
    tasks: int = 20_000
    rate: int = 50
    cycles: int = 9
    interval: float = 3.0


QUICK = HardCasesPlan(versions=(None,), tasks=1_500, rate=20, cycles=2, interval=0.5)

#: Results by version of Flower and name of the case.
HardCasesResults = dict[tuple[str, str], "HardCaseResult"]


@dataclass(frozen=True)
class HardCaseResult:
    """The result of one case with one Flower.

    Attributes:
        first: cost of the first cycle, whose scrape is full.
        cost: medians of the cycles after it.
        cycles: their number.
        full: how many of them were full, too.
    """

    first: Cost
    cost: Cost
    cycles: int
    full: int


class Load:
    """Context manager for a thread that sends the events of tasks at a steady rate."""

    def __init__(self, events: TaskEvents, rate: int, retried: float) -> None:
        """Prepare to send the events of `rate` tasks per second.

        The share `retried` of the tasks is retried once.
        """
        self._events = events
        self._rate = rate
        self._retried = retried
        self._chance = random.Random(rate)
        self._ended = threading.Event()
        self._running: deque[tuple[float, str, str, int]] = deque()
        self._extra = 0
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> "Load":
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def send_more(self, count: int) -> None:
        """Send this number of further tasks as fast as possible."""
        self._extra = count

    def _send(self) -> None:
        while not self._ended.wait(0.1):
            if self._extra:
                send_tasks(self._events, self._extra, seed=self._extra)
                self._extra = 0
            for _ in range(self._rate // 10):
                self._start(str(uuid.uuid4()), f"shop.step_{self._chance.randrange(40)}", 0)
            while self._running and self._running[0][0] < time.monotonic():
                self._finish(*self._running.popleft()[1:])
            self._events.flush()

    def _start(self, task: str, name: str, retries: int) -> None:
        self._events.send("task-sent", hostname="gen1@web", uuid=task, name=name, retries=retries, queue="celery")
        self._events.send("task-received", uuid=task, name=name, retries=retries, args="x" * 500)
        self._events.send("task-started", uuid=task)
        self._running.append((time.monotonic() + _DURATION, task, name, retries))

    def _finish(self, task: str, name: str, retries: int) -> None:
        if not retries and self._chance.random() < self._retried:
            self._events.send("task-retried", uuid=task, exception="Busy()")
            self._start(task, name, retries + 1)
        else:
            self._events.send("task-succeeded", uuid=task, result="None", runtime=_DURATION)


def measure_hard_cases(plan: HardCasesPlan, log: Callable[[str], None]) -> HardCasesResults:
    """Start the services of each case, measure and stop them."""
    results: HardCasesResults = {}
    for case in plan.cases:
        log(f"hard cases: {case.name}")
        results |= {(version, case.name): result for version, result in _measure(plan, case)}
    return results


def _measure(plan: HardCasesPlan, case: HardCase) -> Iterator[tuple[str, HardCaseResult]]:
    with Testbed() as bed, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        redis, pushgateway = bed.redis(), bed.pushgateway()
        flowers = {}
        for version in plan.versions:
            options = [f"--max_tasks={round(plan.tasks * case.room)}"]
            if case.persistent:
                options += ["--persistent=True", f"--db={Path(folder, str(version))}"]
            flower = bed.flower(redis, version=version, options=options)
            flowers[flower_version(flower)] = flower
        # One sender for all events: old Flowers sort by its logical clock, which a new sender would restart.
        events = stack.enter_context(TaskEvents(redis.url, buffer=20))
        send_tasks(events, plan.tasks)
        events.flush()
        for flower in flowers.values():
            flower.wait_for_tasks(plan.tasks, 600.0)
        load = stack.enter_context(Load(events, plan.rate, case.retried))
        running = {
            version: stack.enter_context(CycleProcess(flower, pushgateway, f"hard-{version}"))
            for version, flower in flowers.items()
        }
        first = _cycles(flowers, running, plan.interval, 1)
        if case.restart:
            for flower in flowers.values():
                flower.stop()
            for flower in flowers.values():
                flower.start()
            if not case.persistent:
                load.send_more(plan.tasks)
            for flower in flowers.values():
                flower.wait_for_tasks(plan.tasks, 600.0)
            first = _cycles(flowers, running, plan.interval, 1)
        cycles = _cycles(flowers, running, plan.interval, plan.cycles)
        for version, found in cycles.items():
            costs, full = zip(*found, strict=True)
            yield version, HardCaseResult(first[version][0][0], medians(costs), len(costs), sum(full))


def _cycles(
    flowers: dict[str, Flower], running: dict[str, CycleProcess], interval: float, count: int
) -> dict[str, list[tuple[Cost, bool]]]:
    found: dict[str, list[tuple[Cost, bool]]] = {version: [] for version in flowers}
    for _ in range(count):
        time.sleep(interval)
        for version, flower in flowers.items():
            before = processor_time(psutil.Process(flower.pid))
            cost = running[version].cycle()
            spent = processor_time(psutil.Process(flower.pid)) - before
            found[version].append((replace(cost, flower_cpu=spent), running[version].full))
    return found
