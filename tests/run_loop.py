"""`push-job run` in a process of its own.

A test can see its growing log, and its threads, files and connections.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from testbed.command import ROOT, clean_environment
from tests.independent import eventually

#: Messages of a cycle's log line: success, Flower down, Pushgateway down.
PUSHED = "pushed"
DOWN = "scrape failed; pushed flower_up 0"
PUSH_FAILED = "push failed"


class Loop:
    """A context manager that starts the loop and makes sure that it ends.

    Attributes:
        process: the running command.
        seen: the same, as psutil sees it.
    """

    def __init__(self, *args: str, program: tuple[str, ...] = ("-m", "push_job")) -> None:
        """`args` follow `run`; `program` is what Python runs."""
        self._log = tempfile.TemporaryFile("w+b", buffering=0)  # noqa: SIM115 - closed at the block's end
        with tempfile.TemporaryFile() as out:
            self.process = subprocess.Popen(
                [sys.executable, *program, "run", "--log-format", "json", *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=self._log,
                cwd=ROOT,
                env=clean_environment(),
            )
        self.seen = psutil.Process(self.process.pid)

    def __enter__(self) -> "Loop":
        """The process runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, if the test has not."""
        self.process.kill()
        self.process.wait()
        self._log.close()

    def log(self) -> list[dict[str, Any]]:
        """Return the log lines so far."""
        text = Path(f"/proc/self/fd/{self._log.fileno()}").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def cycles(self) -> list[str]:
        """Return the message of each cycle's log line so far."""
        return [line["msg"] for line in self.log() if "seconds" in line]

    def wait_for(self, count: int, outcome: str = PUSHED, timeout: float = 120) -> None:
        """Return once `count` cycles in total had this outcome."""

        def has_happened() -> bool:
            assert self.process.poll() is None, self.log()[-3:]
            return self.cycles().count(outcome) >= count

        eventually(has_happened, timeout)

    def wait_for_more(self, count: int, outcome: str = PUSHED) -> None:
        """Return once `count` more cycles had this outcome."""
        self.wait_for(self.cycles().count(outcome) + count, outcome)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 120) -> tuple[int, float]:
        """Send a signal and wait; return the exit code, and the seconds until the end."""
        self.process.send_signal(number)
        sent = time.monotonic()
        return self.process.wait(timeout), time.monotonic() - sent

    def resources(self) -> tuple[int, int, int]:
        """Return the numbers of threads, open files and connections."""
        return self.seen.num_threads(), self.seen.num_fds(), len(self.seen.net_connections("all"))

    def connections_to(self, port: int) -> int:
        """Return the number of TCP connections to this port."""
        peers = [connection.raddr for connection in self.seen.net_connections("tcp")]
        return sum(bool(peer) and peer.port == port for peer in peers)


def time_of(line: dict[str, Any]) -> float:
    """Return the Unix time of a log line."""
    return datetime.fromisoformat(line["ts"].replace("Z", "+00:00")).timestamp()
