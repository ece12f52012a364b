"""Steps of the check of a Grafana, against a fake of its API as of 9.4."""

import json

import pytest

from push_job.checks.grafana import DASHBOARDS, check_grafana
from push_job.checks.step import Step
from push_job.settings import Endpoint, Settings
from testbed.command import ROOT
from tests.fakes.http import Script, ScriptedServer, json_answer, status_answer

HEALTH = {"commit": "abc", "database": "ok", "version": "9.4.3"}
SOURCES = [
    {"uid": "other", "name": "Other", "type": "prometheus", "isDefault": False},
    {"uid": "loki", "name": "Loki", "type": "loki", "isDefault": False},
    {"uid": "prom 1", "name": "Prometheus", "type": "prometheus", "isDefault": True},
]


def vector(*values: str) -> Script:
    result = [{"metric": {}, "value": [1.7e9, value]} for value in values]
    return json_answer({"status": "success", "data": {"resultType": "vector", "result": result}})


def query_of(uid: str) -> str:
    return f"/api/datasources/proxy/uid/{uid}/api/v1/query"


def refusal(status: int, message: str) -> Script:
    return status_answer(status, json.dumps({"message": message}).encode(), {"Content-Type": "application/json"})


HEALTHY: dict[str, Script] = {
    "/api/health": json_answer(HEALTH),
    **{
        f"/api/dashboards/uid/{uid}": json_answer({"meta": {}, "dashboard": {"title": uid.title()}})
        for uid in DASHBOARDS
    },
    "/api/datasources": json_answer(SOURCES),
    query_of("prom%201"): vector("1"),
    query_of("other"): vector(),
}


def check(answers: dict[str, Script]) -> list[Step]:
    """Return the steps after the connection to a Grafana.

    The Grafana is healthy except for these answers.
    """
    with ScriptedServer({**HEALTHY, **answers}) as grafana:
        server = Endpoint.parse(grafana.url, "--grafana", {"token": "t0k-9"})
        settings = Settings((Endpoint("http://flower:5555"),), Endpoint("http://gateway:9091"), job="shop")
        found = list(check_grafana(server, settings))[1:]
        if queries := [request.query for request in grafana.requests if request.path.endswith("query")]:
            assert all("shop" in query for query in queries)
        assert {request.headers["authorization"] for request in grafana.requests} == {"Bearer t0k-9"}
    assert all("t0k-9" not in step.text and step.text.isprintable() for step in found)
    return found


def failures(answers: dict[str, Script]) -> list[str]:
    """Return the texts of the steps that fail."""
    return [step.text for step in check(answers) if step.passed is False]


def test_a_healthy_server_passes_every_step_and_another_data_source_is_a_note() -> None:
    named = [(True, "9.4.3"), *((True, uid) for uid in DASHBOARDS), (True, "Prometheus"), (None, "Other")]
    for (passed, name), step in zip(named, check({}), strict=True):
        assert step.passed is passed
        assert name in step.text


def test_the_dashboards_are_those_of_the_project() -> None:
    files = sorted((ROOT / "grafana/dashboards").glob("*.json"))
    assert sorted(json.loads(path.read_text())["uid"] for path in files) == sorted(DASHBOARDS)
    assert sorted(path.stem for path in files) == sorted(DASHBOARDS)


#: Answers of a Grafana with a problem, and words of the failed step.
PROBLEMS: dict[str, tuple[dict[str, Script], list[str]]] = {
    "a dashboard is missing": (
        {"/api/dashboards/uid/celery-by-flower-in-depth": refusal(404, "Dashboard not found")},
        ["grafana/dashboards/celery-by-flower-in-depth.json"],
    ),
    "the token is wrong": (
        {"/api/dashboards/uid/celery-by-flower": refusal(401, "Unauthorized")},
        ["401", "token"],
    ),
    "no data source": ({"/api/datasources": json_answer([])}, ["Prometheus"]),
    "the data source is down": (
        {query_of("prom%201"): refusal(502, "connection refused")},
        ["data source Prometheus", "502", "connection refused"],
    ),
    "the data source asks for a password": (
        {query_of("prom%201"): status_answer(401, b"Unauthorized")},
        ["data source Prometheus", "401"],
    ),
    "it has another Prometheus": ({query_of("prom%201"): vector()}, ["data source Prometheus", "shop"]),
    "another server": ({"/api/health": json_answer({"ok": True})}, ["/api/health"]),
    "a login page": ({"/api/health": status_answer(302, headers={"Location": "/login"})}, ["302"]),
    "a web page": ({"/api/health": status_answer(200, b"<html>")}, ["/api/health"]),
}


@pytest.mark.parametrize(("answers", "words"), PROBLEMS.values(), ids=PROBLEMS)
def test_each_problem_is_found_and_named(answers: dict[str, Script], words: list[str]) -> None:
    first = failures(answers)[0]
    for word in words:
        assert word in first


def test_without_a_source_that_has_the_groups_each_source_fails() -> None:
    assert len(failures({query_of("prom%201"): vector()})) == 2


def test_a_viewers_token_may_not_list_data_sources() -> None:
    found = check({"/api/datasources": refusal(403, "You'll need permissions")})
    assert [step.passed for step in found][-2:] == [True, None]


ODD = (None, 7, "x\x1b[31m", [7], [{"type": "prometheus", "uid": [], "name": 7}], {"dashboard": {"title": ["\n"]}})


@pytest.mark.parametrize("odd", ODD)
def test_unexpected_answers_are_failed_steps(odd: object) -> None:
    paths = ("/api/datasources", query_of("prom%201"), *(f"/api/dashboards/uid/{uid}" for uid in DASHBOARDS))
    found = check({path: json_answer(odd) for path in paths})
    assert any(step.passed is False for step in found)
    assert len(found) >= 4
