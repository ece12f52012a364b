"""Measure Flower's stall by requests to its `/healthcheck` every 20 ms.

Flower has one thread, so it answers no other request while it builds an answer. The requests come from a separate
process, because a thread of the benchmark could be delayed.
"""

import http.client
import select
import subprocess
import sys
import time
from types import TracebackType
from urllib.parse import urlsplit

EVERY = 0.02  # seconds
TIMEOUT = 300.0  # seconds


class Prober:
    """Context manager; `longest_wait` (seconds) is set at the end of its block."""

    def __init__(self, url: str) -> None:
        """Probe the Flower with this base URL."""
        self.longest_wait = 0.0
        self._url = url

    def __enter__(self) -> "Prober":
        """Start, and wait for the first answer."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, self._url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the prober gets no answer from {self._url}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last answer."""
        answer, _ = self._process.communicate(timeout=TIMEOUT)
        self.longest_wait = float(answer or "nan")


def probe(url: str) -> None:
    """Send requests until standard input is closed, then print the longest wait."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
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
    sent = time.monotonic()
    connection.request("GET", f"{prefix}/healthcheck")
    connection.getresponse().read()
    return time.monotonic() - sent


if __name__ == "__main__":
    probe(sys.argv[1])
