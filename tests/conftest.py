"""Fixtures: one of each real service for the whole session, and the command as a user runs it."""

import os
from collections.abc import Iterator

import pytest

from testbed.command import PushJob, clean_environment, run_push_job
from testbed.services import Flower, Prometheus, Pushgateway, Redis, Testbed, Worker

# Tests ask servers themselves, too, and run the job in their own process.
for _name in set(os.environ) - set(clean_environment()):
    del os.environ[_name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a service that the test bed starts; `make test-fast` leaves these out."""
    for item in items:
        if "testbed" in getattr(item, "fixturenames", ()):
            item.add_marker("services")


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """Starts services; what a test starts itself lives until the session ends, unless the test stops it."""
    with Testbed() as bed:
        yield bed


@pytest.fixture(scope="session")
def redis(testbed: Testbed) -> Redis:
    """The broker of the fixtures `flower` and `worker`."""
    return testbed.redis()


@pytest.fixture(scope="session")
def flower(testbed: Testbed, redis: Redis) -> Flower:
    """A Flower with an open API. It remembers the tasks of earlier tests."""
    return testbed.flower(redis)


@pytest.fixture(scope="session")
def worker(testbed: Testbed, redis: Redis, flower: Flower) -> Worker:
    """A worker that `flower` sees."""
    started = testbed.worker(redis)
    flower.wait_for_worker(started.node)
    return started


@pytest.fixture(scope="session")
def pushgateway(testbed: Testbed) -> Pushgateway:
    """A Pushgateway. It keeps the groups of earlier tests; see `clean_pushgateway`."""
    return testbed.pushgateway()


@pytest.fixture
def clean_pushgateway(pushgateway: Pushgateway) -> Pushgateway:
    """The session's Pushgateway without any group."""
    pushgateway.wipe()
    return pushgateway


@pytest.fixture(scope="session")
def prometheus(testbed: Testbed, pushgateway: Pushgateway) -> Prometheus:
    """A Prometheus that scrapes the session's Pushgateway every second."""
    return testbed.prometheus(pushgateway)


@pytest.fixture(scope="session")
def push_job() -> PushJob:
    """`push_job("push", "--flower", url, env={...})`: the command in a process of its own."""
    return run_push_job
