"""`explain` on real troubles, on RabbitMQ and on Redis."""

import itertools
from collections.abc import Iterator

import pytest

from push_job.explain import facts
from testbed.services import RabbitMQ, Redis, Testbed, VirtualHost
from tests.explain.scenes import open_scene
from tests.explain.troubles import RABBITMQ, REDIS, TROUBLES, Trouble

_numbers = itertools.count(1)

CASES = [(trouble, broker) for broker in (RABBITMQ, REDIS) for trouble in TROUBLES if broker in trouble.brokers]


@pytest.fixture
def broker(request: pytest.FixtureRequest, testbed: Testbed) -> Iterator[Redis | VirtualHost]:
    """The broker that the trouble is made on: a virtual host or a Redis of its own."""
    _, kind = request.node.callspec.params["case"]
    if kind == RABBITMQ:
        rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
        yield rabbitmq.virtual_host(f"trouble-{next(_numbers)}")
        return
    redis = testbed.redis()
    yield redis
    redis.kill()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]}-{case[0].make.__name__}")
def test_a_trouble_is_found(
    case: tuple[Trouble, str], testbed: Testbed, broker: Redis | VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble, _ = case
    scene = open_scene(testbed, broker, **trouble.scene)
    # The rules wait for heartbeats of two seconds; these workers send one each second.
    monkeypatch.setattr(facts, "SETTLED", 3)
    try:
        trouble.make(scene)
    finally:
        scene.close()
