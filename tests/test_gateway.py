"""A registry is pushed in one request.

The error of an unanswered push says that the state of the group is unknown.
"""

import time
from collections.abc import Iterable
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from push_job.http.client import Client
from push_job.pushgateway.client import UNKNOWN, PushgatewayClient, PushgatewayError
from push_job.settings import Endpoint
from tests.fakes.http import Close, Reset, Script, ScriptedServer, Stall, answer, status_answer
from tests.faults.cycles import PUSHED
from tests.metric_messages import unlabelled

GROUP = {"job": "gateway", "instance": "a"}


class Counted:
    """A collector that counts how often it is collected."""

    def __init__(self) -> None:
        self.collections = 0

    def collect(self) -> Iterable[Metric]:
        self.collections += 1
        return [GaugeMetricFamily("collections", "Number of collections.", value=self.collections)]


def push(url: str, collector: Counted, seconds: float = 60.0) -> None:
    """Push the collector's families. Raises PushgatewayError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    with closing(client_of(url, seconds)) as client:
        PushgatewayClient(client).push(registry, GROUP, time.monotonic() + seconds)


def client_of(url: str, seconds: float = 60.0) -> Client:
    return Client(Endpoint.parse(url, "--pushgateway"), timeout=seconds)


def test_a_registry_is_collected_once_for_all_attempts() -> None:
    collector = Counted()
    with ScriptedServer({"*": [status_answer(503), (Reset(),), PUSHED]}) as server:
        push(server.url, collector)
    assert collector.collections == 1
    assert len(server.requests) == 3
    for request in server.requests:
        assert request.headers["content-type"] == (
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        )
        assert unlabelled(request.body) == {"collections": 1.0}


pytestmark = pytest.mark.usefixtures("no_pauses")

UNANSWERED: dict[str, tuple[Script, ...]] = {
    "it closes the connection": ((Close(),),),
    "it resets the connection": ((Reset(),),),
    "a proxy that timed out": (status_answer(504),),
    "a proxy whose server failed": (status_answer(502),),
    "no answer, then a rejection": ((Close(),), status_answer(403)),
}
REJECTED: dict[str, tuple[Script, ...]] = {
    "it rejects the push": (answer(b"no", "400 Bad Request"),),
    "it needs a password": (status_answer(401),),
    "it is too busy": (status_answer(503),),
    "a redirect": (status_answer(302, headers={"Location": "/login"}),),
}


@pytest.mark.parametrize("answers", UNANSWERED.values(), ids=UNANSWERED)
def test_the_error_of_an_unanswered_push_says_that_the_group_is_unknown(answers: tuple[Script, ...]) -> None:
    with ScriptedServer({"*": list(answers)}) as server, pytest.raises(PushgatewayError) as failure:
        push(server.url, Counted())
    assert str(failure.value).endswith(UNKNOWN)


@pytest.mark.slow
def test_the_error_of_a_push_at_the_deadline_says_that_the_group_is_unknown() -> None:
    with ScriptedServer({"*": (Stall(),)}) as server, pytest.raises(PushgatewayError) as failure:
        push(server.url, Counted(), seconds=3)
    assert str(failure.value).endswith(UNKNOWN)


def test_the_error_of_an_unanswered_delete_does_not_say_so() -> None:
    with ScriptedServer({"*": (Close(),)}) as server, closing(client_of(server.url)) as client:
        gateway = PushgatewayClient(client)
        with pytest.raises(PushgatewayError) as failure:
            gateway.delete(GROUP, time.monotonic() + 60)
    assert UNKNOWN not in str(failure.value)


@pytest.mark.parametrize("answers", REJECTED.values(), ids=REJECTED)
def test_the_error_of_a_rejected_push_does_not_say_so(answers: tuple[Script, ...]) -> None:
    with ScriptedServer({"*": list(answers)}) as server, pytest.raises(PushgatewayError) as failure:
        push(server.url, Counted())
    assert UNKNOWN not in str(failure.value)


def test_the_error_of_an_unsent_push_does_not_say_so() -> None:
    with ScriptedServer({}) as server:
        pass
    with pytest.raises(PushgatewayError) as failure:
        push(server.url, Counted())
    assert UNKNOWN not in str(failure.value)
