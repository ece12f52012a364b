"""Extras of tasks and pools accept answers of any type and size.

No real Flower gives these answers.
"""

import contextlib
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from push_job.metrics.extras.failures import MOST_CLASSES
from push_job.metrics.extras.known_workers import pool_size
from testbed.command import PushJob
from testbed.services import Pushgateway
from tests.extras_answers import GOOD, pushed
from tests.extras_reading import of_family
from tests.fakes.http import Script, ScriptedServer, json_answer
from tests.independent import key

OLDEST = "celery_task_oldest_seconds"
FAILURES = "celery_task_failures"

ODD: tuple[Any, ...] = (None, True, -1, 0, 1.5, 10**400, 1e308, "", "x", "\ud800", [], {}, [1], {"a": 1}, "2026-01-01")


def test_odd_answers_of_workers_are_left_out(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    """Each answer is that of a Flower of its own, all in one push."""
    asked: list[Any] = []
    for odd in ODD:
        workers = {
            "celery@a": {"stats": {"pool": {"max-concurrency": odd}}, "active_queues": [{"name": odd}, odd]},
            "celery@b": {"stats": odd, "active_queues": odd},
            "celery@c": {"stats": {"pool": odd}},
        }
        asked += [workers, {"celery@a": odd}, odd]
    alive = json_answer(dict.fromkeys(("celery@a", "celery@b", "celery@c"), True))
    with contextlib.ExitStack() as servers:
        urls = []
        for answered in asked:
            # The list of workers comes twice, then the answers that Flower keeps, then the workers' answers.
            given = [alive, alive, json_answer({}), json_answer(answered)]
            answers: dict[str, Script | list[Script]] = {**GOOD, "/api/workers": given}
            urls.append(servers.enter_context(ScriptedServer(answers)).url)
        done = push_job(
            "push", *(f"--flower={url}" for url in urls), "--with=pools", f"--pushgateway={clean_pushgateway.url}"
        )
        assert done.returncode == 0, done.stderr
    assert "mistake" not in done.stderr
    told: Counter[str] = Counter()
    for (name, _), value in clean_pushgateway.samples().items():
        told[name] += int(value)
    assert told["flower_up"] == len(urls) == 3 * len(ODD)
    assert told["celery_workers"] == 3 * len(urls)
    # The others are not answers of Flower: the extra is left out.
    readable = [answers for answers in asked if isinstance(answers, dict) and all(map(is_object, answers.values()))]
    assert told["flower_scrape_extra_success"] == len(readable) > len(ODD)


POOL = {"max-concurrency": 2, "processes": [11, 12]}


@pytest.mark.parametrize(
    ("stats", "size"),
    [
        ({"pool": POOL}, 2),
        ({"pool": POOL, "autoscaler": {"max": 6, "min": 2, "current": 2}}, 6),
        ({"pool": {**POOL, "processes": [11, 12, 13, 14]}}, 4),
        ({"pool": {**POOL, "processes": [11]}}, 2),  # one of them is being replaced
        ({"pool": {"max-concurrency": 50}}, 50),
        ({"pool": {**POOL, "processes": 7}, "autoscaler": [9]}, 2),
        ({"pool": {"processes": [11]}, "autoscaler": {"max": 6}}, None),
        ({"autoscaler": {"max": 6}}, None),
    ],
)
def test_a_pool_counts_with_its_largest_size(stats: dict[str, Any], size: float | None) -> None:
    assert pool_size({"stats": stats}) == size


def test_consumers_are_absent_while_a_live_worker_has_not_named_its_queues(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    alive = json_answer({"celery@a": True, "celery@silent": True, "celery@gone": False})
    told = {"celery@a": {"stats": {"pool": POOL}, "active_queues": [{"name": "celery"}]}}
    silent: tuple[dict[str, Any], ...] = ({}, {"celery@silent": {}}, {"celery@silent": {"active_queues": []}})
    for more in silent:
        answers: dict[str, Script | list[Script]] = {
            **GOOD,
            "/api/workers": [alive, alive, json_answer({}), json_answer({**told, **more})],
        }
        with ScriptedServer(answers) as server:
            to = clean_pushgateway.url
            done = push_job("push", "--flower", server.url, "--with", "pools", "--pushgateway", to)
        assert done.returncode == 0, done.stderr
        samples = clean_pushgateway.samples(instance=server.url.removeprefix("http://"))
        assert list(of_family(samples, "celery_worker_pool_processes").values()) == [2]
        assert bool(of_family(samples, "celery_queue_consumers")) == (more is silent[-1])


@pytest.mark.parametrize(
    ("ages", "asked"),
    [
        ({"celery@a": 10, "celery@b": 200}, False),
        ({"celery@a": 10, "celery@b": 400}, False),
        ({"celery@a": 200, "celery@b": 400}, True),
        ({"celery@a": 10}, False),
        ({"celery@a": 100}, True),
        ({"celery@a": 100, "celery@b": 200, "celery@gone": 9000}, False),
        ({}, True),
    ],
    ids=["new", "one that does not reply", "old", "just asked", "a new worker", "a worker that went", "none"],
)
def test_workers_are_asked_for_their_pools_every_five_minutes(
    ages: dict[str, float], asked: bool, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    alive = json_answer({"celery@a": True, "celery@b": True, "celery@gone": False})
    replies = {worker: {"stats": {"pool": POOL}, "timestamp": time.time() - age} for worker, age in ages.items()}
    given = [alive, alive, json_answer(replies), json_answer({})]
    with ScriptedServer({**GOOD, "/api/workers": given}) as server:
        done = push_job("push", "--flower", server.url, "--with", "pools", "--pushgateway", clean_pushgateway.url)
        assert done.returncode == 0, done.stderr
        assert server.paths().count("/api/workers") == (4 if asked else 3)


def is_object(value: object) -> bool:
    return isinstance(value, dict)


def failed_tasks(classes: int) -> dict[str, Any]:
    """Return one failure of each class, and two of class 0."""
    tasks = {
        str(number): {"name": "shop.a", "state": "FAILURE", "exception": f"E{number}()", "failed": 1e9 + number}
        for number in range(classes)
    }
    return {**tasks, "twice": {**tasks["0"]}, "a": {"name": "shop.a", "state": "SUCCESS", "runtime": 2}}


@pytest.mark.parametrize("classes", [MOST_CLASSES, MOST_CLASSES + 1, 3 * MOST_CLASSES])
def test_the_rarest_classes_are_summed_as_other(
    clean_pushgateway: Pushgateway, push_job: PushJob, classes: int
) -> None:
    answers = {"/api/tasks": json_answer(failed_tasks(classes))}
    with pushed(push_job, clean_pushgateway, answers) as (samples, warnings):
        assert warnings == []
    failures = {sample: value for sample, value in samples.items() if sample[0] == FAILURES}
    assert len(failures) == min(classes, MOST_CLASSES)
    assert sum(failures.values()) == classes + 1
    assert failures[key(FAILURES, name="shop.a", exception="E0")] == 2
    other = failures.get(key(FAILURES, name="shop.a", exception="other"), 0)
    assert other == (classes - MOST_CLASSES + 1 if classes > MOST_CLASSES else 0)


def test_any_type_in_any_field_is_no_bug(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    fields = ("received", "sent", "started", "retried", "succeeded", "failed", "eta", "exception", "timestamp")
    tasks: dict[str, Any] = {"a": {"name": "shop.a", "state": "SUCCESS", "runtime": 2}}
    states: tuple[Any, ...] = ("PENDING", "RECEIVED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "ODD", 7, None, [])
    for state in states:
        for place, value in enumerate(ODD):
            # Each field alone is odd, and then all of them.
            tasks |= {
                f"{state}-{place}-{field}": {
                    "name": "shop.b",
                    "state": state,
                    **dict.fromkeys(fields, 1e9),
                    field: value,
                }
                for field in fields
            }
            tasks[f"{state}-{place}"] = {"name": value, "state": state, **dict.fromkeys(fields, value)}
    with pushed(push_job, clean_pushgateway, {"/api/tasks": json_answer(tasks)}) as (samples, warnings):
        assert warnings == []
    assert of_family(samples, OLDEST)
    assert all(value >= 0 for value in of_family(samples, "celery_task_").values())


def test_there_is_no_age_before_the_eta(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    later = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
    tasks = {
        "a": {"name": "shop.a", "state": "SUCCESS", "runtime": 2},
        "b": {"name": "shop.b", "state": "RECEIVED", "received": time.time() - 100, "eta": later},
    }
    with pushed(push_job, clean_pushgateway, {"/api/tasks": json_answer(tasks)}) as (samples, _):
        assert of_family(samples, OLDEST) == {key(OLDEST, name="shop.b", state="RECEIVED"): 0}
