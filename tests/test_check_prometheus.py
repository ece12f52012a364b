"""`push-job check --prometheus URL` on real Prometheus servers."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from push_job.checks.alert_names import ALERT_NAMES
from push_job.checks.prometheus import rules_of_ours
from testbed.command import ROOT, PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Prometheus, Pushgateway, Redis, Testbed
from testbed.web import Client
from tests.fakes.http import Script, ScriptedServer, answer, json_answer, status_answer
from tests.independent import eventually

RULES = sorted((ROOT / "prometheus/rules").glob("*.yml"))


@pytest.fixture(scope="module")
def pushed(redis: Redis, flower: Flower, pushgateway: Pushgateway, push_job: PushJob) -> list[str]:
    """Options of a push that was just made, of a Flower with a live worker."""
    with TaskEvents(redis.url) as events:
        events.worker("celery@wall", freq=600.0)
        events.send("task-received", uuid="wall", name="shop.wall", hostname="celery@wall")
    flower.wait_for_task("wall", "RECEIVED")
    options = ["--flower", flower.url, "--pushgateway", pushgateway.url, "--grouping", 'team=a"b\\c', "--job", "wall's"]
    pushgateway.wipe()
    assert push_job("push", *options).returncode == 0
    return options


@dataclass(frozen=True)
class Servers:
    """Prometheus servers: a healthy one, and others with one problem each.

    The healthy one has the project's rules.
    """

    healthy: Prometheus
    without_honor_labels: Prometheus
    elsewhere: Prometheus
    cut_off: Prometheus
    of_the_past: Prometheus
    in_part: Prometheus
    broken: Prometheus


class Gone:
    """A Pushgateway where nothing listens."""

    url = "http://127.0.0.1:9"


#: Labels of groups that were last pushed two hours ago, and of one that was just pushed.
REMOVED = ('instance="old:5555",job="flower",team="b"', *(f'instance="old-{n}:5555",job="gone"' for n in range(4)))
FRESH = 'instance="127.0.0.1:9",job="flower",team="a"'


def text_of(group: str, at: float) -> str:
    """Return a Pushgateway's text for a group that was last pushed at this Unix time."""
    return f'push_time_seconds{{{group}}} {at}\nflower_up{{{group}}} 1\npush_job_build_info{{{group},version="1"}} 1\n'


def rule_file(path: Path, *rules: dict[str, str]) -> Path:
    path.write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": list(rules)}]}))
    return path


def broken(query: str) -> str:
    """Return a query that matches several families, so that its evaluation fails."""
    return f'{query} * on () {{__name__=~"flower_.+"}}'


