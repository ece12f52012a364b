"""Processes that a test starts and ends."""

import contextlib
import subprocess
from collections.abc import Iterator

from testbed.command import clean_environment


@contextlib.contextmanager
def running(command: list[str], settings: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process with these variables beside the inherited ones; it is told to end with SIGTERM and waited for."""
    env = {**clean_environment(), **(settings or {})}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
