"""A process that runs cycles with state, as `push-job run` does, on request.

    python -m bench.cycle_process FLOWER PUSHGATEWAY JOB [EXTRA ...]

For each line on standard input it runs one cycle and prints its cost as JSON.
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

from push_job.job import Job
from push_job.metrics.families import SCRAPE_FULL
from push_job.settings import Endpoint, Settings


def main(flower: str, pushgateway: str, name: str, *extras: str) -> None:
    """Run one cycle per line."""
    servers = [Endpoint.parse(url, "a URL") for url in (flower, pushgateway)]
    job = Job(Settings((servers[0],), servers[1], name, extras=extras, full_every=86_400), keep_state=True)
    for _ in sys.stdin:
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        (outcome,) = job.push()
        seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF)
        if outcome.push_error or not outcome.scrape.snapshot:
            raise SystemExit(f"a cycle failed: {outcome.push_error or outcome.scrape.error}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        snapshot = outcome.scrape.snapshot
        full = any(family.name == SCRAPE_FULL.name and family.samples[0].value for family in snapshot.task_families)
        cost = {"seconds": seconds, "cpu": cpu, "memory": _peak(), "read": snapshot.tasks_read, "full": full}
        print(json.dumps(cost), flush=True)


def _peak() -> float:
    """Return the peak memory in MiB, without that of the parent (see launcher.py)."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
