"""End a test bed's processes and remove its folder, even after SIGKILL.

`python guard.py FOLDER` waits on standard input, a pipe that only the test bed holds open. The kernel closes it when
the owner ends. A parent death signal is no alternative: it does not reach grandchildren, such as a worker's pool, and
it fires when the starting thread ends.
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
    """Return the ids of processes with this variable in their environment."""
    wanted = f"{variable}={value}".encode()
    return _processes(lambda process: wanted in (process / "environ").read_bytes().split(b"\0"))


def processes_of(folder: Path) -> list[int]:
    """Return the ids of the processes of the test bed with this folder.

    They have a variable with the folder in their environment. A process that is just starting does not have it yet, and
    is found by its log file.
    """
    writing = _processes(lambda process: (process / "fd" / "1").readlink().is_relative_to(folder))
    return sorted({*writing, *processes_with(MARK, str(folder))})


def _processes(condition: Callable[[Path], bool]) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        # The process may have ended, or belong to another user.
        with contextlib.suppress(OSError):
            if process.name.isdecimal() and condition(process):
                found.append(int(process.name))
    return found


def end_all(folder: Path) -> None:
    """Kill the processes of the folder until none is left, then remove the folder."""
    while left := processes_of(folder):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_all(Path(sys.argv[1]))
