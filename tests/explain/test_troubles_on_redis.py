"""`explain` with a real Redis."""

from collections.abc import Iterator

import pytest

from testbed.services import Redis, Testbed
from tests.explain.troubles import REDIS, TROUBLES, Trouble, check


@pytest.fixture
def broker(testbed: Testbed) -> Iterator[Redis]:
    """A Redis of this test's own."""
    redis = testbed.redis()
    yield redis
    redis.kill()


@pytest.mark.parametrize(
    "trouble", [trouble for trouble in TROUBLES if REDIS in trouble.brokers], ids=lambda trouble: trouble.make.__name__
)
def test_a_problem_is_found(trouble: Trouble, testbed: Testbed, broker: Redis) -> None:
    check(trouble, testbed, broker)
