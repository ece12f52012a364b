"""`push-job check --grafana URL`: Grafana's API as of 9.4, spoken on a real socket, for none can be had here."""

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


WELL: dict[str, Script] = {
    "/api/health": json_answer(HEALTH),
    **{
        f"/api/dashboards/uid/{uid}": json_answer({"meta": {}, "dashboard": {"title": uid.title()}})
        for uid in DASHBOARDS
    },
    "/api/datasources": json_answer(SOURCES),
    query_of("prom%201"): vector("1"),
    query_of("other"): vector(),
}


def told(push_job: PushJob, pushgateway: Pushgateway, answers: dict[str, Script], **env: str) -> tuple[int, str]:
    """The exit code and what is printed with a Flower that is well."""
    flower = {"/api/workers": json_answer({"celery@a": True}), "/api/tasks": json_answer({})}
    with ScriptedServer(flower) as up, ScriptedServer({**WELL, **answers}) as grafana:
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
    code, output = told(push_job, clean_pushgateway, {}, PUSH_JOB_GRAFANA_TOKEN="t0k-9")
    assert code == 0, output
    assert [line for line in steps(output, "Grafana") if "port" not in line] == [
        "  ✓ it is Grafana, version 9.4.3",
        "  ✓ the dashboard celery-by-flower is there, Celery-By-Flower",
        "  ✓ the dashboard celery-by-flower-in-depth is there, Celery-By-Flower-In-Depth",
        "  ✓ its data source Prometheus answers, and has what job shop pushed",
        "  - its data source Other answers, but has nothing that job shop pushed: is it the Prometheus that scrapes the"
        " Pushgateway? try check --prometheus; choose another one in the dashboard",
    ]


def test_the_dashboards_are_those_of_the_project() -> None:
    files = sorted((ROOT / "grafana/dashboards").glob("*.json"))
    assert sorted(json.loads(path.read_text())["uid"] for path in files) == sorted(DASHBOARDS)
    assert sorted(path.stem for path in files) == sorted(DASHBOARDS)


#: What Grafana answers in the place of what it should, and the words for it.
PROBLEMS: dict[str, tuple[dict[str, Script], list[str]]] = {
    "a dashboard is missing": (
        {"/api/dashboards/uid/celery-by-flower-in-depth": refusal(404, "Dashboard not found")},
        ["import grafana/dashboards/celery-by-flower-in-depth.json"],
    ),
    "nobody is signed in": (
        {"/api/dashboards/uid/celery-by-flower": refusal(401, "Unauthorized")},
        ["401", "--grafana-username and a password or with a token"],
    ),
    "no data source": ({"/api/datasources": json_answer([])}, ["no data source of the type Prometheus"]),
    "the data source is down": (
        {query_of("prom%201"): refusal(502, "connection refused")},
        ["data source Prometheus does not work", "502", "connection refused"],
    ),
    "the data source asks for a password": (
        {query_of("prom%201"): status_answer(401, b"Unauthorized")},
        ["data source Prometheus does not work", "401", "see its settings in Grafana"],
    ),
    "it has another Prometheus": ({query_of("prom%201"): vector()}, ["has nothing that job shop pushed"]),
    "it is no Grafana": ({"/api/health": json_answer({"ok": True})}, ["is this one?"]),
    "its page of log-in": ({"/api/health": status_answer(302, headers={"Location": "/login"})}, ["a redirect"]),
    "a web page": ({"/api/health": status_answer(200, b"<html>")}, ["it is a web page, not JSON", "is this Grafana?"]),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_problem_is_found_and_named(push_job: PushJob, clean_pushgateway: Pushgateway, problem: str) -> None:
    answers, words = PROBLEMS[problem]
    code, output = told(push_job, clean_pushgateway, answers)
    assert code == 1
    first = crosses(output, "Grafana")[0]
    for word in words:
        assert word in first


def test_a_viewers_token_may_not_list_data_sources(push_job: PushJob, clean_pushgateway: Pushgateway) -> None:
    code, output = told(push_job, clean_pushgateway, {"/api/datasources": refusal(403, "You'll need permissions")})
    assert code == 0
    assert "  - its data sources cannot be tried" in output


ODD = (None, 7, "x\x1b[31m", [7], [{"type": "prometheus", "uid": [], "name": 7}], {"dashboard": {"title": ["\n"]}})


@pytest.mark.parametrize("odd", ODD)
def test_odd_answers_are_no_bug(push_job: PushJob, clean_pushgateway: Pushgateway, odd: object) -> None:
    paths = ("/api/datasources", query_of("prom%201"), *(f"/api/dashboards/uid/{uid}" for uid in DASHBOARDS))
    code, output = told(push_job, clean_pushgateway, {path: json_answer(odd) for path in paths})
    assert code == 1
    assert "\x1b" not in output
    assert len(steps(output, "Grafana")) >= 4
