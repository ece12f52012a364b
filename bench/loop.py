"""`push-job run`, thousands of turns on real services: memory, processor time, threads and files as it goes on.

    python -m bench.loop [TURNS]

Takes about a minute for 10,000 turns, which follow each other without a pause.
"""

import subprocess
import sys
import time

import psutil

from testbed.command import ROOT, clean_environment
from testbed.events import fill
from testbed.services import Testbed

TASKS = 200


def main() -> None:
    """Print one line at 100, 1,000, 10,000, ... turns and at the last one."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    marks = {100 * 10**power for power in range(8)} | {turns}
    with Testbed() as bed:
        redis = bed.redis()
        flower = bed.flower(redis)
        worker = bed.worker(redis)
        flower.wait_for_worker(worker.node)
        fill(redis.url, TASKS)
        flower.wait_for_tasks(TASKS)
        command = [sys.executable, "-m", "push_job", "run", "--every", "0.001"]
        servers = ["--flower", flower.url, "--pushgateway", bed.pushgateway().url]
        with subprocess.Popen(
            [*command, *servers], cwd=ROOT, env=clean_environment(), stderr=subprocess.PIPE, text=True
        ) as loop:
            try:
                measure(loop, turns, marks)
            finally:
                loop.terminate()


def measure(loop: "subprocess.Popen[str]", turns: int, marks: set[int]) -> None:
    """Read the loop's log, a line a turn, and print what it holds at each mark."""
    process = psutil.Process(loop.pid)
    since, spent, counted = time.monotonic(), _processor(process), 0
    for number, line in enumerate(loop.stderr or (), 1):
        if "msg=pushed" not in line:
            raise SystemExit(f"turn {number} went wrong: {line}")
        if number in marks:
            now, used = time.monotonic(), _processor(process)
            print(
                f"turn {number:>7,}: {process.memory_info().rss / 2**20:.2f} MiB resident,"
                f" {process.num_fds()} open files, {process.num_threads()} threads; since the line before"
                f" {(number - counted) / (now - since):.1f} turns/s and"
                f" {(used - spent) / (number - counted) * 1000:.2f} ms of processor time each",
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
