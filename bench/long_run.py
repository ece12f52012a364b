"""Run thousands of cycles of `push-job run`, and print its resources.

    python -m bench.long_run [CYCLES]

The cycles follow each other without a pause, on a full Flower that receives events all the time. 2,000 cycles take a
few minutes.
"""

import subprocess
import sys
import threading
import time

import psutil

from testbed.command import ROOT, clean_environment
from testbed.events import TaskEvents, send_tasks
from testbed.services import Testbed

TASKS = 3_000


def main() -> None:
    """Print one line after 100, 1,000, 10,000, … cycles and after the last one."""
    cycles = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    marks = {100 * 10**power for power in range(8)} | {cycles}
    with Testbed() as bed:
        redis = bed.redis()
        flower = bed.flower(redis, options=[f"--max_tasks={TASKS}"])
        events = TaskEvents(redis.url, buffer=100)
        events.__enter__()
        send_tasks(events, TASKS)
        events.flush()
        flower.wait_for_tasks(TASKS)
        ended = threading.Event()
        sender = threading.Thread(target=keep_sending, args=(events, ended))
        sender.start()
        command = [sys.executable, "-m", "push_job", "run", "--every", "0.001"]
        servers = ["--flower", flower.url, "--pushgateway", bed.pushgateway().url]
        with subprocess.Popen(
            [*command, *servers], cwd=ROOT, env=clean_environment(), stderr=subprocess.PIPE, text=True
        ) as loop:
            try:
                measure(loop, cycles, marks)
            finally:
                loop.terminate()
                ended.set()
                sender.join()


def keep_sending(events: TaskEvents, ended: threading.Event) -> None:
    """Send about 100 tasks per second."""
    number = 0
    while not ended.wait(0.1):
        number += 1
        send_tasks(events, 10, seed=10**6 + number)
        events.flush()


def measure(loop: "subprocess.Popen[str]", cycles: int, marks: set[int]) -> None:
    """Read the log, one line per cycle, and print the resources at each mark."""
    process = psutil.Process(loop.pid)
    since, spent, counted = time.monotonic(), _processor(process), 0
    full = 0
    lines = (line for line in loop.stderr or () if "read=" in line or "level=error" in line)
    for number, line in enumerate(lines, 1):
        if "msg=pushed" not in line:
            raise SystemExit(f"cycle {number} failed: {line}")
        full += f"read={TASKS}" in line
        if number in marks:
            now, used = time.monotonic(), _processor(process)
            print(
                f"cycle {number:>7,}: {process.memory_info().rss / 2**20:.2f} MiB resident,"
                f" {process.num_fds()} open files, {process.num_threads()} threads; since the previous line"
                f" {(number - counted) / (now - since):.1f} cycles/s and"
                f" {(used - spent) / (number - counted) * 1000:.2f} ms of CPU time each; {full} full scrapes so far",
                flush=True,
            )
            since, spent, counted = now, used, number
        if number == cycles:
            return
    raise SystemExit("push-job run ended unexpectedly")


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
