"""What running a command costs."""

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

#: Seconds in which the system counts a process's time: what takes less may be told as none, and none divides nothing.
_TICK = 1 / os.sysconf("SC_CLK_TCK")

LAUNCHER = Path(__file__).with_name("launcher.py")
TIMEOUT = 300.0  # seconds


class BenchError(Exception):
    """A measured command failed, or what it did is wrong."""


@dataclass(frozen=True)
class Cost:
    """What one run of a command took, or the medians of several.

    Attributes:
        seconds: from its start to its end.
        cpu: seconds of processor time, its own and the kernel's for it.
        memory: the most that it held, in MiB.
        stall: the longest that Flower answered no one else meanwhile, in seconds; 0 where nobody asked.
        stalls: the shortest and the longest such time of several runs.
        flower_cpu: seconds of processor time that Flower's process took meanwhile; 0 where nobody looked.
    """

    seconds: float
    cpu: float
    memory: float
    stall: float = 0.0
    stalls: tuple[float, float] = (0.0, 0.0)
    flower_cpu: float = 0.0


def run(command: Sequence[str]) -> Cost:
    """Run a command to its end.

    Raises:
        BenchError: its exit code is not 0; carries the end of what it printed.
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
        raise BenchError(f"`{' '.join(command)[:200]}` ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout))


def run_probed(command: Sequence[str], flower: Flower) -> Cost:
    """The same, with an eye on how long this Flower answers no one else, and on what it takes of the processor."""
    return probed(lambda: run(command), flower)


def probed(work: Callable[[], Cost], flower: Flower) -> Cost:
    """What `work` costs, and Flower meanwhile."""
    process = psutil.Process(flower.pid)
    with Prober(flower.url) as prober:
        before = processor_time(process)
        cost = work()
        spent = processor_time(process) - before
    return replace(cost, stall=prober.longest_wait, flower_cpu=max(spent, _TICK))


def processor_time(process: psutil.Process) -> float:
    """Seconds of processor time that a process has taken so far."""
    times = process.cpu_times()
    return times.user + times.system


def medians(costs: Sequence[Cost]) -> Cost:
    """The median of each number on its own, and the range of the stalls."""
    return Cost(
        seconds=median(cost.seconds for cost in costs),
        cpu=median(cost.cpu for cost in costs),
        memory=median(cost.memory for cost in costs),
        stall=median(cost.stall for cost in costs),
        flower_cpu=median(cost.flower_cpu for cost in costs),
        stalls=(min(cost.stall for cost in costs), max(cost.stall for cost in costs)),
    )
