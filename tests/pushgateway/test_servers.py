"""push, delete and check tell the truth, whatever server or proxy stands at the Pushgateway's URL."""

import time

import pytest

from testbed.command import PushJob
from testbed.other_servers import Nginx, VictoriaMetrics
from testbed.services import Prometheus, Pushgateway, Testbed
from tests.fakes.http import Script, ScriptedServer, answer, status_answer
from tests.faults.cycles import fake_flower

LIMIT = "6k"


@pytest.fixture(scope="module")
def nginx(testbed: Testbed, pushgateway: Pushgateway) -> Nginx:
    """An nginx in front of the Pushgateway, with one path for each way to disturb pushes."""
    target = f"proxy_pass {pushgateway.url}/;"
    return testbed.nginx(
        f"""
        location /plain/ {{ {target} }}
        location /small/ {{ client_max_body_size {LIMIT}; {target} }}
        location /tiny/ {{ client_max_body_size 300; {target} }}
        location /dropped/ {{ {target} proxy_set_body ''; }}
        location /only/metrics/job {{ proxy_pass {pushgateway.url}/metrics/job; }}
        location /ignored/ {{ return 200; }}
        """
    )


def flower_up(pushgateway: Pushgateway) -> float:
    """Return the value of flower_up in the only group."""
    [value] = [value for (name, _), value in pushgateway.samples().items() if name == "flower_up"]
    return value


@pytest.mark.parametrize("path", ["plain", "only"])
def test_a_push_through_a_proxy_is_stored(
    path: str, nginx: Nginx, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower() as flower:
        servers = ("--flower", flower.url, "--pushgateway", f"{nginx.url}/{path}")
        assert push_job("push", *servers).returncode == 0
        assert flower_up(clean_pushgateway) == 1
        checked = push_job("check", *servers)
        assert checked.returncode == 0, checked.stdout
        assert push_job("delete", *servers).returncode == 0
    assert clean_pushgateway.groups() == []


@pytest.mark.limit(
    "the Pushgateway, or a proxy in front of it",
    "a success without storing the push",
    "is noticed by the first push of a process and by `check`",
)
def test_a_proxy_that_drops_the_body_is_noticed(
    nginx: Nginx, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower() as flower:
        servers = ("--flower", flower.url, "--pushgateway", f"{nginx.url}/dropped", "--deadline", "20")
        done = push_job("push", *servers)
        assert done.returncode == 3
        assert "push_error=" in done.stderr
        assert push_job("check", *servers).returncode == 1


def test_a_push_that_is_too_large_is_repeated_without_extras(
    nginx: Nginx, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower() as flower:
        servers = ("--flower", flower.url, "--pushgateway", f"{nginx.url}/small")
        assert push_job("push", *servers).returncode == 0
        done = push_job("push", *servers, "--with", "runtimes,waits,ages,last-run", "--buckets", BOUNDS)
    assert done.returncode == 0
    assert "client_max_body_size" in done.stderr
    assert flower_up(clean_pushgateway) == 1


#: So many buckets that the histogram does not fit into the proxy's limit.
BOUNDS = ",".join(str(bound) for bound in range(1, 400))


def test_a_push_that_is_too_large_even_without_extras_becomes_flower_up_0(
    nginx: Nginx, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower() as flower:
        done = push_job("push", "--flower", flower.url, "--pushgateway", f"{nginx.url}/tiny")
    assert done.returncode == 3
    assert "client_max_body_size" in done.stderr
    names = {name for name, _ in clean_pushgateway.samples()}
    assert "celery_workers" not in names


ANSWERS: dict[str, Script] = {
    "204": status_answer(204),
    "a login page": answer(b"<html>Sign in</html>"),
    "JSON": answer(b'{"status": "ok"}'),
    "a redirect": status_answer(308, headers={"Location": "https://pushgateway.example/"}),
    "201": status_answer(201),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.limit(
    "the Pushgateway, or a proxy in front of it",
    "an answer that is not a Pushgateway's",
    'is exit code 3, never "pushed"',
)
def test_any_other_answer_is_exit_code_3_with_what_answered(name: str, quick_push_job: PushJob) -> None:
    with fake_flower() as flower, ScriptedServer({"*": ANSWERS[name]}) as server:
        done = quick_push_job("push", "--flower", flower.url, "--pushgateway", server.url, "--deadline", "20")
    assert done.returncode == 3
    assert "push_error=" in done.stderr
    assert "msg=pushed" not in done.stderr


def test_prometheus_and_flower_are_recognized(push_job: PushJob, prometheus: Prometheus) -> None:
    with fake_flower() as flower:
        for server, name in ((prometheus.url, "Prometheus"),):
            done = push_job("check", "--flower", flower.url, "--pushgateway", server)
            assert done.returncode == 1
            assert f"it is {name}" in done.stdout


@pytest.fixture(scope="module")
def victoriametrics(testbed: Testbed) -> VictoriaMetrics:
    return testbed.victoriametrics()


def test_victoriametrics_does_not_count_as_a_pushgateway(push_job: PushJob, victoriametrics: VictoriaMetrics) -> None:
    # Debian's 1.79.5 has no such path; newer versions answer 200 and store nothing.
    with fake_flower() as flower:
        url = f"{victoriametrics.url}/api/v1/import/prometheus"
        done = push_job("push", "--flower", flower.url, "--pushgateway", url)
        assert done.returncode == 3
        assert (
            "VictoriaMetrics" in push_job("check", "--flower", flower.url, "--pushgateway", victoriametrics.url).stdout
        )


def test_a_text_push_has_the_push_time(quick_push_job: PushJob) -> None:
    with fake_flower() as flower, ScriptedServer({"*": status_answer(204)}) as server:
        done = quick_push_job("push", "--flower", flower.url, "--pushgateway", server.url, "--push-format", "text")
        assert done.returncode == 0
        (request,) = server.requests
    assert request.headers["content-type"].startswith("text/plain")
    text = request.body.decode()
    assert "\npush_time_seconds " in text
    assert "\nflower_up 1.0" in text


def test_a_pushgateway_stores_a_text_push_as_well(clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    with fake_flower() as flower:
        servers = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
        assert push_job("push", *servers, "--push-format", "text").returncode == 0
    assert flower_up(clean_pushgateway) == 1


def test_two_pushgateways_are_refused(quick_push_job: PushJob) -> None:
    done = quick_push_job("push", "--pushgateway", "http://127.0.0.1:1", "--pushgateway", "http://127.0.0.1:2")
    assert done.returncode == 2
    assert "--pushgateway" in done.stderr


def test_stale_groups_are_listed_and_deleted_after_a_question(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower() as flower:
        servers = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
        for number in range(2):
            assert push_job("push", *servers, "--grouping", f"team=team {number}/x").returncode == 0
        other = push_job("push", *servers, "--job", "other")
        assert other.returncode == 0
    time.sleep(1.1)  # the Pushgateway's clock is read from its answers in seconds
    stale = ("delete", "--pushgateway", clean_pushgateway.url, "--stale", "0.001")
    assert push_job(*stale).returncode == 2  # without an answer nothing is deleted
    assert len(clean_pushgateway.groups()) == 3
    done = push_job(*stale, "--yes")
    assert done.returncode == 0
    assert done.stdout.count("deleted: ") == 2
    (left,) = clean_pushgateway.groups()
    assert left["labels"]["job"] == "other"
    assert push_job("delete", "--pushgateway", clean_pushgateway.url, "--stale", "1h", "--yes").returncode == 0
