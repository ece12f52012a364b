"""Processes of push-job, forked from one that has imported it.

The import takes most of a run's CPU time. A fork does everything else that `python -m push_job` does.
"""

import multiprocessing
import os
import runpy
import select
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO

from testbed.command import ROOT, clean_environment

_COPIES = multiprocessing.get_context("forkserver")
_COPIES.set_forkserver_preload(
    ["push_job.cli", "push_job.terminal.snapshot_table", "push_job.metrics.extras.activity", __name__]
)

#: Two threads must not wait for the same process, because its exit status can be read only once.
_LOCK = threading.Lock()

#: Seconds between two checks of a process.
_LOOK = 0.1


class Job:
    """A running push-job; `log` is the file of its stderr."""

    def __init__(self, process: BaseProcess, log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self._starved = 0.0

    @property
    def exit_code(self) -> int:
        """Its exit code; negative if a signal ended it."""
        with _LOCK:
            self._process.join()
            assert self._process.exitcode is not None
            return self._process.exitcode

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return os.pread(self._log.fileno(), 10**8, 0).decode()

    def seconds_without_cpu(self) -> float:
        """Return the seconds for which the main thread waited for a CPU.

        Once the process has ended, this is the last value that was read before.
        """
        with suppress(OSError, IndexError):
            self._starved = int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[1]) / 1e9
        return self._starved

    def wait(self, timeout: float) -> None:
        """Wait until it has ended, or for this number of seconds."""
        until = time.monotonic() + timeout
        while time.monotonic() < until and not select.select([self._process.sentinel], [], [], _LOOK)[0]:
            self.seconds_without_cpu()

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send it SIGKILL if it still runs."""
        self._process.kill()


@contextmanager
def started(arguments: Sequence[str]) -> Iterator[Job]:
    """Start push-job with these arguments; kill it at the end."""
    with tempfile.NamedTemporaryFile() as log:
        process = _COPIES.Process(target=_push_job, args=(list(arguments), log.name))
        with _LOCK:
            process.start()
        job = Job(process, log.file)
        try:
            yield job
        finally:
            with _LOCK:
                process.kill()


def _push_job(arguments: list[str], log: str) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), sys.stderr.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.chdir(ROOT)
    kept = clean_environment()
    for name in os.environ.keys() - kept.keys():
        del os.environ[name]
    sys.argv = ["push-job", *arguments]
    runpy.run_module("push_job", run_name="__main__", alter_sys=True)