@pytest.fixture(scope="module")
def servers(
    testbed: Testbed, pushgateway: Pushgateway, pushed: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    """Start all servers before waiting for any.

    Each needs five seconds until its first scrape.
    """
    instance = pushed[1].removeprefix("http://")
    past = time.time() - 2 * 3600
    # A Pushgateway sets the time of a push itself, so the text of two hours ago is served by a fake.
    groups = [f'instance="{instance}",job="flower"', *REMOVED]
    text = f"pushgateway_build_info 1\npush_failure_time_seconds{{{groups[0]}}} {past + 60}\n"
    text += "".join(text_of(group, past) for group in groups) + text_of(FRESH, time.time())
    folder = tmp_path_factory.mktemp("rules")
    [stale] = [rule for rule in rules_of("push.yml") if rule.get("alert") == "FlowerPushStale"]
    at_once = rule_file(
        folder / "at_once.yml",
        {"alert": stale["alert"], "expr": stale["expr"]},
        {"alert": "OwnWithoutInstance", "expr": "count(flower_up) > 0"},
        {"alert": "OwnWithoutJob", "expr": 'count by (instance, team) (flower_up{team="b"})'},
        {"alert": "OwnIsPending", "expr": "flower_up", "for": "1h"},
    )
    defective = rule_file(
        folder / "defective.yml",
        {"record": "instance:celery_workers:sum", "expr": broken("celery_workers")},
        {"alert": "CeleryNoWorkers", "expr": "instance:celery_workers:sum == 0"},
        {"record": "own:runtimes:count", "expr": "count(celery_task_runtime_seconds_bucket) or vector(1)"},
        {"record": "own:runtimes:twice", "expr": "2 * own:runtimes:count"},
        {"alert": "OwnSlow", "expr": broken("own:runtimes:twice")},
        *({"alert": f"OwnBroken{n}", "expr": broken("flower_up")} for n in range(4)),
        {"record": "foreign:broken", "expr": broken("vector(1)")},
    )
    with ScriptedServer({"/metrics": answer(text.encode(), headers={"Content-Type": "text/plain"})}) as old:
        healthy = testbed.prometheus(pushgateway, RULES)
        found = Servers(
            healthy,
            testbed.prometheus(pushgateway, honor_labels=False),
            testbed.prometheus(healthy, RULES),
            testbed.prometheus(Gone(), RULES),
            testbed.prometheus(old, [at_once]),
            testbed.prometheus(pushgateway, [ROOT / "prometheus/rules/push.yml"]),
            testbed.prometheus(pushgateway, [defective]),
        )
        for server in set(vars(found).values()) - {found.cut_off}:
            server.wait_for_scrape()
        eventually(lambda: bool(found.cut_off.query('up{job="pushgateway"} == 0')))
        eventually(lambda: len(found.of_the_past.query('ALERTS{alertstate="firing"}')) == len(groups) + 2)
        eventually(lambda: health(found.broken) == ["err", "ok", "ok", "ok", *["err"] * 6])
        yield found
        for server in vars(found).values():
            server.kill()


def health(server: Prometheus) -> list[str]:
    """Return the health of each rule; rules are evaluated every second."""
    data = Client().get_json(f"{server.url}/api/v1/rules")["data"]
    return [rule["health"] for group in data["groups"] for rule in group["rules"]]


@pytest.fixture
def healthy(servers: Servers) -> Prometheus:
    return servers.healthy


def steps(output: str, server: str = "Prometheus") -> list[str]:
    """Return the steps of this server."""
    return re.split(r"\n(?=\w)", output.partition(f"\n{server} ")[2])[0].splitlines()[1:]


def crosses(output: str, server: str = "Prometheus") -> list[str]:
    return [line for line in steps(output, server) if line.startswith("  ✗")]


def test_a_healthy_server_means_exit_zero(healthy: Prometheus, pushed: list[str], push_job: PushJob) -> None:
    done = push_job("check", *pushed, "--prometheus", healthy.url)
    assert done.returncode == 0, done.stdout
    found = steps(done.stdout)
    assert all(line.startswith("  ✓") for line in found)
    text = "\n".join(found)
    assert re.search(r"job=\"wall's\", instance=\"127.0.0.1:\d+\", team=", text)
    assert f" {len(our_alerts())} alerts" in text


def our_alerts() -> list[str]:
    """Return all alerts except the one on a metric of the Pushgateway itself."""
    return [rule["alert"] for rule in all_rules() if rule.get("alert", "PushgatewayDown") != "PushgatewayDown"]


def all_rules() -> list[dict[str, str]]:
    return [rule for path in RULES for rule in rules_of(path.name)]


def rules_of(name: str) -> list[dict[str, str]]:
    groups = yaml.safe_load((ROOT / "prometheus/rules" / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_rule_of_the_project_is_recognized() -> None:
    foreign = {"name": "Foreign", "query": "celery_workers_of_another == 0", "type": "alerting"}
    as_listed = [
        {
            "name": rule.get("alert") or rule["record"],
            "query": rule["expr"],
            "type": "alerting" if "alert" in rule else "recording",
        }
        for rule in all_rules()
    ]
    found = rules_of_ours([*as_listed, foreign])
    assert sorted(rule["name"] for rule in found if rule["type"] == "alerting") == sorted(our_alerts())
    assert [rule for rule in as_listed if rule["type"] == "recording" and rule not in found] == []


def test_the_names_of_the_alerts_are_those_in_the_rules() -> None:
    assert list(ALERT_NAMES) == [rule["alert"] for rule in all_rules() if "alert" in rule]


def test_missing_alerts_are_named_but_no_failure(servers: Servers, pushed: list[str], push_job: PushJob) -> None:
    done = push_job("check", *pushed, "--prometheus", servers.in_part.url)
    assert done.returncode == 0, done.stdout
    assert any(line.startswith("  ✓") and " 6 alerts" in line for line in steps(done.stdout))
    [note] = [line for line in steps(done.stdout) if line.startswith("  -")]
    first = "CeleryNoWorkers, CeleryWorkerWentAway, CeleryFailureRatioHigh, CeleryTasksWaitTooLong"
    assert first in note
    assert note.endswith(f" and {len(ALERT_NAMES) - 7 - 5} more")
    assert "PushgatewayDown" not in note


def test_a_rule_that_cannot_be_evaluated_is_found(servers: Servers, pushed: list[str], push_job: PushJob) -> None:
    done = push_job("check", *pushed, "--prometheus", servers.broken.url)
    assert done.returncode == 1
    assert any(line.startswith("  ✓") and " 6 alerts" in line for line in steps(done.stdout))
    recording, alert, _, _, _, others = crosses(done.stdout)
    why = "found duplicate series for the match group"
    for line, name in ((recording, "recording rule instance:celery_workers:sum "), (alert, "alert OwnBroken0 ")):
        assert name in line
        assert why in line
    # It is the last one, because it uses a recording rule that uses another one.
    assert others.endswith(" OwnSlow")


def test_a_firing_alert_is_reported_with_its_groups(servers: Servers, pushed: list[str], push_job: PushJob) -> None:
    there = ("--flower", Gone.url, "--pushgateway", pushed[3], "--grouping", "team=a")
    done = push_job("check", *there, "--prometheus", servers.of_the_past.url)
    assert crosses(done.stdout) == []
    fresh, _, firing, _ = steps(done.stdout)[-4:]
    assert 'it has job="flower", instance="127.0.0.1:9", team="a", pushed ' in fresh
    ours = f'instance="{pushed[1].removeprefix("http://")}", team=""'
    whose = sorted(
        [ours, 'instance="old:5555", team="b"', *(f'instance="old-{n}:5555", job="gone", team=""' for n in range(4))]
    )
    assert firing.startswith("  -")
    assert firing.endswith(
        f" FlowerPushStale ({'; '.join(whose[:3])} and 3 more), OwnWithoutInstance,"
        ' OwnWithoutJob (instance="old:5555", team="b")'
    )


@pytest.mark.parametrize("differs", [("--job", "another"), ("--grouping", "team=other")])
def test_a_missing_group_is_found(
    healthy: Prometheus, pushed: list[str], push_job: PushJob, differs: tuple[str, str]
) -> None:
    options = [option for option in pushed if not option.startswith("team=") and option != "--grouping"]
    done = push_job("check", *options, *differs, "--prometheus", healthy.url)
    (cross,) = crosses(done.stdout)
    assert differs[1].removeprefix("team=") in cross
    assert ("--job" if differs[0] == "--job" else "--grouping") in cross


def test_missing_honor_labels_and_missing_rules_are_found(
    servers: Servers, pushed: list[str], push_job: PushJob
) -> None:
    done = push_job("check", *pushed, "--prometheus", servers.without_honor_labels.url)
    assert done.returncode == 1
    renamed, no_rules = crosses(done.stdout)
    assert "exported_job" in renamed
    assert "honor_labels: true" in renamed
    assert "prometheus/rules/*.yml" in no_rules


def test_a_prometheus_that_does_not_or_cannot_scrape_is_found(
    servers: Servers, pushed: list[str], push_job: PushJob
) -> None:
    done = push_job("check", *pushed, "--prometheus", servers.elsewhere.url)
    (cross,) = crosses(done.stdout)
    assert pushed[3].removeprefix("http://") in cross
    assert "ServiceMonitor" in cross

    there = ("--flower", pushed[1], "--pushgateway", Gone.url)
    done = push_job("check", *there, "--prometheus", servers.cut_off.url, "--timeout", "5")
    assert "connection refused" in crosses(done.stdout)[0]


def test_an_old_group_and_a_refused_push_are_found(servers: Servers, pushed: list[str], push_job: PushJob) -> None:
    there = ("--flower", pushed[1], "--pushgateway", pushed[3])
    done = push_job("check", *there, "--prometheus", servers.of_the_past.url)
    assert done.returncode == 1
    old, refused = crosses(done.stdout)
    assert "2 hours" in old
    assert pushed[1].removeprefix("http://") in refused


def test_a_wrong_url_is_found(pushed: list[str], push_job: PushJob) -> None:
    done = push_job("check", *pushed, "--prometheus", pushed[3], "--grafana", pushed[3])
    assert done.returncode == 1
    (cross,) = crosses(done.stdout)
    assert "404" in cross
    (cross,) = crosses(done.stdout, "Grafana")
    assert "404" in cross
    done = push_job("check", *pushed, "--prometheus", "http://127.0.0.1:9")
    assert "port 9 " in crosses(done.stdout)[0]
    assert push_job("check", *pushed, "--prometheus", "ftp://x").returncode == 2


def api(data: object) -> object:
    return {"status": "success", "data": data}


def test_prometheus_is_signed_in_to_and_its_password_is_not_shown(pushed: list[str], push_job: PushJob) -> None:
    secret = {"PUSH_JOB_PROMETHEUS_PASSWORD": "s3cr3t&co"}
    with ScriptedServer({"*": status_answer(401, b"no s3cr3t&co here")}) as server:
        done = push_job("check", *pushed, "--prometheus", server.url)
        assert "--prometheus-username" in crosses(done.stdout)[0]
        done = push_job("check", *pushed, "--prometheus", server.url, "--prometheus-username", "ops", env=secret)
        assert server.requests[-1].headers["authorization"].startswith("Basic ")
    assert "401" in crosses(done.stdout)[0]
    assert "--prometheus-username" not in crosses(done.stdout)[0]
    assert "s3cr3t" not in done.stdout + done.stderr


ODD: tuple[object, ...] = (
    None,
    True,
    7,
    "x\x1b]0;title\x07",  # colours would be left out by click
    [],
    [None, 7],
    {},
    {"groups": [7]},
    {"result": [{"metric": 7, "value": ["a"]}]},
)


@pytest.mark.parametrize("odd", ODD)
def test_unexpected_answers_are_failed_steps(pushed: list[str], push_job: PushJob, odd: object) -> None:
    rule = {
        "name": odd,
        "query": "flower_up == 0",
        "health": odd,
        "state": "firing",
        "type": "alerting",
        "lastError": odd,
        "alerts": [
            {"state": "firing", "labels": {"instance": odd}},
            {"state": "pending", "labels": {"instance": "waits"}},
            {"state": "firing", "labels": odd},
            odd,
        ],
    }
    answers: dict[str, Script | list[Script]] = {
        "/api/v1/status/buildinfo": json_answer(api(odd)),
        "/api/v1/query": [json_answer(api(odd)), json_answer(api({"result": [{"metric": {}, "value": [0, "1"]}]}))],
        "/api/v1/targets": json_answer(api({"activeTargets": [{"scrapeUrl": odd, "health": "down"}, odd]})),
        "/api/v1/rules": json_answer(api({"groups": [{"rules": [rule, odd]}, odd]})),
    }
    with ScriptedServer(answers) as server:
        done = push_job("check", *pushed, "--prometheus", server.url)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    assert len(steps(done.stdout)) >= 4
    assert "waits" not in done.stdout
