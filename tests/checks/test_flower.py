"""Steps of the check of a Flower, against a fake."""

import time
from collections.abc import Mapping
from email.utils import formatdate

import pytest
from prometheus_client.metrics_core import Metric

from push_job.checks.flower import check_flower
from push_job.settings import Endpoint, Settings
from tests.fakes.http import Script, ScriptedServer, json_answer, status_answer

Answers = Mapping[str, Script | list[Script]]

NOW = time.time()
LIVE: dict[str, Script] = {"/api/workers": json_answer({"celery@a": True})}


def rows(processed: int = 5, **headers: str) -> dict[str, Script]:
    """Return the page of workers with one worker."""
    row = {"hostname": "celery@a", "processed": processed, "heartbeats": [NOW], "status": True}
    return {"/workers": json_answer({"data": [row]}, headers=headers)}


def tasks(state: str = "SUCCESS", age: float = 60.0) -> dict[str, Script]:
    """Return an answer with one task whose newest event has this age."""
    return {"/api/tasks": json_answer({"a": {"name": "t", "state": state, "timestamp": NOW - age}})}


def marks(answers: Answers, extras: tuple[str, ...] = ()) -> tuple[list[bool | None], list[str]]:
    """Return marks and texts of the steps after the connection."""
    found: list[Metric] = []
    with ScriptedServer({**LIVE, **rows(), **tasks(), **answers}) as server:
        flower = Endpoint.parse(server.url, "--flower")
        settings = Settings((flower,), Endpoint("http://gateway:9091"), deadline=300.0, timeout=60.0, extras=extras)
        made = list(check_flower(flower, settings, found))[1:]
    return [step.passed for step in made], [step.text for step in made]


HEALTHY: list[bool | None] = [True] * 6


def test_a_healthy_flower_passes_every_step() -> None:
    assert marks({})[0] == HEALTHY


#: Answers with one problem each, the marks of the steps, and words of the step that is not passed.
CASES: dict[str, tuple[Answers, list[bool | None], list[str]]] = {
    "no page of workers": ({"/workers": status_answer(403)}, HEALTHY, []),
    "an older Flower": ({"/workers": status_answer(404), "/dashboard": json_answer({"data": []})}, HEALTHY, []),
    "no worker": ({"/api/workers": json_answer({})}, [True, True, True, False, True, True], ["worker"]),
    "dead workers": ({"/api/workers": json_answer({"a": False})}, [True, True, True, False, True, True], ["1"]),
    "old events": (tasks(age=4 * 3600), [*HEALTHY[:5], None], ["4 hours"]),
    "events of the future": (tasks(age=-7300), [*HEALTHY[:5], False], ["2 hours", "NTP"]),
    "events of senders only": (
        {"/api/tasks": [*tasks("PENDING").values(), json_answer({})]},  # no task in any other state
        [*HEALTHY[:5], False],
        ["-E"],
    ),
    "no events": ({"/api/tasks": json_answer({})}, [*HEALTHY[:5], False], ["-E", "5"]),
    "no events and no tasks": ({**rows(processed=0), "/api/tasks": json_answer({})}, [*HEALTHY[:5], None], []),
    "no events and no worker": (
        {**rows(processed=0), "/api/tasks": json_answer({}), "/api/workers": json_answer({})},
        [True, True, True, False, True, False],
        [],
    ),
    "no sign-in": ({"/api/workers": status_answer(401)}, [False], ["--flower-username"]),
    "another server": ({"/api/workers": json_answer([1])}, [False], ["/api/workers"]),
    "a page that cannot be read": ({"/api/tasks": status_answer(500)}, [*HEALTHY[:4], False], ["500"]),
}


@pytest.mark.parametrize(("answers", "expected", "words"), CASES.values(), ids=CASES)
def test_each_problem_is_the_step_that_is_not_passed(
    answers: Answers, expected: list[bool | None], words: list[str]
) -> None:
    found, texts = marks(answers)
    assert found == expected, texts
    problem = next((text for mark, text in zip(found, texts, strict=True) if mark is not True), "")
    for word in words:
        assert word in problem


@pytest.mark.parametrize(("seconds", "passed"), [(-45, False), (15, True), (120, False)])
def test_a_clock_that_is_off_is_a_step_of_its_own(seconds: float, passed: bool) -> None:
    date = formatdate(time.time() + seconds, usegmt=True)
    found, texts = marks(rows(Date=date))
    assert found == [True, True, passed, True, True, True]
    assert passed or "NTP" in texts[2]


@pytest.mark.parametrize(
    ("answer", "mark"),
    [(json_answer({"active_queues": [{"name": "celery", "messages": 4}]}), True), (status_answer(500), False)],
)
def test_each_extra_is_a_step(answer: Script, mark: bool) -> None:
    found, texts = marks({"/api/queues/length": answer}, ("queues", "runtimes"))
    assert found == [*HEALTHY, mark, True]
    assert "queues" in texts[-2]
    assert "runtimes" in texts[-1]


def test_terminal_escapes_of_a_server_are_escaped() -> None:
    _, texts = marks({"/api/tasks": status_answer(500, "boom \x1b[31m\x9b2J\u202e".encode())})
    assert "boom" in texts[-1]
    assert all(text.isprintable() for text in texts)
