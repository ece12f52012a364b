"""One turn of the job in this process, between servers that may misbehave."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from push_job.job import Job, Outcome
from push_job.settings import Credentials, Endpoint, Settings, Tls
from testbed.services import Pushgateway
from tests.fakes.http import Script, ScriptedServer, json_answer, status_answer

WORKERS = json_answer({"celery@a": True})
TASKS = json_answer({"task-1": {"name": "shop.buy", "state": "SUCCESS", "runtime": 1.5, "timestamp": 1700000000.5}})
PUSHED = status_answer(200)

#: Seconds after the deadline in which a turn must be over, on a busy machine too.
GRACE = 2.0


@dataclass(frozen=True)
class Turn:
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
    endpoints = [
        Endpoint.parse(url, option, Credentials(), Tls())
        for url, option in ((flower, "--flower"), (pushgateway, "--pushgateway"))
    ]
    return Settings((endpoints[0],), endpoints[1], job="faults", deadline=deadline, timeout=timeout, **changes)


def one_turn(flower: str, pushgateway: str, **changes: Any) -> Turn:
    """Scrape and push once; `changes` are those of `settings`."""
    job = Job(settings(flower, pushgateway, **changes))
    started = time.monotonic()
    (outcome,) = job.push()
    seconds = time.monotonic() - started
    job.close()
    return Turn(outcome, seconds)


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
