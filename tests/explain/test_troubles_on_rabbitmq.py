"""`explain` and a push with a real RabbitMQ."""

import json
import re

import pytest

from testbed.command import PushJob
from testbed.services import Pushgateway, Testbed, VirtualHost
from testbed.troubles import troubles_app
from tests.explain.troubles import RABBITMQ, TROUBLES, Trouble, check


@pytest.mark.parametrize(
    "trouble",
    [trouble for trouble in TROUBLES if RABBITMQ in trouble.brokers],
    ids=lambda trouble: trouble.make.__name__,
)
def test_a_problem_is_found(trouble: Trouble, testbed: Testbed, virtual_host: VirtualHost) -> None:
    check(trouble, testbed, virtual_host)


def test_push_and_explain_on_rabbitmq(
    testbed: Testbed, virtual_host: VirtualHost, pushgateway: Pushgateway, push_job: PushJob
) -> None:
    flower = testbed.flower(virtual_host, options=virtual_host.flower_options)
    worker = testbed.worker(virtual_host, name="amqp-1", app="testbed.troubles")
    flower.wait_for_worker(worker.node)
    with troubles_app(virtual_host.url) as app:
        flower.wait_for_task(app.send_task("t.quick").id, "SUCCESS")
    virtual_host.wait_for_queue("celery")

    options = ("--with", "queues,pools", "--job", "amqp")
    done = push_job("push", "--flower", flower.url, "--pushgateway", pushgateway.url, *options)
    assert done.returncode == 0, done.stderr
    pushed = pushgateway.client.get(f"{pushgateway.url}/metrics")
    for family, value in (("celery_queue_length", 0), ("celery_queue_consumers", 1)):
        assert re.search(rf'^{family}{{[^}}]*job="amqp"[^}}]*}} {value}$', pushed, re.MULTILINE)

    report = json.loads(push_job("explain", "--flower", flower.url, "--format", "json").stdout)
    assert report["well"] is True
    flower.kill()
    worker.kill()
