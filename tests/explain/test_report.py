"""The report of `push-job explain`, as text and as JSON."""

import dataclasses
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from push_job.explain.diagnosis import Diagnosis
from push_job.explain.facts import Facts
from push_job.explain.model import Queue, Queues, TaskType
from push_job.explain.report import as_json, as_text
from push_job.explain.rules import findings_of
from push_job.flower.incremental.backoff import Backoff
from push_job.flower.incremental.list_order import ByStamp
from push_job.flower.incremental.state_file import StateFile
from push_job.flower.incremental.state_format import Saved
from push_job.flower.routing import Route
from push_job.settings import Endpoint
from push_job.terminal.formatting import format_duration, format_name, format_time
from testbed.command import PushJob
from tests.explain.made_up import ANSWER, NOW, facts, task, worker
from tests.fakes.http import Script, ScriptedServer, json_answer, status_answer
from tests.incremental.units.states import state_of

HOSTILE = ("\x1b[31mred", "line\nline", "\u202eto the left", "\u2028", "x" * 200, "{{ $a }}", "é" * 70, "\x00", "🛒")


def hostile_facts(names: list[str], url: str, task_id: str) -> Facts:
    """Return facts with every problem for workers, tasks and queues of these names."""
    tasks = [
        dataclasses.replace(task(state, 9000.0 + number, name), id=f"{task_id}{number}", route=Route("", name))
        for number, name in enumerate(names)
        for state in ("STARTED", "RECEIVED", "PENDING", "RETRY")
    ]
    workers = {name: worker(name, alive=False, last=60.0 + 60 * number) for number, name in enumerate(names)}
    kinds = {
        name: TaskType(
            name,
            {"FAILURE": 9, "SUCCESS": 9},
            last_success=NOW - 9000,
            last_failure=NOW - 9,
            first_failure=NOW - 900,
            failures_since_success=9,
            recent={"FAILURE": 9},
            exceptions={f"E{name}": 9},
            longest=1.0,
            interval=60.0,
        )
        for name in names
    }
    ids = frozenset(one.id for one in tasks)
    alive = worker("celery@a", active=2, answer=dataclasses.replace(ANSWER, running=ids, held=ids, processes=99.0))
    return dataclasses.replace(
        facts(*tasks),
        url=url,
        workers={**workers, "celery@a": alive},
        types=kinds,
        task_count=1000,
        queues=Queues(tuple(Queue(name, 7) for name in names)),
        unanswered={name: name for name in names},
    )


def diagnosed(names: list[str], url: str = "http://flower:5555/ops", task_id: str = "../?a=1#\x1b") -> Diagnosis:
    known = hostile_facts(names, url, task_id)
    return Diagnosis(Endpoint.parse(url.replace("://", "://ops:s3cr3t@"), "--flower"), known, findings_of(known))


