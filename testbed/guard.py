"""What ends a test bed's processes and removes its folder, even when its owner is killed with SIGKILL.

Runs as a process of its own: `python guard.py FOLDER`. Its standard input is a pipe that only the test bed
holds open; the kernel closes it however the owner ends. A parent death signal would not do: it reaches no
grandchild (a Celery worker's pool), and it fires when the starting thread ends.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

MARK = "TESTBED_FOLDER"


def processes_with(variable: str, value: str) -> list[int]:
    """Process ids of all that were started with this in their environment; children inherit it."""
    wanted = f"{variable}={value}".encode()
    return _processes(lambda process: wanted in (process / "environ").read_bytes().split(b"\0"))


def processes_of(folder: Path) -> list[int]:
    """Process ids of all that belong to the test bed with this folder.

    They are marked with it in their environment. One that is just being started has none yet: such a
    one is known by its log.
    """
    writing = _processes(lambda process: (process / "fd" / "1").readlink().is_relative_to(folder))
    return sorted({*writing, *processes_with(MARK, str(folder))})


def _processes(condition: Callable[[Path], bool]) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        # Many have ended meanwhile, or are another user's.
        with contextlib.suppress(OSError):
            if process.name.isdecimal() and condition(process):
                found.append(int(process.name))
    return found


def end_all(folder: Path) -> None:
    """Kill what belongs to the folder until nothing does, then remove the folder."""
    while left := processes_of(folder):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_all(Path(sys.argv[1]))
