"""`push-job run`, thousands of turns on real services: memory, processor time, threads and files as it goes on.

    python -m bench.loop [TURNS]

The turns follow each other without a pause, at a Flower that is full and hears events all the time; each reads what has
changed. 2,000 take some minutes.
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
    """Print one line at 100, 1,000, 10,000, ... turns and at the last one."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    marks = {100 * 10**power for power in range(8)} | {turns}
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
                measure(loop, turns, marks)
            finally:
                loop.terminate()
                ended.set()
                sender.join()


def keep_sending(events: TaskEvents, ended: threading.Event) -> None:
    """About 100 tasks a second, one after the other."""
    number = 0
    while not ended.wait(0.1):
        number += 1
        send_tasks(events, 10, seed=10**6 + number)
        events.flush()


def measure(loop: "subprocess.Popen[str]", turns: int, marks: set[int]) -> None:
    """Read the loop's log, a line a turn, and print what it holds at each mark."""
    process = psutil.Process(loop.pid)
    since, spent, counted = time.monotonic(), _processor(process), 0
    whole = 0
    lines = (line for line in loop.stderr or () if "read=" in line or "level=error" in line)
    for number, line in enumerate(lines, 1):
        if "msg=pushed" not in line:
            raise SystemExit(f"turn {number} went wrong: {line}")
        whole += f"read={TASKS}" in line
        if number in marks:
            now, used = time.monotonic(), _processor(process)
            print(
                f"turn {number:>7,}: {process.memory_info().rss / 2**20:.2f} MiB resident,"
                f" {process.num_fds()} open files, {process.num_threads()} threads; since the line before"
                f" {(number - counted) / (now - since):.1f} turns/s and"
                f" {(used - spent) / (number - counted) * 1000:.2f} ms of processor time each; {whole} whole so far",
                flush=True,
            )
            since, spent, counted = now, used, number
        if number == turns:
            return
    raise SystemExit("the loop ended by itself")


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
