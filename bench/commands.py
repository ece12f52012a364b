"""The measured commands."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from push_job.metrics.extras import EXTRAS

SIMPLE_EXPORTER = Path(__file__).with_name("simple_exporter.py")

#: Imports the libraries of a push, which is the lower limit of a cold start.
IMPORTS = (sys.executable, "-c", "import requests, prometheus_client, click, msgspec")

#: All extras except `pools`, which bench/pools.py measures, and `totals`, which needs a state.
ALL_EXTRAS = tuple(name for name in EXTRAS if name not in ("pools", "totals"))

_DOWNLOAD = """
import sys, requests
for _ in requests.get(sys.argv[1], stream=True).iter_content(2**16): pass
"""


def push_job(flowers: Sequence[str], pushgateway: str, *options: str, job: str = "push-job") -> list[str]:
    """Return the installed `push-job push`."""
    each = [part for flower in flowers for part in ("--flower", flower)]
    program = str(Path(sys.executable).with_name("push-job"))
    return [program, "push", *each, "--pushgateway", pushgateway, "--job", job, *options]


def simple_exporter(flower: str, pushgateway: str, job: str = "simple") -> list[str]:
    """Return the simple exporter."""
    return [sys.executable, str(SIMPLE_EXPORTER), flower, pushgateway, job]


def download(flower: str) -> list[str]:
    """Return a command that downloads all tasks in one request and discards them."""
    url = f"{flower}/api/tasks"
    if shutil.which("curl"):
        return ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", url]
    return [sys.executable, "-c", _DOWNLOAD, url]
