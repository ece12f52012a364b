"""`push-job check` finds faults, says what to change and leaves nothing behind."""

import re
import ssl
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Pushgateway, Redis, Testbed
from testbed.web import Client
from tests.fakes.http import ScriptedServer, answer, json_answer, status_answer
from tests.independent import eventually

FAST = ("--timeout", "5", "--deadline", "60")


@pytest.fixture(scope="module")
def healthy_flower(testbed: Testbed, redis: Redis, flower: Flower) -> Flower:
    """A Flower with a live worker and a task event."""
    with TaskEvents(redis.url) as events:
        events.worker("celery@healthy", freq=600.0)
        events.send("task-received", uuid=(task_id := str(uuid.uuid4())), name="shop.healthy")
    flower.wait_for_task(task_id, "RECEIVED")
    return flower


def crosses(output: str) -> list[str]:
    """Return the failed steps."""
    return marked("✗", output)


def marked(mark: str, output: str) -> list[str]:
    """Return the steps with this mark."""
    return [line for line in output.splitlines() if line.startswith(f"  {mark}")]


def test_healthy_servers_mean_exit_zero_and_no_group_is_left(
    healthy_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    done = push_job("check", "--flower", healthy_flower.url, "--pushgateway", clean_pushgateway.url)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[0] == f"Flower {healthy_flower.url.removeprefix('http://')}"
    assert not crosses(done.stdout)
    assert len(marked("✓", done.stdout)) >= 9
    assert clean_pushgateway.groups() == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://no-such-host.invalid:5555", ["no-such-host.invalid"]),
        ("http://127.0.0.1:9", ["port 9 "]),
    ],
)
def test_a_wrong_host_or_port_is_found(
    url: str, words: list[str], clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    done = push_job("check", "--flower", url, "--pushgateway", clean_pushgateway.url, *FAST)
    assert done.returncode == 1
    (cross,) = crosses(done.stdout)
    for word in words:
        assert word in cross


def test_another_servers_port_is_found(
    clean_pushgateway: Pushgateway, healthy_flower: Flower, push_job: PushJob
) -> None:
    done = push_job("check", "--flower", clean_pushgateway.url, "--pushgateway", healthy_flower.url, *FAST)
    assert done.returncode == 1
    not_flower, not_gateway = crosses(done.stdout)
    assert "404" in not_flower
    assert "it is Flower" in not_gateway


def test_a_wrong_prefix_is_found(
    testbed: Testbed, redis: Redis, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    flower = testbed.flower(redis, options=["--url_prefix=ops"])
    bare = flower.url.removesuffix("/ops")
    done = push_job("check", "--flower", bare, "--pushgateway", clean_pushgateway.url)
    (cross,) = crosses(done.stdout)
    assert "404" in cross
    assert "prefix" in cross
    flower.stop()


def test_a_missing_sign_in_is_found(
    testbed: Testbed, redis: Redis, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    flower = testbed.flower(redis, env={})
    done = push_job("check", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    (cross,) = crosses(done.stdout)
    assert "401" in cross
    assert "FLOWER_UNAUTHENTICATED_API=true" in cross
    flower.stop()


def test_a_login_page_is_found(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    login = status_answer(302, headers={"Location": "/login?next=%2Fapi%2Fworkers"})
    with ScriptedServer({"*": login}) as server:
        done = push_job("check", "--flower", server.url, "--pushgateway", clean_pushgateway.url)
    (cross,) = crosses(done.stdout)
    assert "302" in cross
    assert "/login" in cross


@pytest.fixture
def unheard(testbed: Testbed) -> Iterator[tuple[Redis, Flower]]:
    """A broker and its Flower, which does not enable events of workers."""
    redis = testbed.redis()
    flower = testbed.flower(redis, options=["--enable_events=False"])
    yield redis, flower
    flower.stop()
    redis.stop()


def test_missing_workers_and_missing_events_are_distinguished(
    unheard: tuple[Redis, Flower], clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    redis, flower = unheard
    arguments = ("check", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    done = push_job(*arguments)
    assert done.returncode == 1
    assert "worker" in crosses(done.stdout)[0]

    with TaskEvents(redis.url) as events:
        events.worker("celery@silent", freq=600.0, processed=0)
        flower.wait_for_worker("celery@silent")
        done = push_job(*arguments)
        assert done.returncode == 0, done.stdout
        assert marked("-", done.stdout)
        events.worker("celery@silent", freq=600.0, processed=12)
    found: list[str] = []

    def has_failed() -> bool:
        found[:] = crosses(push_job(*arguments).stdout)
        return bool(found)

    eventually(has_failed)
    assert "12 tasks" in found[0]
    assert "-E" in found[0]


def test_events_of_senders_are_distinguished_from_those_of_workers(
    unheard: tuple[Redis, Flower], clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    redis, flower = unheard
    arguments = ("check", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    with TaskEvents(redis.url) as events:
        events.worker("celery@silent", freq=600.0, processed=4711)
        events.send("task-sent", uuid="sent-1", name="shop.sent", timestamp=time.time() - 3 * 86_400)
        flower.wait_for_worker("celery@silent")
        flower.wait_for_task("sent-1", "PENDING")
        (cross,) = crosses(push_job(*arguments).stdout)
        assert "4,711 tasks" in cross
        assert "-E" in cross
        events.send("task-received", uuid="old-1", name="shop.old", timestamp=time.time() - 4 * 86_400)
        flower.wait_for_task("old-1", "RECEIVED")
        done = push_job(*arguments)
        assert done.returncode == 0, done.stdout
        assert any("3 days" in line for line in marked("-", done.stdout))
        events.send("task-received", uuid="ahead-1", name="shop.ahead", timestamp=time.time() + 2.2 * 3600)
        flower.wait_for_task("ahead-1", "RECEIVED")
        (cross,) = crosses(push_job(*arguments).stdout)
        assert "2 hours" in cross
        assert "NTP" in cross


@pytest.mark.parametrize("version", ["2.0.1", None])
def test_the_newest_event_is_found_in_every_order_of_the_list(
    version: str | None, testbed: Testbed, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    redis = testbed.redis()
    flower = testbed.flower(redis, version=version)
    with TaskEvents(redis.url) as events:
        events.worker("celery@late", freq=600.0)
        for name, minutes in (("new", 10), ("old", 22)):  # the later event of a sender has the higher logical clock
            events.send("task-received", uuid=name, name="shop.late", timestamp=time.time() - minutes * 60)
            flower.wait_for_task(name, "RECEIVED")
    done = push_job("check", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    assert re.search("1[0-2] minutes", done.stdout), done.stdout
    assert "22 minutes" not in done.stdout
    flower.stop()
    redis.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a private CA, a server certificate and a Pushgateway's web.yml.

    The CA is ca.pem. web.yml has the settings for TLS with the certificate in server.pem.
    """
    folder = tmp_path_factory.mktemp("pki")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    (folder / "web.yml").write_text(
        f"tls_server_config:\n  cert_file: {folder}/server.pem\n  key_file: {folder}/server.pem\n"
    )
    return folder


def test_tls_is_a_step_of_its_own(testbed: Testbed, healthy_flower: Flower, authority: Path, push_job: PushJob) -> None:
    trusting = Client(context=ssl.create_default_context(cafile=str(authority / "ca.pem")))
    gateway = testbed.pushgateway(options=[f"--web.config.file={authority}/web.yml"], client=trusting)
    flower_with_tls = healthy_flower.url.replace("http:", "https:")
    done = push_job("check", "--flower", flower_with_tls, "--pushgateway", gateway.url, *FAST)
    assert done.returncode == 1
    no_tls, not_trusted = crosses(done.stdout)
    assert "http://" in no_tls
    assert "-ca-file" in not_trusted

    trust = ("--pushgateway-ca-file", str(authority / "ca.pem"))
    done = push_job("check", "--flower", healthy_flower.url, "--pushgateway", gateway.url, *trust)
    assert done.returncode == 0, done.stdout
    assert any("TLS" in line for line in marked("✓", done.stdout))

    bundle = {"REQUESTS_CA_BUNDLE": str(authority / "ca.pem")}
    assert push_job("check", "--flower", healthy_flower.url, "--pushgateway", gateway.url, env=bundle).returncode == 0

    plain = gateway.url.replace("https:", "http:")
    done = push_job("check", "--flower", healthy_flower.url, "--pushgateway", plain, *FAST)
    assert len(crosses(done.stdout)) == 1
    gateway.stop()


@pytest.mark.slow
def test_a_server_that_answers_https_with_something_else_is_found(quick_push_job: PushJob) -> None:
    with ScriptedServer({"*": status_answer(200)}) as server:
        url = server.url.replace("http:", "https:")
        done = quick_push_job("check", "--flower", url, "--pushgateway", url, *FAST)
    assert len(crosses(done.stdout)) == 2
    assert all("http://" in cross for cross in crosses(done.stdout))


def test_a_proxy_is_named_and_tested_instead_of_the_server(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    options = ("check", "--flower", "http://flower.internal:5555", "--pushgateway", clean_pushgateway.url, *FAST)
    answers = {"/api/workers": json_answer({"celery@a": True}), "/api/tasks": json_answer({})}
    with ScriptedServer(
        {name: answers[path] for path in answers for name in (path, f"http://flower.internal:5555{path}")}
    ) as proxy:
        through = {"http_proxy": proxy.url, "no_proxy": "127.0.0.1"}
        done = push_job(*options, env=through)
    assert done.returncode == 0, done.stdout
    assert any("HTTP_PROXY" in line for line in marked("-", done.stdout))
    (cross,) = crosses(push_job(*options, env=through).stdout)
    assert f"port {proxy.url.rpartition(':')[2]} " in cross


def test_other_commands_accept_the_options_of_push(
    healthy_flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    options = [
        *(
            "--flower",
            healthy_flower.url,
            "--pushgateway",
            clean_pushgateway.url,
            "--grouping",
            "team=shop",
            "--job",
            "x",
        ),
        *("--page-size", "100", "--max-task-types", "50", "--with", "queues", "--buckets", "1,2", "--timeout", "9"),
    ]
    for command in ("push", "show", "check", "delete"):
        done = push_job(command, *options)
        assert done.returncode == 0, done.stdout + done.stderr
    assert clean_pushgateway.groups() == []


def test_a_wrong_clock_is_found(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    headers = {"Date": "Mon, 01 Jan 2024 00:00:00 GMT"}
    document = b'{"celery@a": true}'
    rows = b'{"data": [{"hostname": "celery@a", "processed": 0}]}'
    answers = {"/api/workers": answer(document), "/workers": answer(rows, headers=headers), "/api/tasks": answer(b"{}")}
    with ScriptedServer(answers) as server:
        done = push_job("check", "--flower", server.url, "--pushgateway", clean_pushgateway.url)
    (cross,) = crosses(done.stdout)
    assert "NTP" in cross


def test_a_pushgateway_that_refuses_is_found(healthy_flower: Flower, push_job: PushJob) -> None:
    with ScriptedServer({"*": status_answer(401)}) as gateway:
        done = push_job("check", "--flower", healthy_flower.url, "--pushgateway", gateway.url)
    assert done.returncode == 1
    (cross,) = crosses(done.stdout)
    assert "--pushgateway-username" in cross


def test_an_extra_that_cannot_be_read_is_found(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    answers = {"/api/workers": json_answer({"celery@a": True}), "/api/tasks": json_answer({})}
    with ScriptedServer({**answers, "/api/queues/length": status_answer(500)}) as server:
        servers = ("--flower", server.url, "--pushgateway", clean_pushgateway.url)
        done = push_job("check", *servers, "--with", "queues,runtimes")
    (cross,) = crosses(done.stdout)
    assert "queues" in cross
    assert "500" in done.stderr
    assert any("runtimes" in line for line in marked("✓", done.stdout))


def test_a_page_of_tasks_that_push_could_not_read_is_found(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    answers = {"/api/workers": json_answer({"celery@a": True})}
    page = answer(b'{"a": {"name": "t"}, "b": {"na')
    with ScriptedServer({**answers, "/api/tasks": page}) as server:
        done = push_job("check", "--flower", server.url, "--pushgateway", clean_pushgateway.url)
        asked = next(request.query for request in server.requests if request.path == "/api/tasks")
    (cross,) = crosses(done.stdout)
    assert "/api/tasks" in cross
    assert "limit=12600" in asked
