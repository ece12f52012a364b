"""One run of the truth test.

It has load and faults. It compares the counters with the counts of the workers.
"""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from celery import Celery  # type: ignore[import-untyped]  # celery ships no types

from testbed.command import ROOT, clean_environment
from testbed.process import wait_for
from testbed.services import Flower, Pushgateway, Redis, Testbed

Key = tuple[str, ...]

#: Tasks that are sent at a time.
BATCH = 20

#: Tasks that may wait in the queue.
BACKLOG = 2000


@dataclass
class Plan:
    """What a run does.

    Attributes:
        tasks: number of tasks.
        seed: seed of its random choices.
        rate: tasks per second.
        faults: number of faults that are spread over the run.
        kinds: what may be restarted.
        loud: whether Flower is killed while tasks run.
        max_tasks: number of tasks that Flower remembers.
    """

    tasks: int
    seed: int
    rate: float = 250.0
    faults: int = 8
    kinds: tuple[str, ...] = ("Flower", "Pushgateway", "Redis")
    loud: bool = False
    max_tasks: int = 100_000


@dataclass
class Result:
    """Counts of one run.

    The keys are (task type, state), (task type, "RETRY") or (task type, "FAILURE", exception).

    Attributes:
        truth: by the workers.
        counted: by the job.
        missed: events that the job reports as missed.
        unwatched: seconds that it reports as unwatched.
        kills: number of jobs that were killed.
        faults: what was restarted.
    """

    truth: Counter[Key] = field(default_factory=Counter)
    counted: Counter[Key] = field(default_factory=Counter)
    missed: int = 0
    unwatched: float = 0.0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def complaint(self, plan: Plan) -> str | None:
        """Return what is wrong, None if nothing is."""
        truth, counted = self.truth, self.counted
        if plan.loud:  # a Flower that has restarted does not know the names of the tasks that were running
            truth, counted = _without_names(truth), _without_names(counted)
        if too_many := counted - truth:
            return f"counted too often: {dict(too_many)}"
        lost = sum(count for key, count in (self.truth - self.counted).items() if len(key) == 2 and key[1] != "RETRY")
        if plan.loud:
            is_explained = counted == truth or self.missed > 0 or self.unwatched > 0
        else:
            is_explained = lost == self.missed and (lost > 0 or counted == truth)
        return None if is_explained else f"not counted: {dict(truth - counted)}, reported as missed: {self.missed}"


def _without_names(counts: Counter[Key]) -> Counter[Key]:
    found: Counter[Key] = Counter()
    for (_, *rest), count in counts.items():
        found[tuple(rest)] += count
    return found


