"""Errors are one line that names the server and the setting to change.

The exit code is that of the contract.
"""

import json
import time
import uuid
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry, Counter, push_to_gateway

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Pushgateway, Redis, Testbed
from tests.fakes.http import Script, ScriptedServer, answer, head, json_answer, status_answer
from tests.independent import key, without_group

WORKERS = json_answer({"celery@a": True})
FAST = ("--timeout", "4", "--deadline", "12")


def assert_down(gateway: Pushgateway, url: str) -> None:
    """Check that the group of a Flower says that it is down.

    The group must have no samples about tasks or workers.
    """
    samples = gateway.samples(instance=url.removeprefix("http://"))
    assert [value for (name, _), value in samples.items() if name == "flower_up"] == [0]
    assert not [name for name, _ in samples if name.startswith("celery_") or name == "flower_scrape_tasks"]


def assert_one_line(stderr: str, *words: str) -> None:
    """Check that the log is one line with all these words."""
    (line,) = stderr.splitlines()
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("workers", "tasks", "words"),
    [
        (status_answer(401), WORKERS, ["401", "--flower-username", "FLOWER_UNAUTHENTICATED_API"]),
        (status_answer(403), WORKERS, ["403"]),
        (status_answer(404), WORKERS, ["404", "url-prefix"]),
        (status_answer(500), WORKERS, ["500"]),
        (status_answer(302, headers={"Location": "/login?next=/api"}), WORKERS, ["302", "/login"]),
        (status_answer(301, headers={"Location": "https://f/api"}), WORKERS, ["301", "https://"]),
        (answer(b"<html>hello</html>"), WORKERS, ["/api/workers"]),
        (json_answer({"status": "ok"}), WORKERS, ["/api/workers"]),
        (json_answer([1]), WORKERS, ["/api/workers"]),
        (WORKERS, answer(b"<!DOCTYPE html><p>hello"), ["/api/tasks"]),
        (WORKERS, answer(b'{"a": {"name": "x", "state": "SUCC'), ["/api/tasks"]),
        (WORKERS, (head(content_length=500) + b'{"a": {"name": "x"}, "b": ',), ["4 s"]),
        (WORKERS, json_answer([]), ["/api/tasks", "list"]),
        (WORKERS, answer(b"null"), ["/api/tasks", "null"]),
        (WORKERS, answer(b""), ["/api/tasks"]),
        (WORKERS, json_answer({"detail": "no such page"}), ["/api/tasks"]),
    ],
)
@pytest.mark.usefixtures("no_pauses")
def test_a_server_that_is_not_a_working_flower_is_one_line(
    workers: Script, tasks: Script, words: list[str], clean_pushgateway: Pushgateway, quick_push_job: PushJob
) -> None:
    with ScriptedServer({"/api/workers": workers, "/api/tasks": tasks}) as server:
        done = quick_push_job("push", "--flower", server.url, "--pushgateway", clean_pushgateway.url, *FAST)
    assert done.returncode == 1
    assert_one_line(done.stderr, server.url.removeprefix("http://"), *words)
    assert_down(clean_pushgateway, server.url)


def test_a_web_page_that_comes_with_a_refusal_is_not_logged(
    clean_pushgateway: Pushgateway, quick_push_job: PushJob
) -> None:
    page = status_answer(500, b"<html><title>500: Internal Server Error</title></html>")
    servers = {"/api/workers": WORKERS, "/api/tasks": json_answer({}), "/metrics": page}
    with ScriptedServer(servers) as server:
        done = quick_push_job(
            *("push", "--flower", server.url, "--pushgateway", clean_pushgateway.url, "--with", "activity", *FAST)
        )
    assert done.returncode == 0
    assert "500 Reason" in done.stderr
    assert "<" not in done.stderr


