"""The longest accepted page of Flower's own metrics fits into memory.

The limit is the memory limit of the container.
"""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from push_job.metrics.extras.own_metrics import LINES_LIMIT, PAGE_LIMIT
from testbed.command import ROOT, clean_environment
from testbed.services import Pushgateway
from tests.extras_answers import GOOD, METRICS, UNASKED, left_out
from tests.extras_reading import of_family, without_group_labels
from tests.fakes.http import ScriptedServer, answer, json_answer
from tests.faults.cycles import MEMORY_MIB

#: MiB of the container's memory that are not memory of the process.
SPARE = 16

WRAPPER = (
    "import resource, subprocess, sys\n"
    "done = subprocess.run(sys.argv[1:])\n"
    "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
)


def tasks(count: int) -> dict[str, dict[str, object]]:
    now = time.time()
    times = {"received": now - 9, "sent": now - 9, "started": now - 8, "succeeded": now, "timestamp": now}
    return {
        f"{number:08}-aaaa-bbbb-cccc-dddddddddddd": {
            "name": f"shop.{number % 40}",
            "state": "SUCCESS",
            "runtime": 2.5,
            **times,
        }
        for number in range(count)
    }


def as_flower_writes() -> Iterator[bytes]:
    """Yield samples of a histogram by worker and task without end."""
    number = 0
    while True:
        labels = f'task="shop.area_{number // 50 % 97}.step_{number // 50}",worker="celery@worker-{number % 50}"'
        for bound in ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"):
            yield f'flower_task_runtime_seconds_bucket{{le="{bound}",{labels}}} {number}.0\n'.encode()
        yield f"flower_task_runtime_seconds_count{{{labels}}} {number}.0\n".encode()
        yield f"flower_task_runtime_seconds_sum{{{labels}}} {number}.5\n".encode()
        number += 1


def page_of(size: int) -> bytes:
    """Return a page of this number of bytes."""
    lines = [METRICS, b"# TYPE flower_task_runtime_seconds histogram\n"]
    length = sum(map(len, lines))
    for line in as_flower_writes():
        if length + len(line) > size - 2:
            return b"".join(lines) + b"#" * (size - length - 1) + b"\n"
        lines.append(line)
        length += len(line)
    raise AssertionError("it has no end")


def page_of_short_lines(count: int) -> bytes:
    """Return a page of this number of lines, as many of them samples as possible."""
    heads = METRICS + b"# TYPE flower_short gauge\n"
    return heads + b"".join(b'flower_short{n="%d"} 1\n' % number for number in range(count - heads.count(b"\n")))


PAGES = {"bytes": (page_of, PAGE_LIMIT), "lines": (page_of_short_lines, LINES_LIMIT)}


def pushed_with(page: bytes, count: int, pushgateway: Pushgateway) -> tuple[float, str]:
    """Return the peak memory of a push with all extras in MiB, and its log."""
    answers = {**GOOD, "/api/tasks": json_answer(tasks(count)), "/metrics": answer(page)}
    with ScriptedServer(answers) as server:
        command = [sys.executable, "-m", "push_job", "push", "--flower", server.url, "--pushgateway", pushgateway.url]
        done = subprocess.run(
            [sys.executable, "-c", WRAPPER, *command, "--with", ",".join(UNASKED)],
            cwd=ROOT,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
    code, kilobytes = done.stdout.split()
    assert code == "0", done.stderr
    return int(kilobytes) / 1024, done.stderr


@pytest.mark.parametrize("limit", PAGES)
def test_at_the_limit_everything_is_pushed_within_the_containers_memory(
    clean_pushgateway: Pushgateway, limit: str
) -> None:
    make, most = PAGES[limit]
    memory, log = pushed_with(make(most), 100_000, clean_pushgateway)
    assert "warning" not in log
    samples = without_group_labels(clean_pushgateway.samples())
    assert left_out(samples) == set()
    assert len(of_family(samples, "flower_")) > 35_000
    assert memory < MEMORY_MIB - SPARE


@pytest.mark.parametrize("limit", PAGES)
def test_beyond_the_limit_the_page_is_left_out(clean_pushgateway: Pushgateway, limit: str) -> None:
    make, most = PAGES[limit]
    memory, log = pushed_with(make(most + 1), 1000, clean_pushgateway)
    assert left_out(without_group_labels(clean_pushgateway.samples())) == {"activity", "flower-metrics"}
    assert ("longer than 4 MiB" if limit == "bytes" else "more than 60,000 lines") in log
    assert memory < MEMORY_MIB - SPARE
