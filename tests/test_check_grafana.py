"""`push-job check --grafana URL` against a fake of Grafana's API as of 9.4."""

import json

import pytest

from push_job.checks.grafana import DASHBOARDS
from testbed.command import ROOT, PushJob
from testbed.services import Pushgateway
from tests.fakes.http import Script, ScriptedServer, json_answer, status_answer
from tests.test_check_prometheus import crosses, steps

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


def check(push_job: PushJob, pushgateway: Pushgateway, answers: dict[str, Script], **env: str) -> tuple[int, str]:
    """Return exit code and output of a check with a healthy Flower."""
    flower = {"/api/workers": json_answer({"celery@a": True}), "/api/tasks": json_answer({})}
    with ScriptedServer(flower) as up, ScriptedServer({**HEALTHY, **answers}) as grafana:
        servers = ("--flower", up.url, "--pushgateway", pushgateway.url, "--grafana", grafana.url)
        done = push_job("check", *servers, "--job", "shop", env=env)
        if queries := [request.query for request in grafana.requests if request.path.endswith("query")]:
            assert all("shop" in query for query in queries)
        if env:
            assert {request.headers["authorization"] for request in grafana.requests} == {"Bearer t0k-9"}
    assert "Traceback" not in done.stderr
    assert "t0k-9" not in done.stdout + done.stderr
    return done.returncode, done.stdout


def test_a_healthy_server_means_exit_zero(push_job: PushJob, clean_pushgateway: Pushgateway) -> None:
    code, output = check(push_job, clean_pushgateway, {}, PUSH_JOB_GRAFANA_TOKEN="t0k-9")
    assert code == 0, output
    named = [("✓", "9.4.3"), *(("✓", uid) for uid in DASHBOARDS), ("✓", "Prometheus"), ("-", "Other")]
    found = [line for line in steps(output, "Grafana") if " port " not in line]
    for (mark, name), line in zip(named, found, strict=True):
        assert line.startswith(f"  {mark}")
        assert name in line
    assert "shop" in found[3]


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
    "nobody is signed in": (
        {"/api/dashboards/uid/celery-by-flower": refusal(401, "Unauthorized")},
        ["401", "--grafana-username"],
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


@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_problem_is_found_and_named(push_job: PushJob, clean_pushgateway: Pushgateway, problem: str) -> None:
    answers, words = PROBLEMS[problem]
    code, output = check(push_job, clean_pushgateway, answers)
    assert code == 1
    first = crosses(output, "Grafana")[0]
    for word in words:
        assert word in first


def test_a_viewers_token_may_not_list_data_sources(push_job: PushJob, clean_pushgateway: Pushgateway) -> None:
    code, output = check(push_job, clean_pushgateway, {"/api/datasources": refusal(403, "You'll need permissions")})
    assert code == 0
    assert steps(output, "Grafana")[-1].startswith("  - ")


ODD = (None, 7, "x\x1b[31m", [7], [{"type": "prometheus", "uid": [], "name": 7}], {"dashboard": {"title": ["\n"]}})


@pytest.mark.parametrize("odd", ODD)
def test_odd_answers_are_no_bug(push_job: PushJob, clean_pushgateway: Pushgateway, odd: object) -> None:
    paths = ("/api/datasources", query_of("prom%201"), *(f"/api/dashboards/uid/{uid}" for uid in DASHBOARDS))
    code, output = check(push_job, clean_pushgateway, {path: json_answer(odd) for path in paths})
    assert code == 1
    assert "\x1b" not in output
    assert len(steps(output, "Grafana")) >= 4