def test_https_to_a_real_flower_without_tls_says_what_to_change(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    https = flower.url.replace("http:", "https:")
    done = push_job(
        "push", "--flower", https, "--pushgateway", clean_pushgateway.url, "--timeout", "2", "--deadline", "20"
    )
    assert done.returncode == 1
    assert_one_line(done.stderr, "TLS", "http://")


def test_an_unreachable_flower_is_one_line(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    done = push_job("push", "--flower", "http://127.0.0.1:9", "--pushgateway", clean_pushgateway.url, *FAST)
    assert done.returncode == 1
    assert_one_line(done.stderr, "127.0.0.1:9")
    assert_down(clean_pushgateway, "127.0.0.1:9")


def test_the_port_of_another_real_server_is_one_line(
    redis: Redis, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    for url in (clean_pushgateway.url, redis.url.replace("redis://", "http://").removesuffix("/0")):
        done = push_job("push", "--flower", url, "--pushgateway", clean_pushgateway.url, *FAST)
        assert done.returncode == 1
        assert_one_line(done.stderr, url.removeprefix("http://"))


def test_a_real_flower_that_needs_a_sign_in_names_both_ways(
    testbed: Testbed, redis: Redis, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    flower = testbed.flower(redis, env={})
    done = push_job("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    assert done.returncode == 1
    assert_one_line(done.stderr, "401", "--flower-username", "FLOWER_UNAUTHENTICATED_API=true")
    flower.stop()


ODD: list[Any] = [None, True, -1, 0, 1.5, 10**400, "", "text", "\ud800", "x" * 5000, [], [1], {}, {"a": [{}]}]


def test_odd_fields_of_one_task_never_cost_the_others(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    fields = ("name", "state", "sent", "received", "started", "retried", "eta", "runtime", "timestamp", "worker")
    tasks: dict[str, Any] = {
        f"odd-{field}-{number}": {"name": "shop.fine", "state": "STARTED", "started": 1.0, field: odd}
        for field in fields
        for number, odd in enumerate(ODD)
    }
    tasks["not-a-task"] = 5
    tasks["nan"] = {"name": "shop.nan", "state": "SUCCESS", "runtime": float("nan"), "timestamp": float("inf")}
    now = time.time()
    tasks |= {
        f"fine-{n}": {"name": "shop.good", "state": "SUCCESS", "runtime": 0.5, "timestamp": now} for n in range(9)
    }
    with ScriptedServer({"/api/workers": WORKERS, "/api/tasks": json_answer(tasks)}) as server:
        done = push_job("push", "--flower", server.url, "--pushgateway", clean_pushgateway.url, *FAST)
    assert done.returncode == 0, done.stderr
    samples = without_group(clean_pushgateway.samples())
    assert samples[key("celery_task_types_by_state", task_type="shop.good", state="SUCCESS")] == 9
    assert samples[key("celery_task_duration_seconds_by_state", name="shop.good", state="SUCCESS")] == 4.5
    assert sum(v for (name, _), v in samples.items() if name == "celery_task_types_by_state") == len(tasks)


def test_an_unreachable_pushgateway_means_exit_three(flower: Flower, push_job: PushJob) -> None:
    done = push_job("push", "--flower", flower.url, "--pushgateway", "http://127.0.0.1:9", *FAST)
    assert done.returncode == 3
    assert_one_line(done.stderr, "pushgateway=127.0.0.1:9")


def test_a_clash_of_types_is_reported_with_the_pushgateways_reason(
    flower: Flower, redis: Redis, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    registry = CollectorRegistry()
    Counter("flower_up_total", "Another job's.", registry=registry).inc()
    push_to_gateway(clean_pushgateway.url, "another", registry)
    registry = CollectorRegistry()
    family = "celery_task_types_by_state"
    with TaskEvents(redis.url) as events:
        events.send("task-received", uuid=(task_id := str(uuid.uuid4())), name="shop.clash")
    flower.wait_for_task(task_id, "RECEIVED")
    text = f"# TYPE {family} counter\n{family} 1\n"
    requests.put(f"{clean_pushgateway.url}/metrics/job/clash", data=text, timeout=10).raise_for_status()
    done = push_job("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    assert done.returncode == 3
    assert_one_line(done.stderr, "400", family)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (status_answer(401), ["401", "--pushgateway-username"]),
        (status_answer(403), ["403"]),
        (status_answer(404), ["404", "prefix"]),
        (status_answer(500, b"disk full"), ["500", "disk full"]),
        (status_answer(400, b"text format parsing error in line 1"), ["400", "parsing error"]),
        (status_answer(302, headers={"Location": "/sso"}), ["302"]),
    ],
)
def test_a_rejected_push_is_reported_with_the_pushgateways_reason(
    flower: Flower, quick_push_job: PushJob, script: Script, words: list[str]
) -> None:
    with ScriptedServer({"*": script}) as gateway:
        done = quick_push_job("push", "--flower", flower.url, "--pushgateway", gateway.url, *FAST)
        assert len(gateway.pushes) == 1
    assert done.returncode == 3
    assert_one_line(done.stderr, gateway.url.removeprefix("http://"), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--flower", "ftp://host"], ["--flower", "http://host:port"]),
        (["--flower", "http://"], ["--flower"]),
        (["--flower", "http://h:99999"], ["--flower", "'http://h:99999'", "65535"]),
        (["--flower", "http://host:0"], ["--flower", "http://host:port", "65535"]),
        (
            ["--flower", "http://127.0.0.1:9091x"],
            ["--flower", "'http://127.0.0.1:***'"],
        ),
        (["--flower", "u:pr0xy@host:9091x"], ["--flower", "'host:***'"]),
        (["--flower", "htpp://host:5555"], ["--flower", "http://", "https://"]),
        (["--flower", "amqp://u:pr0xy@host:5672"], ["'host:5672'", "http://", "https://"]),
        (["--flower", "http:/host:5555"], ["'http:/host:5555'"]),
        (["--flower", "http//host:5555"], ["'http//host:5555'"]),
        (["--flower", "http://http://host:5555"], ["'http://http://host:5555'"]),
        (["--flower", "http://::1:5555"], ["http://[::1]:5555"]),
        (["--flower", "http://host/\udce4"], ["--flower", "http://host:port"]),
        (["--flower-username", "\udce4"], ["--flower", "username"]),
        (["--flower-ca-file", __file__], ["--flower-ca-file", "PEM"]),
        (["--pushgateway-cert-file", __file__], ["--pushgateway-cert-file", "PEM"]),
        (["--flower", "http://h:1", "--flower", "http://h:1/"], ["h:1"]),
        (["--flower", "http://h:1", "--flower", "http://h:1/./"], ["h:1"]),
        (["--flower", "http://h:1/a", "--flower", "http://h:1/b/../a"], ["h:1"]),
        (["--flower", "http://h:1/?x=1"], ["--flower", "?"]),
        (["--flower", "http://a:1,http://b:2"], ["--flower", "commas"]),
        (["--flower", "http://a,http://b"], ["--flower", "commas"]),
        (["--flower", "a:1,b:2"], ["--flower", "commas"]),
        (["--flower", "http://u:pr0xy@a:1,http://u:pr0xy@b:1"], ["--flower", "commas"]),
        (["--flower", "u:pr0xy@a:1,u:pr0xy@b:1"], ["--flower", "commas"]),
        (["--pushgateway", ":::"], ["--pushgateway"]),
        (["--grouping", "novalue"], ["--grouping", "KEY=VALUE"]),
        (["--grouping", "0a=1"], ["--grouping"]),
        (["--grouping", "job=x"], ["--grouping", "--job"]),
        (["--grouping", "state=x"], ["--grouping", "state"]),
        (["--grouping", "a=1", "--grouping", "a=2"], ["--grouping"]),
        (["--job", ""], ["--job"]),
        (["--job", ".."], ["--job", ".."]),
        (["--grouping", "tier=."], ["--grouping", "'.'"]),
        (["--shard", "3/2"], ["--shard", "0/4"]),
        (["--shard", "0/0"], ["--shard"]),
        (["--shard", "x"], ["--shard"]),
        (["--timeout", "0"], ["--timeout"]),
        (["--deadline", "-1"], ["--deadline"]),
        (["--deadline", "nan"], ["--deadline"]),
        (["--page-size", "ten"], ["--page-size"]),
        (["--with", "everything"], ["--with", "everything", "queues"]),
        (["--with", "totals"], ["--with", "totals", "--state-file", "run"]),
        (["--with", "totals", "--state-file", "state", "--full-every", "0"], ["--with", "totals", "--full-every"]),
        (["--buckets", "3,2,1"], ["--buckets"]),
        (["--flower-password-file", "/no/such/file"], ["--flower-password-file", "/no/such/file"]),
        (["--flower-key-file", __file__], ["--flower-cert-file"]),
        (["--no-such-option"], ["--no-such-option"]),
        (["stray"], ["stray"]),
    ],
)
def test_a_wrong_option_means_exit_two_and_no_request(
    quick_push_job: PushJob, options: list[str], words: list[str]
) -> None:
    done = quick_push_job("push", *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "pr0xy" not in line
    for word in words:
        assert word in line


def test_all_extras_do_not_require_a_state(
    flower: Flower, clean_pushgateway: Pushgateway, quick_push_job: PushJob
) -> None:
    addresses = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    done = quick_push_job("push", *addresses, "--with", "all")
    assert done.returncode == 0, done.stderr
    assert quick_push_job("show", *addresses, "--with", "totals").returncode == 0
    success = {dict(labels)["extra"] for name, labels in clean_pushgateway.samples() if name.endswith("extra_success")}
    assert "queues" in success
    assert "totals" not in success


@pytest.mark.parametrize("arguments", [[], ["pusch"]])
def test_a_call_without_a_command_means_exit_two_and_says_where_help_is(
    quick_push_job: PushJob, arguments: list[str]
) -> None:
    done = quick_push_job(*arguments)
    assert done.returncode == 2
    assert "--help" in done.stderr
    assert done.stderr.startswith("Error: ") == bool(arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        {"PUSH_JOB_TIMEOUT": "soon"},
        {"PUSH_JOB_FLOWER": "ftp://x"},
        {"FLOWER_HOSTS_LIST": "http://a:1,http://b:2"},
        {"PUSH_JOB_FLOWER_PASSWORD": "pr0xy"},
        {"PUSH_JOB_FLOWER_TOKEN": "a b"},
        {"PUSH_JOB_FLOWER_USERNAME": "u", "PUSH_JOB_FLOWER_PASSWORD": "p\udcf6"},
        {"PUSH_JOB_FLOWER": "http://flower.internal", "http_proxy": "http://user:pr0xy/pass@proxy:3128"},
        {"PUSH_JOB_FLOWER": "http://flower.internal", "http_proxy": "http://user:pr0xy pass@proxy:3128"},
        {"PUSH_JOB_FLOWER": "http://flower.internal", "http_proxy": "http://proxy:port"},
    ],
)
def test_a_wrong_setting_in_the_environment_means_exit_two(quick_push_job: PushJob, wrong: dict[str, str]) -> None:
    done = quick_push_job("push", env=wrong)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "pr0xy" not in line


def test_a_socks_proxy_says_which_package_it_takes(quick_push_job: PushJob) -> None:
    done = quick_push_job(
        "push", "--flower", "http://flower.internal", env={"all_proxy": "socks5://u:pr0xy@proxy:1080"}
    )
    assert done.returncode == 2
    assert_one_line(done.stderr, "ALL_PROXY", "pip install PySocks")
    assert "pr0xy" not in done.stderr


def test_an_unreachable_proxy_is_named(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    options = ("--flower", "http://flower.internal:5555", "--pushgateway", clean_pushgateway.url)
    proxy = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}
    done = push_job("push", *options, *FAST, env=proxy)
    assert done.returncode == 1
    assert_one_line(done.stderr, "HTTP_PROXY")


def test_a_scrape_goes_through_the_proxy_that_the_environment_names(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with ScriptedServer({"*": WORKERS}) as proxy:
        push_job(
            *("push", "--flower", "http://flower.internal:5555", "--pushgateway", clean_pushgateway.url, *FAST),
            env={"http_proxy": proxy.url, "no_proxy": "127.0.0.1"},
        )
        assert proxy.requests


def test_the_log_line_of_a_flower_can_be_json(clean_pushgateway: Pushgateway, quick_push_job: PushJob) -> None:
    done = quick_push_job(
        "push", "--flower", "http://127.0.0.1:9", "--pushgateway", clean_pushgateway.url, *FAST, "--log-format", "json"
    )
    line = json.loads(done.stderr)
    assert line["level"] == "error"
    assert line["flower"] == "127.0.0.1:9"
