"""Processes that a test starts and stops."""

import contextlib
import subprocess
from collections.abc import Iterator

from testbed.command import clean_environment


@contextlib.contextmanager
def running(command: list[str], settings: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with additional variables; stop it with SIGTERM at the end."""
    env = {**clean_environment(), **(settings or {})}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
