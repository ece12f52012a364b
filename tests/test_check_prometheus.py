"""`push-job check --prometheus URL` finds why there is "No data", on real Prometheus servers, and names the cure."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from push_job.commands.check_prometheus import alerts_of_ours
from testbed.command import ROOT, PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Prometheus, Pushgateway, Redis, Testbed
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

    sound: Prometheus
    without_honor_labels: Prometheus
    elsewhere: Prometheus
    cut_off: Prometheus
    of_the_past: Prometheus


class Gone:
    """A Pushgateway where nothing listens."""

    url = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def servers(testbed: Testbed, pushgateway: Pushgateway, pushed: list[str]) -> Iterator[Servers]:
    """All are started before any is waited for: each needs five seconds until its first scrape."""
    instance = pushed[1].removeprefix("http://")
    group = f'{{instance="{instance}",job="flower"}}'
    past = time.time() - 2 * 3600
    # No Pushgateway can be told to be old, so what one says two hours after the last push is served to Prometheus.
    text = (
        f"pushgateway_build_info 1\npush_time_seconds{group} {past}\npush_failure_time_seconds{group} {past + 60}\n"
        f'flower_up{group} 1\npush_job_build_info{{instance="{instance}",job="flower",version="1"}} 1\n'
    )
    with ScriptedServer({"/metrics": answer(text.encode(), headers={"Content-Type": "text/plain"})}) as old:
        sound = testbed.prometheus(pushgateway, RULES)
        found = Servers(
            sound,
            testbed.prometheus(pushgateway, honor_labels=False),
            testbed.prometheus(sound, RULES),
            testbed.prometheus(Gone(), RULES),
            testbed.prometheus(old, RULES),
        )
        for server in (found.sound, found.without_honor_labels, found.elsewhere, found.of_the_past):
            server.wait_for_scrape()
        eventually(lambda: bool(found.cut_off.query('up{job="pushgateway"} == 0')))
        yield found
        for server in vars(found).values():
            server.kill()


@pytest.fixture
def sound(servers: Servers) -> Prometheus:
    return servers.sound


def steps(output: str, server: str = "Prometheus") -> list[str]:
    """The lines of this server."""
    return re.split(r"\n(?=\w)", output.partition(f"\n{server} ")[2])[0].splitlines()[1:]


def crosses(output: str, server: str = "Prometheus") -> list[str]:
    return [line for line in steps(output, server) if line.startswith("  ✗")]


def test_all_well_is_ticks_and_exit_zero(sound: Prometheus, pushed: list[str], push_job: PushJob) -> None:
    done = push_job("check", *pushed, "--prometheus", sound.url)
    assert done.returncode == 0, done.stdout
    told = "\n".join(steps(done.stdout))
    for found in ("it is Prometheus, version 2.", "it scrapes a Pushgateway, 127.0.0.1:", "job and instance are kept"):
        assert f"✓ {found}" in told or found in told
    assert re.search(r"✓ it has job=\"wall's\", instance=\"127.0.0.1:\d+\", team=.*, pushed \d", told)
    assert f"✓ {len(our_alerts())} of its alerts are on what push-job pushes" in told
    assert "✓ none of these fires" in told


def our_alerts() -> list[str]:
    """All but the one that is on what any Pushgateway says of itself."""
    names = [rule["alert"] for path in RULES for group in groups(path) for rule in group["rules"] if "alert" in rule]
    return [name for name in names if name != "PushgatewayDown"]


def groups(path: Path) -> list[dict[str, list[dict[str, str]]]]:
    found: list[dict[str, list[dict[str, str]]]] = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return found


def test_every_alert_of_ours_is_known_as_one() -> None:
    rules = [rule for path in RULES for group in groups(path) for rule in group["rules"]]
    foreign = {"name": "Foreign", "query": "celery_workers_of_another == 0", "type": "alerting"}
    as_told = [
        {
            "name": rule.get("alert") or rule["record"],
            "query": rule["expr"],
            "type": "alerting" if "alert" in rule else "recording",
        }
        for rule in rules
    ]
    assert [rule["name"] for rule in alerts_of_ours([*as_told, foreign])] == our_alerts()


@pytest.mark.parametrize("differs", [("--job", "another"), ("--grouping", "team=other")])
def test_a_group_that_is_not_there_is_told_from_one_that_is(
    sound: Prometheus, pushed: list[str], push_job: PushJob, differs: tuple[str, str]
) -> None:
    options = [option for option in pushed if not option.startswith("team=") and option != "--grouping"]
    done = push_job("check", *options, *differs, "--prometheus", sound.url)
    (cross,) = crosses(done.stdout)
    assert "it has nothing of" in cross
    assert ("has push run" if differs[0] == "--job" else "are --flower and --grouping those of push?") in cross


def test_a_scrape_without_honor_labels_is_found_and_rules_that_are_not_loaded(
    servers: Servers, pushed: list[str], push_job: PushJob
) -> None:
    done = push_job("check", *pushed, "--prometheus", servers.without_honor_labels.url)
    assert done.returncode == 1
    renamed, no_rules = crosses(done.stdout)
    assert "exported_job and exported_instance" in renamed
    assert "honor_labels: true" in renamed
    assert "none of its alerts" in no_rules
    assert "prometheus/rules/*.yml" in no_rules


def test_a_prometheus_that_scrapes_no_pushgateway_is_found_and_one_that_cannot(
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
    "x\x1b[31m",
    [],
    [None, 7],
    {},
    {"groups": [7]},
    {"result": [{"metric": 7, "value": ["a"]}]},
)


@pytest.mark.parametrize("odd", ODD)
def test_odd_answers_make_no_mistake(pushed: list[str], push_job: PushJob, odd: object) -> None:
    rule = {
        "name": odd,
        "query": "flower_up == 0",
        "health": odd,
        "state": "firing",
        "type": "alerting",
        "lastError": odd,
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
