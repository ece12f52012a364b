"""Steps of the check of a Prometheus, against a fake of its API."""

import time
from collections.abc import Mapping
from urllib.parse import unquote_plus

import pytest

from push_job.checks.alert_names import ALERT_NAMES
from push_job.checks.prometheus import check_prometheus
from push_job.checks.step import Step
from push_job.settings import Endpoint, Settings
from tests.fakes.http import Script, ScriptedServer, json_answer, status_answer

GROUP = {"job": "flower", "instance": "flower:5555"}


def data(found: object) -> Script:
    """Return a successful answer with these data."""
    return json_answer({"status": "success", "data": found})


def vector(*series: tuple[dict[str, str], float]) -> Script:
    """Return the answer to an instant query."""
    return data({"result": [{"metric": labels, "value": [0, str(value)]} for labels, value in series]})


NOTHING, SCRAPED, KEPT = vector(), vector(({"instance": "gateway:9091"}, 1.0)), vector((GROUP, 10.0))


def queries(
    scraped: Script = SCRAPED, kept: Script = KEPT, renamed: Script = NOTHING, refused: Script = NOTHING
) -> dict[str, Script | list[Script]]:
    """Return the answers to the four queries, in their order.

    By default, all answers are those of a healthy Prometheus.
    """
    return {"/api/v1/query": [scraped, kept, renamed, refused]}


def rules(*changes: Mapping[str, object]) -> dict[str, Script | list[Script]]:
    """Return all alerts of the project, with changes for the first ones."""
    found: list[dict[str, object]] = [
        {"name": name, "query": "flower_up == 0", "type": "alerting", "health": "ok", "state": "inactive"}
        for name in ALERT_NAMES
    ]
    for rule, change in zip(found, changes, strict=False):
        rule.update(change)
    return {"/api/v1/rules": data({"groups": [{"rules": found}]})}


HEALTHY: dict[str, Script | list[Script]] = {
    "/api/v1/status/buildinfo": data({"version": "2.42.0"}),
    "/api/v1/targets": data({"activeTargets": []}),
    **queries(),
    **rules(),
}


def check(answers: dict[str, Script | list[Script]], push_format: str = "protobuf", path: str = "") -> list[Step]:
    """Return the steps after the connection to a Prometheus.

    The Prometheus is healthy except for these answers.
    """
    with ScriptedServer({**HEALTHY, **answers}) as server:
        pushgateway = Endpoint.parse(f"{server.url}{path}" if path else "http://gateway:9091", "--pushgateway")
        settings = Settings((Endpoint("http://flower:5555"),), pushgateway, push_format=push_format)
        found = list(check_prometheus(Endpoint.parse(server.url, "--prometheus"), settings))[1:]
        queried = [unquote_plus(request.query) for request in server.requests if request.path == "/api/v1/query"]
    assert queried[3:] in ([], ['query=push_failure_time_seconds{job="flower"} > push_time_seconds'])
    assert all(step.text.isprintable() for step in found)
    return found


def test_a_healthy_server_passes_every_step() -> None:
    assert [step.passed for step in check({})] == [True] * 5


TARGET = {"scrapeUrl": "http://gateway:9091/metrics", "health": "down", "lastError": "connection refused"}
EXPORTED = {"exported_job": "flower", "exported_instance": "flower:5555", "job": "pushgateway", "instance": "g"}
FIRING = {
    "state": "firing",
    "alerts": [{"state": "firing", "labels": GROUP}, {"state": "pending", "labels": {"instance": "other:1"}}],
}

#: Answers with one problem each, the marks of the steps, and words of the first step that is not passed.
CASES: dict[str, tuple[dict[str, Script | list[Script]], list[bool | None], list[str]]] = {
    "no Pushgateway": (queries(scraped=NOTHING), [True, False, True, True], ["gateway:9091", "honor_labels"]),
    "a Pushgateway that is down": (
        {**queries(scraped=NOTHING), "/api/v1/targets": data({"activeTargets": [TARGET]})},
        [True, False, True, True],
        ["connection refused"],
    ),
    "a Pushgateway whose scrapes have not begun": (
        {**queries(scraped=NOTHING), "/api/v1/targets": data({"activeTargets": [{**TARGET, "health": "unknown"}]})},
        [True, False, True, True],
        ["it scrapes no Pushgateway"],
    ),
    "another target is down": (
        {
            **queries(scraped=NOTHING),
            "/api/v1/targets": data({"activeTargets": [{**TARGET, "scrapeUrl": "http://other:1/metrics"}]}),
        },
        [True, False, True, True],
        ["it scrapes no Pushgateway"],
    ),
    "renamed labels": (
        queries(kept=NOTHING, renamed=vector((EXPORTED, 10.0))),
        [True, True, False, True, True],
        ["exported_job", "honor_labels"],
    ),
    "an old group": (queries(kept=vector((GROUP, 301.0))), [True, True, False, True, True], ["5 minutes"]),
    "no group": (queries(kept=NOTHING), [True, True, False, True, True], ["--job"]),
    "the group of another Flower": (
        queries(kept=vector(({**GROUP, "instance": "other:1"}, 10.0))),
        [True, True, False, True, True],
        ["other:1", "--flower"],
    ),
    "a rejected push": (
        queries(refused=vector((GROUP, time.time()))),
        [True, True, True, False, True, True],
        ["rejected"],
    ),
    "no alerts": ({"/api/v1/rules": data({"groups": []})}, [True, True, True, False], ["prometheus/rules/"]),
    "an alert that fires": (
        rules(FIRING),
        [True, True, True, True, None],
        [f'{ALERT_NAMES[0]} (instance="flower:5555")'],
    ),
    "a broken alert": (
        rules({"health": "err", "lastError": "duplicate series"}),
        [True, True, True, True, True, False],
        [ALERT_NAMES[0], "duplicate series"],
    ),
    "a broken recording rule": (
        rules({"health": "err", "type": "recording", "name": "own:rule"}),
        [True, True, True, True, True, False, None],
        ["own:rule", "never fire"],
    ),
    "a missing alert": (rules({"name": "Own"}), [True, True, True, True, True, None], [ALERT_NAMES[0]]),
    "a sign-in is missing": ({"/api/v1/status/buildinfo": status_answer(401)}, [False], ["--prometheus-username"]),
    "another server": ({"/api/v1/status/buildinfo": status_answer(404)}, [False], ["404"]),
    "another API": ({"/api/v1/status/buildinfo": json_answer({"status": "ok"})}, [False], ["Prometheus"]),
}


@pytest.mark.parametrize(("answers", "marks", "words"), CASES.values(), ids=CASES)
def test_each_problem_is_the_step_that_is_not_passed(
    answers: dict[str, Script | list[Script]], marks: list[bool | None], words: list[str]
) -> None:
    found = check(answers)
    assert [step.passed for step in found] == marks, found
    problem = next(step.text for step in found if step.passed is not True)
    for word in words:
        assert word in problem


def test_at_most_five_broken_rules_have_a_step_each() -> None:
    broken = check(rules(*[{"health": "err"}] * 7))
    assert sum(step.passed is False for step in broken) == 6


def test_a_server_that_receives_pushes_need_not_scrape() -> None:
    unscraped = queries(scraped=NOTHING)
    assert check(unscraped, "text", "/api/v1/import/prometheus")[1].passed is True
    assert check(unscraped, "protobuf", "/api/v1/import/prometheus")[1].passed is False
    assert check(unscraped, "text", "")[1].passed is False
