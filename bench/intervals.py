"""Measure the cost of `push-job run` per minute at several intervals.

The result is printed as a table.

    python -m bench.intervals [SECONDS]

Flowers with few and with many tasks receive events of 20 tasks per second. Each interval is measured for SECONDS (by
default 60), after the first cycle, which is a full scrape. The cost of the events is measured without a job and
subtracted from Flower's CPU time.
"""

import subprocess
import sys
import threading
import time

import psutil

from testbed.command import ROOT, clean_environment
from testbed.events import TaskEvents, send_tasks
from testbed.services import Flower, Pushgateway, Testbed

SIZES = (1_000, 100_000)
INTERVALS = (60, 15, 5)
TASKS_PER_SECOND = 20

TIMEOUT = 600.0
"""Seconds for Flower to process the first events."""


def main() -> None:
    """Print a line for each Flower and interval."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    print("| tasks | interval | own CPU per minute | Flower's CPU per minute |\n|---|---|---|---|")
    with Testbed() as bed:
        pushgateway = bed.pushgateway()
        for size in SIZES:
            redis = bed.redis()
            flower = bed.flower(redis, options=[f"--max_tasks={size}"])
            with TaskEvents(redis.url, buffer=100) as events:
                send_tasks(events, size, seed=size)
                events.flush()
                flower.wait_for_tasks(size, TIMEOUT)
                ended = threading.Event()
                sender = threading.Thread(target=keep_sending, args=(events, ended))
                sender.start()
                try:
                    measure(flower, pushgateway, size, seconds)
                finally:
                    ended.set()
                    sender.join()
            flower.stop()


def keep_sending(events: TaskEvents, ended: threading.Event) -> None:
    """Send TASKS_PER_SECOND tasks per second."""
    number = 0
    while not ended.wait(1 / 4):
        number += 1
        send_tasks(events, TASKS_PER_SECOND // 4, seed=10**6 + number)
        events.flush()


def measure(flower: Flower, pushgateway: Pushgateway, size: int, seconds: float) -> None:
    """Print the cost of each interval on one Flower."""
    of_flower = psutil.Process(flower.pid)
    before = cpu(of_flower)
    time.sleep(seconds)
    of_events = cpu(of_flower) - before
    for every in INTERVALS:
        servers = ("--flower", flower.url, "--pushgateway", pushgateway.url)
        command = [sys.executable, "-m", "push_job", "run", "--every", str(every), *servers]
        with subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as loop:
            assert loop.stderr is not None
            line = loop.stderr.readline()
            assert "msg=pushed" in line, line
            threading.Thread(target=loop.stderr.read).start()
            own = psutil.Process(loop.pid)
            # Whole intervals, so that the number of cycles is right.
            period = every * max(1, round(seconds / every))
            used, used_by_flower = cpu(own), cpu(of_flower)
            time.sleep(period)
            used, used_by_flower = cpu(own) - used, cpu(of_flower) - used_by_flower
            loop.terminate()
        per_minute = 60 / period
        flowers = (used_by_flower - of_events * period / seconds) * per_minute
        print(f"| {size:,} | {every} s | {used * per_minute:.2f} s | {flowers:.2f} s |", flush=True)


def cpu(process: psutil.Process) -> float:
    """Return the CPU seconds that a process has used."""
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
