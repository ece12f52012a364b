"""`push-job run` in a process of its own: its log as it grows, and what it holds of the machine."""

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

#: What the log line of a turn says, a Flower each: it went well, its Flower was away, the Pushgateway was.
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
        """Its log lines so far."""
        text = Path(f"/proc/self/fd/{self._log.fileno()}").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def turns(self) -> list[str]:
        """What came of each turn so far, in the words of its log line."""
        return [line["msg"] for line in self.log() if "seconds" in line]

    def wait_for(self, count: int, outcome: str = PUSHED, timeout: float = 30) -> None:
        """Return once `count` turns in all had this outcome."""

        def came() -> bool:
            assert self.process.poll() is None, self.log()[-3:]
            return self.turns().count(outcome) >= count

        eventually(came, timeout)

    def wait_for_more(self, count: int, outcome: str = PUSHED) -> None:
        """Return once `count` more turns than now had this outcome."""
        self.wait_for(self.turns().count(outcome) + count, outcome)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30) -> tuple[int, float]:
        """Send a signal and wait; the exit code, and how many seconds the end took."""
        self.process.send_signal(number)
        sent = time.monotonic()
        return self.process.wait(timeout), time.monotonic() - sent

    def holds(self) -> tuple[int, int, int]:
        """How many threads, open files and connections it has at this moment."""
        return self.seen.num_threads(), self.seen.num_fds(), len(self.seen.net_connections("all"))

    def connections_to(self, port: int) -> int:
        """How many TCP connections it has to this port at this moment."""
        peers = [connection.raddr for connection in self.seen.net_connections("tcp")]
        return sum(bool(peer) and peer.port == port for peer in peers)


def moment(line: dict[str, Any]) -> float:
    """The Unix time of a log line."""
    return datetime.fromisoformat(line["ts"].replace("Z", "+00:00")).timestamp()
