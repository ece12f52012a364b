"""Brokers for real troubles: one RabbitMQ for the session."""

import itertools

import pytest

from testbed.services import RabbitMQ, Testbed, VirtualHost

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def rabbitmq(testbed: Testbed) -> RabbitMQ:
    """The session's RabbitMQ; take a virtual host of it."""
    return testbed.rabbitmq()


@pytest.fixture
def virtual_host(rabbitmq: RabbitMQ) -> VirtualHost:
    """A virtual host of this test's own."""
    return rabbitmq.virtual_host(f"test-{next(_numbers)}")
