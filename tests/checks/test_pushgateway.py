"""Clashes of families on a Pushgateway, and its version."""

import pytest
from prometheus_client.metrics_core import GaugeMetricFamily

from push_job.checks.pushgateway import CHECK_JOB, check_pushgateway
from push_job.settings import Endpoint, Settings
from tests.fakes.http import Script, ScriptedServer, answer, json_answer, status_answer

STATUS = json_answer({"status": "success", "data": {"build_information": {"version": "1.5.1"}}})


def steps(metrics: Script | bytes, status: Script = STATUS, **changes: Script) -> list[tuple[bool | None, str]]:
    """Return mark and text of the steps after the connection to a Pushgateway.

    The Pushgateway has these metrics.
    """
    answers = {"/api/v1/status": status, "/metrics": answer(metrics) if isinstance(metrics, bytes) else metrics}
    with ScriptedServer({**answers, "*": status_answer(200), **changes}) as server:
        flowers = (Endpoint("http://f:5555"), Endpoint("http://h:5555"))
        settings = Settings(flowers, Endpoint.parse(server.url, "--pushgateway"), deadline=300.0)
        found = [(step.passed, step.text) for step in check_pushgateway(settings, [GaugeMetricFamily("extra", "", 1)])]
        pushed = [request for request in server.requests if request.path.startswith("/metrics/")]
        assert [request.method for request in pushed] in ([], ["PUT", "DELETE"])
        assert len({request.path for request in pushed}) <= 1
        assert all(request.path.startswith(f"/metrics/job/{CHECK_JOB}/instance/") for request in pushed)
    return found[1:]  # without the step of the port


def sample(family: str, kind: str, suffix: str = "", labels: str = 'job="x",instance="y"') -> bytes:
    """Return one sample with its TYPE line."""
    return f"# TYPE {family} {kind}\n{family}{suffix}{{{labels}}} 1\n".encode()


#: Metrics of a Pushgateway, and whether our push would clash with them.
METRICS = {
    "nothing": (b"# nothing\n", False),
    "another family": (sample("other", "counter"), False),
    "our family as ours": (sample("celery_workers", "gauge"), False),
    "our family as a counter": (sample("celery_workers", "counter"), True),
    "our family in our own group": (
        sample("celery_workers", "counter", labels='job="flower",instance="f:5555"'),
        False,
    ),
    "our family of our job elsewhere": (
        sample("celery_workers", "counter", labels='job="flower",instance="g:1"'),
        True,
    ),
    "an extra's family": (sample("extra", "histogram", "_count"), True),
    "a histogram with our name in it": (sample("flower", "histogram", "_sum"), False),
    "a summary whose count is ours": (sample("celery", "summary", "_count"), False),
    "a type without samples": (b"# TYPE celery_workers counter\n", False),
    "no end of line": (sample("celery_workers", "counter").rstrip(), True),
}


@pytest.mark.parametrize(("metrics", "clashes"), METRICS.values(), ids=METRICS)
def test_a_clash_is_found_unless_it_is_in_our_own_group(metrics: bytes, clashes: bool) -> None:
    version, pushed, last = steps(metrics)
    assert (version[0], pushed[0], last[0]) == (True, True, not clashes)
    assert "1.5.1" in version[1]
    if clashes:
        assert metrics.split()[2].decode() in last[1]


@pytest.mark.parametrize(
    "metrics",
    [
        b"x" * 20_000,
        sample("celery_workers", "counter") + b"y" * 20_000 + b"\n",
        b"# TYPE celery_workers counter\nodd\n",
    ],
)
def test_metrics_of_another_kind_fail(metrics: bytes) -> None:
    assert steps(metrics)[-1][0] is False


def test_a_shard_without_a_flower_can_be_checked() -> None:
    with ScriptedServer(
        {"/api/v1/status": STATUS, "/metrics": answer(b"# nothing\n"), "*": status_answer(200)}
    ) as server:
        settings = Settings((), Endpoint.parse(server.url, "--pushgateway"), deadline=300.0)
        assert [step.passed for step in check_pushgateway(settings, [])] == [True] * 4


def test_no_metrics_is_no_failure() -> None:
    assert steps(status_answer(404))[-1][0] is None
    assert steps(status_answer(500))[-1][0] is not True


OTHER = json_answer({"status": "error"})


@pytest.mark.parametrize(
    ("status", "mark"),
    [
        (json_answer({"status": "success", "data": None}), True),
        (json_answer({"status": "success", "data": {"build_information": {"version": "1\x1b[2J"}}}), True),
        (OTHER, None),
        (json_answer([]), None),
        (answer(b"<html>"), None),
        (status_answer(404), None),
        (status_answer(401), None),
    ],
)
def test_a_server_without_the_status_of_a_pushgateway_may_accept_pushes(status: Script, mark: bool | None) -> None:
    found = steps(b"# nothing\n", status)
    assert [passed for passed, _ in found] == [mark, True, True]
    assert all("\x1b" not in text for _, text in found)


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        (b'prometheus_build_info{version="2"} 1\n', "Prometheus"),
        (b'flower_events_total{task="t"} 1\n', "Flower"),
        (b"<html>log in</html>", ""),
    ],
)
def test_another_server_is_recognized_and_gets_no_push(metrics: bytes, name: str) -> None:
    ((passed, text),) = steps(metrics, OTHER)
    assert passed is False
    assert name in text


def test_victoriametrics_is_recognized() -> None:
    assert "--push-format" in steps(b'vm_app_version{version="v1"} 1\n', OTHER)[0][1]
