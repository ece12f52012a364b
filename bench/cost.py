"""What running a command costs."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.prober import Prober
from testbed.command import ROOT, clean_environment

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
    """

    seconds: float
    cpu: float
    memory: float
    stall: float = 0.0
    stalls: tuple[float, float] = (0.0, 0.0)


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


def run_probed(command: Sequence[str], flower_url: str) -> Cost:
    """The same, with an eye on how long this Flower answers no one else."""
    with Prober(flower_url) as prober:
        cost = run(command)
    return Cost(cost.seconds, cost.cpu, cost.memory, prober.longest_wait)


def medians(costs: Sequence[Cost]) -> Cost:
    """The median of each number on its own, and the range of the stalls."""
    return Cost(
        seconds=median(cost.seconds for cost in costs),
        cpu=median(cost.cpu for cost in costs),
        memory=median(cost.memory for cost in costs),
        stall=median(cost.stall for cost in costs),
        stalls=(min(cost.stall for cost in costs), max(cost.stall for cost in costs)),
    )
