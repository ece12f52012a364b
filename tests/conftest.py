"""Fixtures: one of each real service, and the command as a user runs it.

The services live for the session.

Hypothesis has two profiles: "fixed" draws the same examples in every run, and
is the default; "random" is for `make test-random`.
"""

import os
from collections.abc import Iterator, Mapping
from subprocess import CompletedProcess

import hypothesis
import pytest

from push_job.http import client
from testbed.command import PushJob, clean_environment, run_push_job
from testbed.services import Flower, Prometheus, Pushgateway, Redis, Testbed, Worker
from tests.in_process import call_push_job

# Tests send requests themselves and run the job in this process, so no setting may come from the environment.
for _name in set(os.environ) - set(clean_environment()):
    del os.environ[_name]

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("random", deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of services that the test bed starts, and tests of properties."""
    for item in items:
        if "testbed" in getattr(item, "fixturenames", ()):
            item.add_marker("services")
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("properties")
            item.add_marker("slow")


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """The testbed of the session, which starts services.

    A service that a test starts lives until the session ends, unless the test stops it.
    """
    with Testbed() as bed:
        yield bed


@pytest.fixture(scope="session")
def redis(testbed: Testbed) -> Redis:
    """The broker of the fixtures `flower` and `worker`."""
    return testbed.redis()


@pytest.fixture(scope="session")
def flower(testbed: Testbed, redis: Redis) -> Flower:
    """A Flower with an open API. It has the tasks of earlier tests too."""
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
    """Return a function that runs push-job in a process of its own.

    Example: `push_job("push", "--flower", url, env={...})`.
    """
    return run_push_job


@pytest.fixture(scope="session")
def quick_push_job() -> PushJob:
    """`push_job` in this process, for tests of options and output."""

    def call(*args: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> CompletedProcess[str]:
        return call_push_job(*args, env=env)

    return call


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first retries follow at once; a pause that a server asks for is kept."""
    pause_before = client._pause_before
    monkeypatch.setattr(client, "_pause_before", lambda retries: 0.0 if retries < 10 else pause_before(retries))
