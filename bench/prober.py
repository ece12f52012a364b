"""Asks Flower for its `/healthcheck` every 20 ms while something else is measured; the longest wait is its stall.

Flower is one thread: while it builds an answer for one reader it answers no other. The questions come from a process
of their own, because a thread of the benchmark could itself be held up.
"""

import http.client
import select
import subprocess
import sys
import time
from types import TracebackType
from urllib.parse import urlsplit

EVERY = 0.02  # seconds
PATIENCE = 300.0  # seconds


class Prober:
    """A context manager; `longest_wait` (seconds) is known once its block has ended."""

    def __init__(self, url: str) -> None:
        """`url` is Flower's base URL."""
        self.longest_wait = 0.0
        self._url = url

    def __enter__(self) -> "Prober":
        """Start, and return once the first question was answered."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, self._url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the prober cannot ask {self._url}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last answer."""
        answer, _ = self._process.communicate(timeout=PATIENCE)
        self.longest_wait = float(answer or "nan")


def probe(url: str) -> None:
    """Ask until standard input is closed, then print the longest wait for an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    _wait_for_answer(connection, parts.path)
    print("ready", flush=True)
    longest = 0.0
    pause = EVERY
    while not select.select([sys.stdin], [], [], pause)[0]:
        waited = _wait_for_answer(connection, parts.path)
        longest = max(longest, waited)
        pause = max(0.0, EVERY - waited)
    print(longest)


def _wait_for_answer(connection: http.client.HTTPConnection, prefix: str) -> float:
    asked = time.monotonic()
    connection.request("GET", f"{prefix}/healthcheck")
    connection.getresponse().read()
    return time.monotonic() - asked


if __name__ == "__main__":
    probe(sys.argv[1])
