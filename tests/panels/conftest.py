"""The scene for all queries: two Flowers with known tasks.

The job in the user's notes has a worker that leaves between its two pushes. The name of job `mail.eu` contains a dot.
`mailxeu` is the same Flower pushed under another name, which `mail.eu` matches as a regular expression unless escaped.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.process import wait_for
from testbed.queries import JOB
from testbed.services import Flower, Prometheus, Redis, Testbed
from tests.panels.boards import ROOT
from tests.panels.scene import FOR_EVER, Tasks, send_tasks

SHOP_AT_FIRST = (
    Tasks("shop.pay", "SUCCESS", 16, 2.0),
    Tasks("shop.mail", "SUCCESS", 10, 0.5),
    Tasks("shop.pay", "FAILURE", 3, 1.0),
    Tasks("shop.pay", "RECEIVED", 2, 600.0),
    Tasks("shop.report", "STARTED", 1, 1200.0),
    Tasks("shop.mail", "RETRY", 1, 700.0),
    Tasks("shop.mail", "REVOKED", 2, 10.0),
    Tasks("shop.pay", "PENDING", 1, 900.0),
    Tasks("shop.report", "REJECTED", 1, 10.0),
)
SHOP_LATER = (Tasks("shop.pay", "FAILURE", 1, 1.0), Tasks("shop.pay", "SUCCESS", 1, 6.0))
MAIL = (
    Tasks("mail.send", "SUCCESS", 25, 0.2),
    Tasks("shop.mail", "SUCCESS", 2, 3.5),
    Tasks("mail.send", "RECEIVED", 4, 400.0),
)


@dataclass(frozen=True)
class Scene:
    """The data in Prometheus and the time of the queries.

    Attributes:
        prometheus: the server.
        shop: value of the label `instance` of the first Flower.
        mail: value of the label `instance` of the second Flower.
        at: time of all queries, shortly after the last push (Unix seconds).
    """

    prometheus: Prometheus
    shop: str
    mail: str
    at: float

    @property
    def tasks(self) -> dict[tuple[str, str], Sequence[Tasks]]:
        """Return the tasks of the two selected groups, by job and instance."""
        return {(JOB, self.shop): (*SHOP_AT_FIRST, *SHOP_LATER), ("mail.eu", self.mail): MAIL}

    @property
    def workers(self) -> dict[tuple[str, str], dict[str, int]]:
        """Return the state of the workers of the two groups."""
        return {
            (JOB, self.shop): {"celery@shop-1": 1, "celery@shop-2": 0},
            ("mail.eu", self.mail): {"celery@mail-1": 1},
        }


@pytest.fixture(scope="session")
def scene(testbed: Testbed, push_job: PushJob) -> Scene:
    """Return the scene."""
    shop_redis, mail_redis = testbed.redis(), testbed.redis()
    shop, mail = testbed.flower(shop_redis), testbed.flower(mail_redis)
    pushgateway = testbed.pushgateway()
    prometheus = testbed.prometheus(pushgateway, rule_files=sorted(ROOT.glob("prometheus/rules/*.yml")))

    def push(job: str, flower: Flower) -> None:
        done = push_job("push", "--job", job, "--flower", flower.url, "--pushgateway", pushgateway.url)
        assert done.returncode == 0, done.stderr

    _add_workers(shop_redis, shop, "celery@shop-1", "celery@shop-2")
    _add_workers(mail_redis, mail, "celery@mail-1")
    send_tasks(shop_redis.url, shop, SHOP_AT_FIRST, worker="celery@shop-1")
    send_tasks(mail_redis.url, mail, MAIL, worker="celery@mail-1")
    push(JOB, shop)
    push("mail.eu", mail)
    push("mailxeu", mail)
    # CeleryWorkerWentAway compares with the median of the previous samples.
    _wait_until(prometheus, f'count_over_time(instance:celery_workers:sum{{job="{JOB}"}}[1h]) >= 6')
    with TaskEvents(shop_redis.url) as events:
        events.worker("celery@shop-2", freq=0.01)  # killed: no other heartbeat comes in that time
    shop.wait_for_worker("celery@shop-2", alive=False)
    send_tasks(shop_redis.url, shop, SHOP_LATER, worker="celery@shop-1")
    push(JOB, shop)
    _wait_until(prometheus, f'instance:celery_workers:sum{{job="{JOB}"}} == 1')
    _wait_until(prometheus, f'instance_type:celery_tasks_finished:recent{{job="{JOB}"}} == 2')
    return Scene(prometheus, host_and_port(shop), host_and_port(mail), at=time.time())


def _add_workers(redis: Redis, flower: Flower, *workers: str) -> None:
    with TaskEvents(redis.url) as events:
        for worker in workers:
            events.worker(worker, freq=FOR_EVER)
    for worker in workers:
        flower.wait_for_worker(worker)


def _wait_until(prometheus: Prometheus, query: str) -> None:
    wait_for(query, lambda: bool(prometheus.query(query)), 30)


def host_and_port(flower: Flower) -> str:
    return flower.url.removeprefix("http://")
