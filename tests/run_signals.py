"""Ends `repeat` by a signal at one moment after the other of all that it does; a script that prints how many.

A handler runs between any two lines of Python's, so a stop has to work between any two.
"""

import signal
import sys
from types import FrameType
from typing import Any

from push_job.scheduler import Stop, repeat


def signalled_at(moment: int, seconds: float) -> bool:
    """Whether the loop came to that many lines at all; returns once it has ended, as it has to."""
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        if event == "line" and lines == moment:
            signal.raise_signal(signal.SIGTERM)
        return trace

    cycles = 0

    def cycle() -> None:
        nonlocal cycles
        cycles += 1
        if cycles == 3:  # by then it has done all that it ever does
            sys.settrace(None)
            signal.raise_signal(signal.SIGTERM)

    stop = Stop(lambda number, _frame: sys.exit(f"signal {number} counted twice"))
    sys.settrace(trace)
    repeat(cycle, seconds, stop)
    sys.settrace(None)
    return lines >= moment


if __name__ == "__main__":
    signal.alarm(60)  # a loop that does not end is killed
    moment = 1
    while signalled_at(moment, seconds=0.002):
        moment += 1
    print(moment - 1)