class Run:
    """One run on real services.

    Args:
        testbed: starts them.
        plan: what to do.
    """

    def __init__(self, testbed: Testbed, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._folder = testbed.folder / f"truth-{plan.seed}-{time.monotonic_ns()}"
        self._folder.mkdir()
        self._file = self._folder / "truth"
        self._file.touch()
        self._redis: Redis = testbed.redis()
        self._flower: Flower = testbed.flower(self._redis, [f"--max_tasks={plan.max_tasks}"])
        env = {"TRUTH_FILE": str(self._file)}
        self._workers = [
            testbed.worker(self._redis, name, 2, app="tests.truth.app", env=env) for name in ("one", "two")
        ]
        self._pushgateway: Pushgateway = testbed.pushgateway()
        self._app = Celery(broker=self._redis.url)
        self._may_send = threading.Event()
        self._is_over = False
        self._sent = 0
        self.result = Result()

    def run(self) -> Result:
        """Do it."""
        for worker in self._workers:
            self._flower.wait_for_worker(worker.node)
        self._push()
        self._may_send.set()
        sender = threading.Thread(target=self._send)
        sender.start()
        try:
            due = [self._plan.tasks * number // (self._plan.faults + 1) for number in range(1, self._plan.faults + 1)]
            while due or sender.is_alive():
                if due and self._sent >= due[0]:
                    due.pop(0)
                    self._fault(self._plan.kinds[len(due) % len(self._plan.kinds)])
                self._push_until_killed()
        finally:
            self._is_over = True
            self._may_send.set()
            sender.join()
        self._drain()
        self._settle()
        for service in (*self._workers, self._pushgateway, self._flower, self._redis):
            service.kill()
        return self.result

    # Load

    def _send(self) -> None:
        while self._sent < self._plan.tasks and not self._is_over:
            self._may_send.wait()
            for _ in range(min(BATCH, self._plan.tasks - self._sent)):
                self._send_one()
            time.sleep(BATCH / self._plan.rate)
            while self._may_send.is_set() and not self._is_over and self._sent - self._ended() > BACKLOG:
                time.sleep(0.1)

    def _send_one(self) -> None:
        kind, number = self._chance.random(), self._sent
        if kind < 0.7:
            self._app.send_task("truth.quick")
        elif kind < 0.85:
            self._app.send_task("truth.fails", (number,))
        elif kind < 0.97:
            self._app.send_task("truth.flaky", (number % 6,))
        else:
            self._app.send_task("truth.quick", expires=0.001)  # a worker revokes it
        self._sent += 1

    def _ended(self) -> int:
        return sum(count for key, count in self._truth().items() if key[1] != "RETRY" and len(key) == 2)

    def _drain(self) -> None:
        wait_for("all tasks to end", lambda: self._ended() == self._sent, 300, every=0.2)

    def _truth(self) -> Counter[Key]:
        truth: Counter[Key] = Counter()
        for line in self._file.read_text().splitlines():
            fields = tuple(line.split("\t"))
            truth[fields[:2]] += 1
            if len(fields) == 3:
                truth[fields] += 1
        return truth

    # The job

    def _job(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-m", "tests.truth.job", *arguments, "--with", "totals", "--deadline", "20"),
            *("--flower", self._flower.url, "--pushgateway", self._pushgateway.url),
            *("--state-file", str(self._folder / "state")),
        ]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=clean_environment()
            )

    def _push(self) -> None:
        assert self._job("push").wait(60) == 0, (self._folder / "log").read_text()[-2000:]

    def _push_until_killed(self) -> None:
        chance = self._chance
        job = self._job("run", "--every", "1") if chance.random() < 0.3 else self._job("push")
        try:
            job.wait(chance.uniform(0.2, 4.0))
        except subprocess.TimeoutExpired:
            job.kill()
            job.wait()
            self.result.kills += 1

    # Faults

    def _fault(self, kind: str) -> None:
        loud = self._plan.loud and kind == "Flower"
        self.result.faults[f"{kind} under load" if loud else kind] += 1
        restart = {"Flower": self._flower, "Pushgateway": self._pushgateway, "Redis": self._redis}[kind]
        if kind == "Pushgateway" or loud:
            restart.kill()
            restart.start()
            return
        # Neither Flower nor Celery keeps events while it is down. So nothing happens meanwhile, and all is counted.
        self._may_send.clear()
        time.sleep(0.2)
        self._drain()
        self._wait_for_events()
        self._push()
        restart.kill()
        restart.start()
        if kind == "Redis":
            wait_for("Flower to receive events again", self._flower.is_ready, 60)
            time.sleep(3)  # the workers subscribe again a second or two later
        self._may_send.set()

    def _wait_for_events(self) -> None:
        """Wait until Flower has handled every event, which a pause in its counters shows."""
        former = ""

        def is_quiet() -> bool:
            nonlocal former
            text = self._flower.client.get(f"{self._flower.url}/metrics")
            lines = "\n".join(line for line in text.splitlines() if "flower_events_total" in line and "task-" in line)
            is_same, former = lines == former, lines
            return is_same

        wait_for("Flower to handle all events", is_quiet, 60, every=0.7)

    # The result

    def _settle(self) -> None:
        self._wait_for_events()
        self._push()
        self.result.truth = self._truth()
        self.result.counted, self.result.missed, self.result.unwatched = self._pushed()

    def _pushed(self) -> tuple[Counter[Key], int, float]:
        counted: Counter[Key] = Counter()
        missed, unwatched = 0, 0.0
        for (name, labels), value in self._pushgateway.samples().items():
            of = dict(labels)
            if name == "celery_tasks_total" and value:
                task_type = "any" if of["state"] == "REVOKED" else of["name"]  # see app.py
                counted[task_type, of["state"]] += int(value)
            if name == "celery_task_retries_total" and value:
                counted[of["name"], "RETRY"] = int(value)
            if name == "celery_task_failures_total" and value:
                counted[of["name"], "FAILURE", of["exception"]] = int(value)
            missed += int(value) if name == "flower_scrape_missed_events_total" else 0
            unwatched += value if name == "flower_scrape_unwatched_seconds_total" else 0.0
        return counted, missed, unwatched


def plan_of(number: int, seed: int, tasks: int) -> Plan:
    """Return the plan of one of several runs.

    Every third run is loud. Every fifth has a Flower that forgets tasks.
    """
    loud, forgets = number % 3 == 2, number % 5 == 4
    return Plan(tasks, seed * 1000 + number, loud=loud, max_tasks=2000 if forgets else 100_000)


def describe(plan: Plan, result: Result, seconds: float) -> str:
    """Return one line about a run."""
    ends = sum(count for key, count in result.truth.items() if len(key) == 2)
    counted = sum(count for key, count in result.counted.items() if len(key) == 2)
    return (
        f"seed {plan.seed}: {ends:,} ends and retries, {counted:,} counted, {result.missed:,} missed,"
        f" {result.unwatched:.0f} s unwatched; {result.kills} jobs killed, {dict(result.faults)} restarted;"
        f" {'equal' if result.truth == result.counted else 'different'}, {seconds:.0f} s"
    )
