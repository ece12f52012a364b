"""`push-job check --prometheus URL` finds why there is "No data", on real Prometheus servers, and names the cure."""

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
    """The options of a push that has just been made, of a Flower with a live worker."""
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
    """Each is a Prometheus: one as it should be, with the project's rules, and those with something wrong."""

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


#: Labels of groups that nobody has pushed for two hours, and of one that somebody has; that one is asked about, too.
REMOVED = ('instance="old:5555",job="flower",team="b"', *(f'instance="old-{n}:5555",job="gone"' for n in range(4)))
FRESH = 'instance="127.0.0.1:9",job="flower",team="a"'


def text_of(group: str, moment: float) -> str:
    """What a Pushgateway says of a group that was last pushed then."""
    return (
        f'push_time_seconds{{{group}}} {moment}\nflower_up{{{group}}} 1\npush_job_build_info{{{group},version="1"}} 1\n'
    )


def rule_file(path: Path, *rules: dict[str, str]) -> Path:
    path.write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": list(rules)}]}))
    return path


def broken(query: str) -> str:
    """It matches what it should not: more than one of Flower's families, which Prometheus refuses when it evaluates."""
    return f'{query} * on () {{__name__=~"flower_.+"}}'


@pytest.fixture(scope="module")
def servers(
    testbed: Testbed, pushgateway: Pushgateway, pushed: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    """All are started before any is waited for: each needs five seconds until its first scrape."""
    instance = pushed[1].removeprefix("http://")
    past = time.time() - 2 * 3600
    # No Pushgateway can be told to be old, so what one says two hours after the last push is served to Prometheus.
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
    """That of each of its rules, which evaluates them every second."""
    data = Client().get_json(f"{server.url}/api/v1/rules")["data"]
    return [rule["health"] for group in data["groups"] for rule in group["rules"]]


@pytest.fixture
def healthy(servers: Servers) -> Prometheus:
    return servers.healthy


def steps(output: str, server: str = "Prometheus") -> list[str]:
    """The lines of this server."""
    return re.split(r"\n(?=\w)", output.partition(f"\n{server} ")[2])[0].splitlines()[1:]


def crosses(output: str, server: str = "Prometheus") -> list[str]:
    return [line for line in steps(output, server) if line.startswith("  ✗")]


def test_a_healthy_server_means_exit_zero(healthy: Prometheus, pushed: list[str], push_job: PushJob) -> None:
    done = push_job("check", *pushed, "--prometheus", healthy.url)
    assert done.returncode == 0, done.stdout
    told = "\n".join(steps(done.stdout))
    for found in ("it is Prometheus, version 2.", "it scrapes a Pushgateway, 127.0.0.1:", "job and instance are kept"):
        assert f"✓ {found}" in told or found in told
    assert re.search(r"✓ it has job=\"wall's\", instance=\"127.0.0.1:\d+\", team=.*, pushed \d", told)
    assert f"✓ {len(our_alerts())} of its alerts are on what push-job pushes" in told
    assert "✓ none of these fires" in told


def our_alerts() -> list[str]:
    """All but the one that is on what any Pushgateway says of itself."""
    return [rule["alert"] for rule in all_rules() if rule.get("alert", "PushgatewayDown") != "PushgatewayDown"]


def all_rules() -> list[dict[str, str]]:
    return [rule for path in RULES for rule in rules_of(path.name)]


def rules_of(name: str) -> list[dict[str, str]]:
    groups = yaml.safe_load((ROOT / "prometheus/rules" / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_rule_of_ours_is_known_as_one() -> None:
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


def test_alerts_that_are_not_there_are_named_and_no_failure(
    servers: Servers, pushed: list[str], push_job: PushJob
) -> None:
    done = push_job("check", *pushed, "--prometheus", servers.in_part.url)
    assert done.returncode == 0, done.stdout
    assert "  ✓ 6 of its alerts are on what push-job pushes" in steps(done.stdout)
    [note] = [line for line in steps(done.stdout) if "does not have" in line]
    first = "CeleryNoWorkers, CeleryWorkerWentAway, CeleryFailureRatioHigh, CeleryTasksWaitTooLong"
    assert note.startswith(f"  - of the alerts in prometheus/rules/ it does not have: {first}")
    assert note.endswith(f" and {len(ALERT_NAMES) - 7 - 5} more")
    assert "PushgatewayDown" not in note


def test_a_rule_that_cannot_be_evaluated_is_found_even_if_no_alert_says_so(
    servers: Servers, pushed: list[str], push_job: PushJob
) -> None:
    done = push_job("check", *pushed, "--prometheus", servers.broken.url)
    assert done.returncode == 1
    assert "  ✓ 6 of its alerts are on what push-job pushes" in steps(done.stdout)
    recording, alert, _, _, _, others = crosses(done.stdout)
    why = "found duplicate series for the match group"
    no_alert = "cannot be evaluated, so alerts on it see nothing"
    assert recording.startswith(f"  ✗ its recording rule instance:celery_workers:sum {no_alert}: {why}")
    assert alert.startswith(f"  ✗ its alert OwnBroken0 cannot be evaluated: {why}")
    # Last, for it is on what a rule records of what another one records.
    assert others == "  ✗ nor can OwnSlow"


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
    assert firing == (
        f"  - of these fire: FlowerPushStale ({'; '.join(whose[:3])} and 3 more), OwnWithoutInstance,"
        ' OwnWithoutJob (instance="old:5555", team="b")'
    )


@pytest.mark.parametrize("differs", [("--job", "another"), ("--grouping", "team=other")])
def test_a_missing_group_is_found(
    healthy: Prometheus, pushed: list[str], push_job: PushJob, differs: tuple[str, str]
) -> None:
    options = [option for option in pushed if not option.startswith("team=") and option != "--grouping"]
    done = push_job("check", *options, *differs, "--prometheus", healthy.url)
    (cross,) = crosses(done.stdout)
    assert "it has nothing of" in cross
    assert ("has push run" if differs[0] == "--job" else "are --flower and --grouping those of push?") in cross


def test_missing_honor_labels_and_missing_rules_are_found(
    servers: Servers, pushed: list[str], push_job: PushJob
) -> None:
    done = push_job("check", *pushed, "--prometheus", servers.without_honor_labels.url)
    assert done.returncode == 1
    renamed, no_rules = crosses(done.stdout)
    assert "exported_job and exported_instance" in renamed
    assert "honor_labels: true" in renamed
    assert "none of its alerts" in no_rules
    assert "prometheus/rules/*.yml" in no_rules


def test_a_prometheus_that_does_not_or_cannot_scrape_is_found(
    servers: Servers, pushed: list[str], push_job: PushJob
) -> None:
    done = push_job("check", *pushed, "--prometheus", servers.elsewhere.url)
    (cross,) = crosses(done.stdout)
    assert "it scrapes no Pushgateway: give it a scrape job for 127.0.0.1:" in cross
    assert "ServiceMonitor" in cross

    there = ("--flower", pushed[1], "--pushgateway", Gone.url)
    done = push_job("check", *there, "--prometheus", servers.cut_off.url, "--timeout", "2")
    assert "it cannot scrape the Pushgateway: " in crosses(done.stdout)[0]
    assert "connection refused" in crosses(done.stdout)[0]


def test_an_old_group_and_a_refused_push_are_found(servers: Servers, pushed: list[str], push_job: PushJob) -> None:
    there = ("--flower", pushed[1], "--pushgateway", pushed[3])
    done = push_job("check", *there, "--prometheus", servers.of_the_past.url)
    assert done.returncode == 1
    old, refused = crosses(done.stdout)
    assert "is 2 hours old" in old
    assert "does push still run?" in old
    assert "refused the last push" in refused


def test_a_wrong_url_is_found(pushed: list[str], push_job: PushJob) -> None:
    done = push_job("check", *pushed, "--prometheus", pushed[3], "--grafana", pushed[3])
    assert done.returncode == 1
    (cross,) = crosses(done.stdout)
    assert "404" in cross
    assert "is this Prometheus?" in cross
    (cross,) = crosses(done.stdout, "Grafana")
    assert "is this Grafana?" in cross
    done = push_job("check", *pushed, "--prometheus", "http://127.0.0.1:9")
    assert "port 9 does not open" in crosses(done.stdout)[0]
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
    assert "its user name or password is not the one" in crosses(done.stdout)[0]
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
def test_odd_answers_are_no_bug(pushed: list[str], push_job: PushJob, odd: object) -> None:
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
    assert "of these fire: " in done.stdout
    assert "waits" not in done.stdout
