"""Run `push-job` as a user would, in a process with a clean environment."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parent.parent

#: Interpreter that runs `push-job`, as `make test-lowest` sets it; otherwise that of the tests.
PYTHON = os.path.abspath(os.environ.get("TEST_PYTHON", sys.executable))


class PushJob(Protocol):
    """The type of `run_push_job` and of the fixture `push_job`."""

    def __call__(
        self, *args: str, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """See run_push_job."""


#: Variables that change connections or output of push-job: proxies, and colours in a pipe.
_FOREIGN_SETTINGS = frozenset(
    {"FLOWER_HOSTS_LIST", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
    | {"FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
)


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of push-job and its libraries."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PUSH_JOB_") and name.upper() not in _FOREIGN_SETTINGS
    }


def run_push_job(
    *args: str, env: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `python -m push_job ARGS` and return the finished process.

    Args:
        args: command line arguments.
        env: variables in addition to those of `clean_environment`.
        timeout: seconds after which subprocess.TimeoutExpired is raised.
    """
    return subprocess.run(
        [PYTHON, "-m", "push_job", *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**clean_environment(), **(env or {})},
        timeout=timeout,
        check=False,
    )
