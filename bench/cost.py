"""Measure the cost of running a command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil

from bench.prober import Prober
from testbed.command import ROOT, clean_environment
from testbed.services import Flower

#: Resolution of CPU times in seconds. A shorter time may be reported as 0, which cannot be a divisor.
_TICK = 1 / os.sysconf("SC_CLK_TCK")

LAUNCHER = Path(__file__).with_name("launcher.py")
TIMEOUT = 300.0  # seconds


class BenchError(Exception):
    """A measured command failed, or its result is wrong."""


@dataclass(frozen=True)
class Cost:
    """Cost of one run of a command, or the medians of several runs.

    Attributes:
        seconds: wall time.
        cpu: CPU time in seconds, user and system.
        memory: peak memory in MiB.
        stall: longest time in seconds in which Flower answered no other request; 0 if not measured.
        stalls: shortest and longest `stall` of several runs.
        flower_cpu: CPU time of Flower's process in seconds; 0 if not measured.
    """

    seconds: float
    cpu: float
    memory: float
    stall: float = 0.0
    stalls: tuple[float, float] = (0.0, 0.0)
    flower_cpu: float = 0.0


def run(command: Sequence[str]) -> Cost:
    """Run a command and return its cost.

    Raises:
        BenchError: Its exit code is not 0; contains the end of its output.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCHER), *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean_environment(),
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"`{' '.join(command)[:200]}` exited with {done.returncode}:\n{done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout))


def run_probed(command: Sequence[str], flower: Flower) -> Cost:
    """Run a command and return its cost, including that for this Flower."""
    return probed(lambda: run(command), flower)


def probed(work: Callable[[], Cost], flower: Flower) -> Cost:
    """Return the cost of `work`, including that for this Flower."""
    process = psutil.Process(flower.pid)
    with Prober(flower.url) as prober:
        before = processor_time(process)
        cost = work()
        spent = processor_time(process) - before
    return replace(cost, stall=prober.longest_wait, flower_cpu=max(spent, _TICK))


def processor_time(process: psutil.Process) -> float:
    """Return the CPU time of a process so far, in seconds."""
    times = process.cpu_times()
    return times.user + times.system


def medians(costs: Sequence[Cost]) -> Cost:
    """Return the median of each number, and the range of the stalls."""
    return Cost(
        seconds=median(cost.seconds for cost in costs),
        cpu=median(cost.cpu for cost in costs),
        memory=median(cost.memory for cost in costs),
        stall=median(cost.stall for cost in costs),
        flower_cpu=median(cost.flower_cpu for cost in costs),
        stalls=(min(cost.stall for cost in costs), max(cost.stall for cost in costs)),
    )
