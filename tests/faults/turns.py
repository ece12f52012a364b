"""One turn of the job in this process, between servers that may misbehave."""

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
from push_job.metrics.registry import up_registry
from push_job.settings import Endpoint, Settings
from testbed.command import ROOT, clean_environment
from testbed.services import Pushgateway
from tests.fakes.http import Script, ScriptedServer, answer, json_answer, status_answer

WORKERS = json_answer({"celery@a": True})
TASKS = json_answer({"task-1": {"name": "shop.buy", "state": "SUCCESS", "runtime": 1.5, "timestamp": 1700000000.5}})
PUSHED = status_answer(200)

#: The container's memory, in cronjob/base.
CONTAINER_MIB = 128

Counts = dict[tuple[str, str], float]

#: Runs a command and tells its exit code and the most memory that it had, in KiB. (Of a process that pytest starts
#: itself, the kernel's answer would include what pytest has.)
_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""

#: Seconds after the deadline in which a turn must be over, on a busy machine too.
GRACE = 2.0


@dataclass(frozen=True)
class Cycle:
    """What came of a turn with one Flower, and how long it took."""

    outcome: Outcome
    seconds: float


def fake_flower(
    workers: Script | Sequence[Script] = WORKERS, tasks: Script | Sequence[Script] = TASKS, **kwargs: Any
) -> ScriptedServer:
    """A Flower with one task and one worker, but for what is said."""
    return ScriptedServer({"/api/workers": workers, "/api/tasks": tasks}, **kwargs)


def settings(flower: str, pushgateway: str, deadline: float = 10.0, timeout: float = 5.0, **changes: Any) -> Settings:
    """Settings for one Flower, with short times."""
    endpoints = [Endpoint.parse(url, option) for url, option in ((flower, "--flower"), (pushgateway, "--pushgateway"))]
    return Settings((endpoints[0],), endpoints[1], job="faults", deadline=deadline, timeout=timeout, **changes)


def one_turn(flower: str, pushgateway: str, **changes: Any) -> Cycle:
    """Scrape and push once; `changes` are those of `settings`."""
    job = Job(settings(flower, pushgateway, **changes))
    started = time.monotonic()
    (outcome,) = job.push()
    seconds = time.monotonic() - started
    job.close()
    return Cycle(outcome, seconds)


def group(pushgateway: Pushgateway, flower_url: str) -> Mapping[str, float]:
    """The samples of a Flower's group whose only labels are the group's, by name."""
    address = flower_url.partition("://")[2]
    samples = pushgateway.samples(instance=address)
    return {name: value for (name, labels), value in samples.items() if dict(labels).keys() <= {"job", "instance"}}


def is_down(pushgateway: Pushgateway, flower_url: str) -> bool:
    """Whether a Flower's group is `flower_up 0` and the job's own families, and no more."""
    names = {name for name, _ in pushgateway.samples(instance=flower_url.partition("://")[2])}
    own = {"flower_up", "flower_scrape_duration_seconds", "push_job_build_info"}
    by_pushgateway = {"push_time_seconds", "push_failure_time_seconds"}
    return names == own | by_pushgateway and group(pushgateway, flower_url)["flower_up"] == 0


def scraped(tasks: Script | bytes, workers: Script = WORKERS, **changes: Any) -> str:
    """What a push would send, or the reason why Flower is down after `down: `."""
    with fake_flower(workers, answer(tasks) if isinstance(tasks, bytes) else tasks) as flower:
        job = Job(settings(flower.url, flower.url, **changes))
        (scrape,) = job.scrape().values()
        job.close()
    if scrape.snapshot is None:
        return f"down: {scrape.error}"
    return generate_latest(up_registry(scrape.snapshot, scrape.seconds)).decode()


def samples(text: str, family: str) -> Iterator[tuple[dict[str, str], float]]:
    """A family's samples, where they are not 0."""
    for metric in text_string_to_metric_families(text):
        for sample in metric.samples:
            if sample.name == family and sample.value:
                yield sample.labels, sample.value


def counts(text: str) -> Counts:
    """The counts by task type and state, where they are not 0."""
    return {(labels["task_type"], labels["state"]): n for labels, n in samples(text, "celery_task_types_by_state")}


def most_memory(*arguments: str) -> tuple[int, float]:
    """Run push-job with these arguments; its exit code, and the most memory that it had in MiB."""
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
