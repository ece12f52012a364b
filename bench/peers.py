"""Compare push-job with other exporters on a real load of tasks.

    python -m bench.peers [--rates 5,50,200] [--seconds 45] [--program NAME=COMMAND ...]

celery-redis-prometheus is installed from the package index. Programs that it does not have are added by hand; the
command may contain `{broker}` and `{port}`, and must serve /metrics on that port:

    --program 'celery-exporter=/opt/celery-exporter/bin/python cli.py --broker-url {broker} --port {port}'

Each program watches alone, for the same time, a Redis with one worker and the same number of tasks per second. It is
scraped every 15 seconds, as Prometheus does. What the broker does without a watcher is subtracted.
"""

import argparse
import contextlib
import random
import shlex
import statistics
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil
import redis as redis_client
from prometheus_client.parser import text_string_to_metric_families

from testbed.command import ROOT, clean_environment
from testbed.process import ServiceError, free_port, wait_for
from testbed.services import Pushgateway, Redis, Testbed
from testbed.shop import shop_app
from testbed.web import Client

#: Seconds between two scrapes, and between two cycles of push-job.
SCRAPE_EVERY = 15

#: Seconds to wait for a killed worker to show.
LONGEST_WAIT = 400.0

_DAY = 86_400
_REQUIREMENT = "celery-redis-prometheus==2.0.0"
_SUCCESSES = 100

#: Tasks whose time until they show is measured.
_SHOWN_TASKS = 10


@dataclass(frozen=True)
class Watcher:
    """A program that watches Celery.

    Attributes:
        name: its name in the report.
        command: its command, with `{broker}`, `{port}`, `{flower}` and `{pushgateway}`; empty for Flower alone.
        needs_flower: whether it needs Flower.
    """

    name: str
    command: str = ""
    needs_flower: bool = False


FLOWER = Watcher("Flower's /metrics", needs_flower=True)
PUSH_JOB = Watcher(
    "push-job run",
    f"{sys.executable} -m push_job run --every {SCRAPE_EVERY} --flower {{flower}} --pushgateway {{pushgateway}}",
    needs_flower=True,
)


@dataclass
class Watch:
    """Cost of one measurement.

    Attributes:
        cpu: CPU seconds of its process.
        flower_cpu: CPU seconds of Flower; 0 without one.
        memory: MiB of its process at the end.
        broker_cpu, broker_commands, broker_bytes: of the broker, all clients together; the bytes are those it sent.
        series: number of samples that it shows at the end.
    """

    cpu: float = 0.0
    flower_cpu: float = 0.0
    memory: float = 0.0
    broker_cpu: float = 0.0
    broker_commands: float = 0.0
    broker_bytes: float = 0.0
    series: int = 0


@dataclass
class Scene:
    """Services, a worker, and the program that watches them."""

    bed: Testbed
    redis: Redis
    worker: Any
    pushgateway: Pushgateway
    watcher: Watcher | None
    flower: Any = None
    process: "subprocess.Popen[bytes] | None" = None
    port: int = 0
    client: Client = field(default_factory=Client)

    def start(self) -> None:
        """Start the program, and Flower if it needs one, and wait until it answers."""
        if self.watcher is None:
            return
        if self.watcher.needs_flower and not self.flower:
            self.flower = self.bed.flower(self.redis)
        self.port = self.port or free_port()
        if self.watcher.command:
            places = {
                "broker": self.redis.url,
                "port": self.port,
                "flower": self.flower.url if self.flower else "",
                "pushgateway": self.pushgateway.url,
            }
            self.process = subprocess.Popen(
                shlex.split(self.watcher.command.format_map(places)),
                env=clean_environment() | self.bed.environment,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        wait_for(f"{self.watcher.name} to answer", lambda: bool(self.metrics()), 60.0)

    def stop(self) -> None:
        """Stop the program; Flower is stopped only if nothing else watches."""
        if self.process:
            self.process.terminate()
            self.process.wait()
        elif self.flower:
            self.flower.stop()

    def metrics(self) -> str:
        """Return its metrics; empty if it does not answer."""
        if self.watcher is None:
            return ""
        with contextlib.suppress(OSError):
            if self.watcher is PUSH_JOB:
                return self.client.get(f"{self.pushgateway.url}/metrics")
            url = self.flower.url if self.watcher is FLOWER else f"http://127.0.0.1:{self.port}"
            return self.client.get(f"{url}/metrics")
        return ""

    def sum_of(self, names: tuple[str, ...], label: str = "") -> float:
        """Return the sum of all samples with one of these names.

        The name or a label value, in lower case, must contain `label`.
        """
        samples = [sample for family in text_string_to_metric_families(self.metrics()) for sample in family.samples]
        return sum(
            sample.value
            for sample in samples
            if sample.name in names and any(label in value.lower() for value in (sample.name, *sample.labels.values()))
        )


@contextlib.contextmanager
def watching(watcher: Watcher | None) -> Iterator[Scene]:
    """Start a broker, a worker and a program that watches them."""
    with Testbed() as bed:
        redis = bed.redis()
        worker = bed.worker(redis, concurrency=2)
        scene = Scene(bed, redis, worker, bed.pushgateway(), watcher)
        scene.start()
        try:
            yield scene
        finally:
            if scene.process:
                scene.process.kill()
                scene.process.wait()


def measure(watcher: Watcher | None, rate: int, seconds: float) -> Watch:
    """Return the cost of watching `rate` tasks per second for this time."""
    with watching(watcher) as scene, sending(scene.redis.url, rate):
        time.sleep(5)  # the start is not part of the cost
        before = _reading(scene)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(SCRAPE_EVERY, max(0.0, end - time.monotonic())))
            scene.metrics()
        after = _reading(scene)
        own = [line for line in scene.metrics().splitlines() if line and not line.startswith("#")]
        if watcher is PUSH_JOB:
            own = [line for line in own if 'job="flower"' in line]
    difference = {name: getattr(after, name) - getattr(before, name) for name in ("cpu", "flower_cpu")}
    broker = {name: getattr(after, name) - getattr(before, name) for name in vars(after) if name.startswith("broker")}
    return Watch(**difference, **broker, memory=after.memory, series=len(own))


