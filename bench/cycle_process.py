"""Turns of one process that remembers, as `push-job run` makes them, each on a word from outside.

    python -m bench.turns FLOWER PUSHGATEWAY JOB [EXTRA ...]

Reads a line from standard input, does a turn, prints what it took as JSON; and so on until standard input ends.
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

from push_job.job import Job
from push_job.settings import Endpoint, Settings


def main(flower: str, pushgateway: str, name: str, *extras: str) -> None:
    """Do a turn a line."""
    servers = [Endpoint.parse(url, "a URL") for url in (flower, pushgateway)]
    job = Job(Settings((servers[0],), servers[1], name, extras=extras, full_every=86_400), keep_state=True)
    for _ in sys.stdin:
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        (outcome,) = job.push()
        seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF)
        if outcome.push_error or not outcome.scrape.snapshot:
            raise SystemExit(f"a turn failed: {outcome.push_error or outcome.scrape.error}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        cost = {"seconds": seconds, "cpu": cpu, "memory": _peak(), "read": outcome.scrape.snapshot.tasks_read}
        print(json.dumps(cost), flush=True)


def _peak() -> float:
    """The most MiB that the process has held. (`ru_maxrss` would be that of its parent, see launcher.py.)"""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
