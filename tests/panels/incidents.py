"""Twelve states of a shop's Celery as 90 minutes of pushed samples.

There is one push a minute.

They are written into the storage of a Prometheus, because real services would take 90 minutes each. The label `job` of
the samples is the name of the state.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testbed.process import find_program
from testbed.services import Prometheus
from tests.panels.scene import STATES

MINUTES = 90
SCRAPES = 4
"""Scrapes of each push."""

INCIDENT = 74
"""Minute from which on something is wrong: 16 minutes before the end."""

RATES = {
    "shop.orders.place": 20,
    "shop.orders.ship": 20,
    "shop.search.index": 40,
    "shop.mail.send": 30,
    "shop.media.encode": 5,
}
"""Finished tasks per minute of each type."""

TICK = "shop.beat.tick"
"""A type that beat sends every minute."""

EXTRAS = ("queues", "activity", "pools", "ages", "failures", "last-run")

Labels = Mapping[str, str]


@dataclass
class Shop:
    """One Flower and what it sees; the attributes change from minute to minute.

    Attributes:
        instance: address of the Flower.
        rates: finished tasks per minute, by type.
        broken: types of which every task fails.
        finished: number of tasks by type and state.
        waiting: number and seconds of the RECEIVED tasks, by type.
        workers: 1 for a live worker, by name.
        active: running tasks of each worker, which has four processes.
        queues: length and number of consumers of each queue.
        oldest: seconds of the oldest STARTED task, by type.
        beat: whether beat sends its task.
        is_up: whether the Flower can be scraped.
        pushes: whether the job still runs; if not, the Pushgateway repeats the last push.
    """

    instance: str = "flower-1:5555"
    rates: dict[str, int] = field(default_factory=lambda: dict(RATES))
    broken: set[str] = field(default_factory=set)
    finished: dict[tuple[str, str], int] = field(default_factory=dict)
    waiting: dict[str, tuple[int, int]] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=lambda: {f"celery@shop-{number}": 1 for number in range(1, 5)})
    active: int = 1
    queues: dict[str, tuple[int, int]] = field(default_factory=lambda: {"celery": (0, 3), "media": (0, 1)})
    oldest: dict[str, int] = field(default_factory=dict)
    beat: bool = True
    last_tick: float = 0.0
    is_up: bool = True
    pushes: bool = True

    def work(self, minute: int, at: float) -> None:
        """Let the tasks of one minute finish; one of a hundred orders fails."""
        for name, rate in {**self.rates, TICK: int(self.beat)}.items():
            failed = rate if name in self.broken else int(name == "shop.orders.place" and minute % 5 == 0 and rate > 0)
            for state, count in (("FAILURE", failed), ("SUCCESS", rate - failed)):
                self.finished[name, state] = self.finished.get((name, state), 0) + count
        if self.beat:
            self.last_tick = at - 5

    def samples(self, at: float) -> Iterator[tuple[str, Labels, float]]:
        """Yield what the job pushes: family, labels and value."""
        yield "push_job_build_info", {"version": "1"}, 1
        yield "flower_scrape_duration_seconds", {}, 0.5
        yield "push_time_seconds", {}, at
        if self.is_up:
            yield from self._tasks()
            yield from self._extras()
        yield "flower_up", {}, int(self.is_up)

    def _tasks(self) -> Iterator[tuple[str, Labels, float]]:
        yield "flower_scrape_tasks", {}, sum(self.finished.values())
        for worker, live in self.workers.items():
            yield "celery_workers", {"app": worker}, live
        for name in (*RATES, TICK):
            for state in STATES:
                count, seconds = self.waiting.get(name, (0, 0)) if state == "RECEIVED" else (0, 0)
                count += self.finished.get((name, state), 0) + int(state == "STARTED" and name in self.oldest)
                seconds = seconds * count if state == "RECEIVED" else count * 2
                yield "celery_task_types_by_state", {"task_type": name, "state": state}, count
                if count:
                    yield "celery_task_duration_seconds_by_state", {"name": name, "state": state}, seconds

    def _extras(self) -> Iterator[tuple[str, Labels, float]]:
        for extra in EXTRAS:
            yield "flower_scrape_extra_success", {"extra": extra}, 1
        for queue, (length, consumers) in self.queues.items():
            yield "celery_queue_length", {"queue": queue}, length
            yield "celery_queue_consumers", {"queue": queue}, consumers
        processed = sum(self.finished.values())
        for worker in self.workers:
            yield "celery_worker_active_tasks", {"worker": worker}, self.active
            yield "celery_worker_pool_processes", {"worker": worker}, 4
            yield "celery_worker_processed_tasks", {"worker": worker}, processed // 4
        for name, seconds in self.oldest.items():
            yield "celery_task_oldest_seconds", {"name": name, "state": "STARTED"}, seconds
        yield "celery_task_failures", {"name": "shop.orders.place", "exception": "ValueError"}, 1
        for name in sorted(self.broken):
            yield "celery_task_failures", {"name": name, "exception": "shop.errors.SchemaChanged"}, 10
        if self.last_tick:
            yield "celery_task_last_success_timestamp_seconds", {"name": TICK}, self.last_tick
            yield "celery_task_interval_seconds", {"name": TICK}, 60


Change = Callable[[Shop, int], None]
"""Changes a shop in the given number of minutes after the begin of the incident."""


@dataclass(frozen=True)
class State:
    """One of the twelve states.

    Attributes:
        title: its name in docs/panels.md.
        text: what is wrong, in one sentence.
        change: what happens from the incident on.
        flowers: number of Flowers.
        idle: no task was ever sent.
    """

    title: str
    text: str
    change: Change | None = None
    flowers: int = 1
    idle: bool = False

    @property
    def job(self) -> str:
        """Return the label `job` of its samples."""
        return self.title.lower().replace(" ", "-")


def _bad_deploy(shop: Shop, _: int) -> None:
    shop.broken = {"shop.orders.place", "shop.orders.ship"}


def _dead_worker(shop: Shop, minute: int) -> None:
    shop.workers["celery@shop-4"] = 0
    shop.rates["shop.media.encode"] = 0
    shop.queues["media"] = (5 * minute, 0)
    shop.waiting["shop.media.encode"] = (4, 60 * minute)


def _dead_queue(shop: Shop, minute: int) -> None:
    shop.rates["shop.mail.send"] = 0
    shop.queues["mail"] = (30 * minute, 0)


def _saturated(shop: Shop, minute: int) -> None:
    shop.active = 4
    shop.queues["celery"] = (50 * minute, 3)
    shop.waiting["shop.search.index"] = (16, 10 * minute)


def _stuck_task(shop: Shop, minute: int) -> None:
    shop.oldest["shop.media.encode"] = 7200 + 60 * minute


def _beat_stopped(shop: Shop, _: int) -> None:
    shop.beat = False


def _flower_down(shop: Shop, _: int) -> None:
    shop.is_up = False


def _job_stopped(shop: Shop, _: int) -> None:
    shop.pushes = False


def _two_flowers_down(shop: Shop, _: int) -> None:
    shop.is_up = shop.instance == "flower-1:5555"


NOTHING_PUSHED = State("Nothing pushed", "The job has never pushed to this Pushgateway.")
"""In a Prometheus of its own, because the alert FlowerPushMissing looks at all jobs."""

TWELVE = (
    State("Healthy busy", "Everything works; one of a hundred orders fails."),
    State("Healthy idle", "Everything works, and no task is sent.", idle=True),
    State("Bad deploy", "All tasks of two types have failed for 16 minutes.", _bad_deploy),
    State("Dead worker", "The only worker of the queue media was killed.", _dead_worker),
    State("Dead queue", "Tasks are sent to the queue mail, which no worker consumes.", _dead_queue),
    State("Saturated", "All processes are busy, and more tasks come than finish.", _saturated),
    State("Stuck task", "One task has been running for two hours.", _stuck_task),
    State("Beat stopped", "Beat no longer sends its task.", _beat_stopped),
    State("Flower down", "The job runs, but Flower does not answer.", _flower_down),
    State("Job stopped", "The job no longer runs.", _job_stopped),
    NOTHING_PUSHED,
    State("Two of three Flowers down", "Two of three Flowers do not answer.", _two_flowers_down, flowers=3),
)


def open_metrics(end: float) -> str:
    """Return the samples of all states that push, until `end` (Unix seconds)."""
    lines: list[str] = []
    for state in TWELVE:
        if state is not NOTHING_PUSHED:
            for number in range(1, state.flowers + 1):
                shop = Shop(f"flower-{number}:5555", rates={} if state.idle else dict(RATES), beat=not state.idle)
                lines += _lines(state, shop, end)
    return "\n".join([*lines, "# EOF\n"])


def _lines(state: State, shop: Shop, end: float) -> Iterator[str]:
    pushed: list[tuple[str, Labels, float]] = []
    for minute in range(MINUTES + 1):
        at = end - 60 * (MINUTES - minute)
        if state.change and minute >= INCIDENT:
            state.change(shop, minute - INCIDENT)
        if shop.pushes:
            shop.work(minute, at)
            pushed = list(shop.samples(at))
        for name, own, value in pushed:
            labels = {"job": state.job, "instance": shop.instance, **own}
            text = ",".join(f'{label}="{label_value}"' for label, label_value in labels.items())
            for scrape in range(SCRAPES if minute < MINUTES else 1):
                yield f"{name}{{{text}}} {value} {at + 60 * scrape / SCRAPES:.3f}"


def fill(prometheus: Prometheus, rules: Path, since: int = 62, until: int = 59, passes: int = 1) -> float:
    """Write the samples into a Prometheus; return the Unix time of their end.

    It also writes the recorded series of some minutes.

    The defaults are enough for the first screen now, which compares with an hour ago. Pictures of the graphs need more.
    """
    # A scrape of the last push, so that the window of the queries begins between two scrapes of another push, too.
    end = time.time() - 5
    storage = prometheus.folder / prometheus.name
    file = prometheus.folder / "incidents.txt"
    file.write_text(open_metrics(end), encoding="utf-8")
    prometheus.stop()
    _promtool("openmetrics", str(file), str(storage))
    prometheus.start()
    # Some rules read what others recorded, so each pass needs the one before.
    for _ in range(passes):
        times = [f"--start={end - 60 * since:.0f}", f"--end={end - 60 * until:.0f}", "--eval-interval=5s"]
        _promtool("rules", f"--url={prometheus.url}", *times, f"--output-dir={storage}", str(rules))
        prometheus.stop()
        prometheus.start()
    return end


def _promtool(what: str, *arguments: str) -> None:
    command = [find_program("promtool", "prometheus"), "tsdb", "create-blocks-from", what, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