def _reading(scene: Scene) -> Watch:
    watch = Watch()
    if scene.process:
        watch.cpu, watch.memory = _use_of(scene.process.pid)
    if scene.flower:
        watch.flower_cpu, memory = _use_of(scene.flower.pid)
        watch.memory = watch.memory or memory
    with contextlib.closing(redis_client.Redis(port=scene.redis.port)) as connection:
        info: Any = connection.info()
    watch.broker_cpu = info["used_cpu_user"] + info["used_cpu_sys"]
    watch.broker_commands = info["total_commands_processed"]
    watch.broker_bytes = info["total_net_output_bytes"]
    return watch


def _use_of(pid: int) -> tuple[float, float]:
    """Return CPU seconds and MiB of a process and its children."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    times = [process.cpu_times() for process in processes]
    memory = sum(process.memory_info().rss for process in processes) / 2**20
    return sum(each.user + each.system for each in times), memory


@contextlib.contextmanager
def sending(broker_url: str, rate: int) -> Iterator[None]:
    """Send `rate` tasks per second, each of which succeeds at once."""
    ended = threading.Event()

    def send() -> None:
        started, sent = time.monotonic(), 0
        while not ended.wait(0.05):
            due = int((time.monotonic() - started) * rate)
            for _ in range(due - sent):
                app.send_task("shop.orders.place", (1, 0))
            sent = due

    app = shop_app(broker_url)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        app.close()


def time_until_dead(watcher: Watcher) -> str:
    """Return how long a program shows a worker as live after it was killed."""
    with watching(watcher) as scene, sending(scene.redis.url, 5):
        try:
            wait_for("the worker to show", lambda: _live(scene) > 0, 60.0)
        except ServiceError:
            return "shows no workers"
        scene.worker.kill()
        killed = time.monotonic()
        while time.monotonic() < killed + LONGEST_WAIT:
            if scene.metrics() and _live(scene) == 0:
                return f"{time.monotonic() - killed:.0f} s"
            time.sleep(1)
    return f"not within {LONGEST_WAIT:.0f} s"


def seconds_until_shown(watcher: Watcher) -> list[float]:
    """Return the seconds until each of some tasks shows in a scrape.

    The tasks succeed at random times.
    """
    with watching(watcher) as scene:
        app, chance = shop_app(scene.redis.url), random.Random(1)
        app.send_task("shop.orders.place", (1, 0))
        with contextlib.suppress(ServiceError):
            wait_for("a task to show", lambda: _successes(scene) >= 1, 40.0)
        sent: list[float] = []
        shown: list[float] = []
        earlier, next_scrape = int(_successes(scene)), time.monotonic() + SCRAPE_EVERY
        until = next_scrape + 2 * _SHOWN_TASKS * SCRAPE_EVERY
        while len(shown) < _SHOWN_TASKS and next_scrape < until:
            if len(sent) < _SHOWN_TASKS:
                due = next_scrape - chance.uniform(0.0, SCRAPE_EVERY)
                time.sleep(max(0.0, due - time.monotonic()))
                app.send_task("shop.orders.place", (1, 0))
                sent.append(time.monotonic())
            time.sleep(max(0.0, next_scrape - time.monotonic()))
            count = int(_successes(scene)) - earlier
            shown += [next_scrape - at for at in sent[len(shown) : count]]
            next_scrape += SCRAPE_EVERY
        app.close()
    return shown


def _live(scene: Scene) -> float:
    names = ("celery_workers", "flower_worker_online", "celery_worker_up", "celerymon_events_online_worker_count")
    return scene.sum_of(names)


def counts_after_restart(watcher: Watcher) -> tuple[float, float]:
    """Return the number of successes that the program shows, and the true number.

    It is restarted after the first half of the tasks.
    """
    with watching(watcher) as scene:
        app = shop_app(scene.redis.url)
        for number in (1, 2):
            for _ in range(_SUCCESSES):
                app.send_task("shop.orders.place", (1, 0))
            with contextlib.suppress(ServiceError):
                wait_for("the tasks to show", lambda: _successes(scene) >= number * _SUCCESSES, 40.0)  # noqa: B023 - called immediately
            if number == 1:
                scene.stop()
                if scene.watcher is FLOWER:
                    scene.flower.start()
                else:
                    scene.start()
                time.sleep(5)  # so that it receives events
        app.close()
        return _successes(scene), 2 * _SUCCESSES


def _successes(scene: Scene) -> float:
    names = (
        "celery_task_types_by_state",
        "flower_events_total",
        "celery_task_succeeded_total",
        "celery_tasks_total",
        "celerymon_events_count_total",
    )
    return scene.sum_of(names, "succe")


def main() -> int:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", default="5,50,200", help="tasks per second, separated by commas; may be empty")
    parser.add_argument("--seconds", type=float, default=45.0, help="time of each measurement")
    parser.add_argument("--program", action="append", default=[], help="NAME=COMMAND of a further program")
    arguments = parser.parse_args()
    watchers = [PUSH_JOB, FLOWER, _installed_peer()]
    watchers += [Watcher(name, command) for name, _, command in (text.partition("=") for text in arguments.program)]
    for rate in map(int, filter(None, arguments.rates.split(","))):
        _print_costs(watchers, rate, arguments.seconds)
    print(
        "\n| program | a task's end shows after (longest) | killed worker shows after | successes after its restart |"
    )
    print("|---|---|---|---|")
    for watcher in watchers:
        shown, truth = counts_after_restart(watcher)
        seconds = seconds_until_shown(watcher)
        delay = f"{statistics.median(seconds):.0f} s ({max(seconds):.0f} s)" if seconds else "shows no tasks"
        row = (watcher.name, delay, time_until_dead(watcher), f"{shown:.0f} of {truth:.0f}")
        print(f"| {' | '.join(row)} |", flush=True)
    return 0


def _print_costs(watchers: list[Watcher], rate: int, seconds: float) -> None:
    baseline, per_day = measure(None, rate, seconds), _DAY / seconds
    print(f"\n{rate} tasks per second; CPU in minutes per day:\n")
    print("| program | own CPU | Flower's CPU | broker's CPU | broker commands/s | broker kB/s | MiB | series |")
    print("|---|---|---|---|---|---|---|---|")
    for watcher in watchers:
        watch = measure(watcher, rate, seconds)
        minutes: Callable[[float], str] = lambda cpu: f"{max(0.0, cpu) * per_day / 60:.1f}"  # noqa: E731
        commands = (watch.broker_commands - baseline.broker_commands) / seconds
        sent = (watch.broker_bytes - baseline.broker_bytes) / seconds / 1000
        cells = [
            watcher.name,
            minutes(watch.cpu) if watcher.command else "",
            minutes(watch.flower_cpu) if watcher.needs_flower else "",
            minutes(watch.broker_cpu - baseline.broker_cpu),
            f"{max(0.0, commands):.1f}",
            f"{max(0.0, sent):.1f}",
            f"{watch.memory:.0f}",
            str(watch.series),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def _installed_peer() -> Watcher:
    """Install celery-redis-prometheus into its own environment, unless that exists."""
    folder = ROOT / ".venvs" / _REQUIREMENT
    program = folder / "bin" / "celery"
    if not program.exists():
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "-q", "install", _REQUIREMENT, "celery[redis]"], check=True)
    return Watcher(
        _REQUIREMENT.replace("==", " "), f"{program} -b {{broker}} prometheus --host 127.0.0.1 --port {{port}}"
    )


if __name__ == "__main__":
    sys.exit(main())