@pytest.mark.parametrize("width", [40, 80, 100, 300])
@pytest.mark.parametrize("flowers", [1, 3])
def test_any_problems_fit_on_a_screen_of_printable_lines(
    width: int, flowers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    found = [diagnosed(list(HOSTILE), f"http://flower-{number}:5555/ops") for number in range(flowers)]
    lines = as_text(found, in_unicode=True).replace("\x1b[1m", "").replace("\x1b[31m✗\x1b[0m", "✗")
    lines = lines.replace("\x1b[0m", "")
    assert all(character.isprintable() or character == "\n" for character in lines)
    assert sum(-(-len(line) // width) for line in lines.splitlines()) <= 24
    total = sum(len(diagnosis.findings) for diagnosis in found)
    shown = sum(line.startswith(("✗ ", "x ")) for line in lines.splitlines())
    assert shown >= 1
    assert f"{total - shown:,} more" in lines.splitlines()[-1]
    assert "s3cr3t" not in lines


def test_the_order_of_flowers_answers_does_not_matter() -> None:
    shuffled = list(HOSTILE)
    random.Random(1).shuffle(shuffled)
    kinds = [finding.kind for finding in diagnosed(list(HOSTILE)).findings]
    assert [finding.kind for finding in diagnosed(shuffled).findings] == kinds


def test_a_link_has_the_prefix_and_the_quoted_id_unless_it_is_too_long() -> None:
    links = {finding.link for finding in diagnosed(["shop.a"]).findings if finding.kind == "stuck"}
    assert links == {"http://flower:5555/ops/task/..%2F%3Fa%3D1%23%1B0"}
    assert all(finding.link is None for finding in diagnosed(["shop.a"], task_id="x" * 201).findings)


def test_json_has_every_finding_with_its_level_and_no_secret() -> None:
    diagnosis = diagnosed([f"shop.{number}" for number in range(50)])
    report = json.loads(as_json([diagnosis]))
    assert report["well"] is False
    assert len(report["flowers"][0]["findings"]) == len(diagnosis.findings) > 50
    assert report["flowers"][0]["unknown"]
    assert "s3cr3t" not in str(report)


def test_only_the_first_findings_of_a_kind_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = as_text([diagnosed([f"shop.{number}" for number in range(50)])], in_unicode=False)
    assert sum(line.startswith("\x1b[31mx\x1b[0m No live worker consumes") for line in text.splitlines()) == 3


def test_three_problems_take_at_most_twenty_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    diagnosis = diagnosed(["shop.a"])
    for first in range(len(diagnosis.findings) - 2):
        three = dataclasses.replace(diagnosis, findings=diagnosis.findings[first : first + 3])
        assert len(as_text([three], in_unicode=True).splitlines()) <= 20


@pytest.mark.parametrize(
    ("changes", "well", "verdict"),
    [
        ({}, True, "no problem found ("),
        ({"has_sent_events": False}, True, "no problem found; not known: tasks in queues without a consumer"),
        (
            {"queues": Queues((Queue("night", 3),)), "has_sent_events": False},
            False,
            "1 problem found; not known: ",
        ),
    ],
)
def test_the_first_line_names_missing_information(changes: dict[str, Any], well: bool, verdict: str) -> None:
    known = facts(**changes)
    diagnosis = Diagnosis(Endpoint("http://f:1"), known, findings_of(known))
    [*_, headline] = [
        as_text([diagnosis], in_unicode=True).replace("\n", " ").replace("\x1b[0m", "").replace("\x1b[1m", "")
    ]
    assert verdict in headline
    assert ("not known" in headline) is bool(changes)
    assert json.loads(as_json([diagnosis]))["well"] is well


def test_a_shard_without_flowers_is_not_reported_as_healthy(push_job: PushJob) -> None:
    done = push_job("explain", "--flower", "http://127.0.0.1:9", "--shard", "1/2")
    assert done.returncode == 0
    assert "problem" not in done.stdout


def test_format_of_names_times_and_ages() -> None:
    assert format_name("a" * 60) == "a" * 60
    assert format_name("x" * 100 + ".tasks.send") == "…" + "x" * 48 + ".tasks.send"
    assert format_name("a\x1b[31m\n") == "a�[31m�"
    assert [format_duration(seconds) for seconds in (0.04, 3, 119, 120, 7200, 172_800)] == [
        *("0.0 s", "3 s", "119 s", "2 minutes", "2 hours", "2 days"),
    ]
    assert format_time(NOW + 60, NOW) == "00:01 UTC"
    assert format_time(NOW - 60, NOW) == "2026-11-24 23:59 UTC"
    assert format_time(1e18, NOW) == "an unknown time"


ODD: tuple[Any, ...] = (None, True, -1, 1.5, 10**400, "", "x\x1b", "\ud800", [], {}, [1], {"a": 1})


@pytest.mark.parametrize("odd", ODD)
def test_unexpected_answers_of_flower_are_ignored(push_job: PushJob, odd: object) -> None:
    old = time.time() - 9000
    fields = dict.fromkeys(
        ("received", "sent", "started", "worker", "routing_key", "exchange", "timestamp", "eta", "retries", "clock"),
        odd,
    )
    tasks: dict[str, Any] = {
        "sent": {"name": "shop.a", "state": "PENDING", "sent": old, "timestamp": old},
        "held": {"name": "shop.a", "state": "STARTED", "started": old, "timestamp": old, "worker": "celery@gone"},
        "failed": {"name": "shop.b", "state": "FAILURE", "failed": odd, "exception": odd, "traceback": odd},
        **{
            f"odd-{state}": {"name": odd, "state": state, **fields}
            for state in ("PENDING", "STARTED", "RECEIVED", "ODD")
        },
    }
    keys = ("heartbeats", "processed", "active", "freq", "clock", "pid", "worker-offline")
    rows = [{"hostname": name, **dict.fromkeys(keys, odd)} for name in ("celery@gone", "celery@a", odd)]
    queue = {"name": odd, "routing_key": odd, "exchange": odd}
    stats = {"pool": odd, "broker": odd, "total": odd, "uptime": odd}
    lists = {name: [odd] for name in ("active", "reserved", "scheduled")}
    asked = {"celery@a": {"active_queues": [odd, queue], "stats": stats, "timestamp": odd, **lists}}
    answers: dict[str, Script | list[Script]] = {
        "/api/workers": [json_answer({"celery@a": True, "celery@gone": False}), json_answer(asked)],
        "/api/tasks": json_answer(tasks),
        "/api/queues/length": json_answer(
            {"active_queues": [{"name": odd, "messages": 3, "consumers": odd, "vhost": odd}]}
        ),
        "/workers": json_answer({"data": rows}),
    }
    with ScriptedServer(answers) as server:
        done = push_job("explain", "--flower", server.url, "--format", "json")
    assert "bug in push-job" not in done.stdout
    links = [finding["link"] for finding in json.loads(done.stdout)["flowers"][0]["findings"]]
    assert f"{server.url}/task/held" in links


def test_the_reason_of_repeated_full_scrapes_comes_from_the_state_file(push_job: PushJob, tmp_path: Path) -> None:
    answers: dict[str, Script | list[Script]] = {"/api/workers": json_answer({}), "/api/tasks": json_answer({})}
    with ScriptedServer(answers) as server:
        state = state_of(ByStamp.name, {})
        state.incremental = Backoff(failures=3, reason="not all events of \x1b[31mred were found")
        StateFile(tmp_path / "state", server.url, "flower").save(Saved(state))
        content = (tmp_path / "state").read_bytes()
        arguments = ("--flower", server.url, "--state-file", str(tmp_path / "state"), "--format", "json")
        done = push_job("explain", *arguments)
    found = {finding["kind"]: finding["fact"] for finding in json.loads(done.stdout)["flowers"][0]["findings"]}
    assert "not all events of �[31mred were found" in found["full-scrapes"]
    assert (tmp_path / "state").read_bytes() == content


def test_a_state_file_that_cannot_be_used_does_not_hide_other_findings(push_job: PushJob, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("of another program")
    answers: dict[str, Script | list[Script]] = {"/api/workers": json_answer({}), "/api/tasks": json_answer({})}
    with ScriptedServer(answers) as server:
        done = push_job("explain", "--flower", server.url, "--state-file", str(tmp_path / "state"))
    assert "no worker" in done.stdout
    assert (done.returncode, done.stderr) == (1, "")


def test_refused_requests_are_reported(push_job: PushJob) -> None:
    ended = {"name": "shop.a", "state": "SUCCESS", "succeeded": time.time(), "timestamp": time.time(), "runtime": 1.0}
    answers: dict[str, Script | list[Script]] = {
        "/api/workers": json_answer({"celery@a": True}),
        "/api/tasks": json_answer({"1": {**ended, "sent": time.time()}}),
        "/workers": status_answer(403),
    }
    with ScriptedServer(answers) as server:
        done = push_job("explain", "--flower", server.url, "--format", "json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["well"]) == (0, True)
    assert {finding["kind"] for finding in report["flowers"][0]["findings"]} == {"not-answered", "queues-unknown"}
    assert report["flowers"][0]["unknown"]
