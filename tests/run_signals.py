"""End `repeat` by a signal before each line that it runs, one after the other.

Print the number of lines.

A signal handler may run between any two lines, so stopping has to work there.
"""

import signal
import sys
from types import FrameType
from typing import Any

from push_job.scheduler import Stop, repeat


def signalled_at(place: int, seconds: float) -> bool:
    """Run the loop with a signal before line number `place`.

    Return whether the loop had that many lines.
    """
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        if event == "line" and lines == place:
            signal.raise_signal(signal.SIGTERM)
        return trace

    cycles = 0

    def cycle() -> None:
        nonlocal cycles
        cycles += 1
        if cycles == 3:  # by then it has run every line
            sys.settrace(None)
            signal.raise_signal(signal.SIGTERM)

    stop = Stop(lambda number, _frame: sys.exit(f"signal {number} counted twice"))
    sys.settrace(trace)
    repeat(cycle, seconds, stop)
    sys.settrace(None)
    return lines >= place


if __name__ == "__main__":
    signal.alarm(60)  # a loop that does not end is killed
    place = 1
    while signalled_at(place, seconds=0.002):
        place += 1
    print(place - 1)
