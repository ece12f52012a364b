"""Run one cycle of the job in this process, between servers that may misbehave."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from push_job.cycle import Outcome
from push_job.job import Job
from push_job.metrics.registry import push_registry
from push_job.settings import Endpoint, Settings
from testbed.command import ROOT, clean_environment
from testbed.services import Pushgateway
from tests.fakes.http import Script, ScriptedServer, answer, json_answer, status_answer

WORKERS = json_answer({"celery@a": True})
TASKS = json_answer({"task-1": {"name": "shop.buy", "state": "SUCCESS", "runtime": 1.5, "timestamp": 1700000000.5}})
PUSHED = status_answer(200)

#: Memory that a run may take at most with a hostile answer, in MiB; less than the limit of the container.
MEMORY_MIB = 128

Counts = dict[tuple[str, str], float]

#: Runs a command and prints its exit code and its peak memory in KiB. It is a process in between, because the kernel
#: counts the memory of pytest for a process that pytest starts.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""

#: Seconds of a test's deadline: enough to push `flower_up 0` in its last fifth on a machine with a load of 30.
DEADLINE = 5.0

#: Settings with that deadline; a request times out before it.
SHORT: dict[str, Any] = {"deadline": DEADLINE, "timeout": 3.0}

#: Seconds after the deadline within which a cycle must be over on such a machine. Servers that never finish would take
#: a minute or longer.
GRACE = 20.0


@dataclass(frozen=True)
class CycleResult:
    """The outcome of a cycle with one Flower, and its duration in seconds."""

    outcome: Outcome
    seconds: float


def fake_flower(
    workers: Script | Sequence[Script] = WORKERS, tasks: Script | Sequence[Script] = TASKS, **kwargs: Any
) -> ScriptedServer:
    """Return a Flower with one task and one worker, except for the given answers."""
    return ScriptedServer({"/api/workers": workers, "/api/tasks": tasks}, **kwargs)


def settings(flower: str, pushgateway: str, deadline: float = 60.0, timeout: float = 30.0, **changes: Any) -> Settings:
    """Return settings for one Flower."""
    endpoints = [Endpoint.parse(url, option) for url, option in ((flower, "--flower"), (pushgateway, "--pushgateway"))]
    return Settings((endpoints[0],), endpoints[1], job="faults", deadline=deadline, timeout=timeout, **changes)


def run_cycle(flower: str, pushgateway: str, **changes: Any) -> CycleResult:
    """Scrape and push once; `changes` are those of `settings`."""
    job = Job(settings(flower, pushgateway, **changes))
    started = time.monotonic()
    (outcome,) = job.push()
    seconds = time.monotonic() - started
    job.close()
    return CycleResult(outcome, seconds)


def group(pushgateway: Pushgateway, flower_url: str) -> Mapping[str, float]:
    """Return the samples of a Flower's group by name, without those with own labels."""
    address = flower_url.partition("://")[2]
    samples = pushgateway.samples(instance=address)
    return {name: value for (name, labels), value in samples.items() if dict(labels).keys() <= {"job", "instance"}}


def is_down(pushgateway: Pushgateway, flower_url: str) -> bool:
    """Return whether a Flower's group says that the Flower is down.

    Such a group holds `flower_up 0` and the job's other families, and nothing else.
    """
    names = {name for name, _ in pushgateway.samples(instance=flower_url.partition("://")[2])}
    own = {"flower_up", "flower_scrape_duration_seconds", "push_job_build_info"}
    by_pushgateway = {"push_time_seconds", "push_failure_time_seconds"}
    of_a_loop = {"push_job_max_age_seconds"}
    return names - of_a_loop == own | by_pushgateway and group(pushgateway, flower_url)["flower_up"] == 0


def scraped(tasks: Script | bytes, workers: Script = WORKERS, **changes: Any) -> str:
    """Return the text of a push; ``down:`` and the error if Flower cannot be scraped."""
    with fake_flower(workers, answer(tasks) if isinstance(tasks, bytes) else tasks) as flower:
        job = Job(settings(flower.url, flower.url, **changes))
        (scrape,) = job.scrape().values()
        job.close()
    if scrape.snapshot is None:
        return f"down: {scrape.error}"
    return generate_latest(push_registry(scrape.snapshot, scrape.seconds)).decode()


def samples(text: str, family: str) -> Iterator[tuple[dict[str, str], float]]:
    """Yield labels and value of a family's samples that are not 0."""
    for metric in text_string_to_metric_families(text):
        for sample in metric.samples:
            if sample.name == family and sample.value:
                yield sample.labels, sample.value


def counts(text: str) -> Counts:
    """Return the counts that are not 0, by task type and state."""
    return {(labels["task_type"], labels["state"]): n for labels, n in samples(text, "celery_task_types_by_state")}


def peak_memory(*arguments: str) -> tuple[int, float]:
    """Run push-job with these arguments; return exit code and peak memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, sys.executable, "-m", "push_job", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=clean_environment(),
    )
    exit_code, kib = done.stdout.split()
    return int(exit_code), int(kib) / 1024
