"""The scene that every query is asked of: two Flowers with known tasks, pushed for real, scraped for real.

The job that the user's notes name has a worker that leaves between its two pushes. Job `mail.eu` has a dot in its
name, and `mailxeu` is the same Flower pushed once more under a name that `mail.eu` matches unless it is escaped.
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
from tests.panels.scene import FOR_EVER, Tasks, tell

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
    """What Prometheus knows, and when.

    Attributes:
        shop, mail: the values of the label `instance` of the two Flowers.
        at: the time that every query is asked as of, just after the last push (Unix seconds).
    """

    prometheus: Prometheus
    shop: str
    mail: str
    at: float

    @property
    def tasks(self) -> dict[tuple[str, str], Sequence[Tasks]]:
        """The tasks of the two chosen groups, by job and instance."""
        return {(JOB, self.shop): (*SHOP_AT_FIRST, *SHOP_LATER), ("mail.eu", self.mail): MAIL}

    @property
    def workers(self) -> dict[tuple[str, str], dict[str, int]]:
        """Which workers of the two groups are up."""
        return {
            (JOB, self.shop): {"celery@shop-1": 1, "celery@shop-2": 0},
            ("mail.eu", self.mail): {"celery@mail-1": 1},
        }


@pytest.fixture(scope="session")
def scene(testbed: Testbed, push_job: PushJob) -> Scene:
    """The scene above."""
    shop_redis, mail_redis = testbed.redis(), testbed.redis()
    shop, mail = testbed.flower(shop_redis), testbed.flower(mail_redis)
    pushgateway = testbed.pushgateway()
    prometheus = testbed.prometheus(pushgateway, rule_files=sorted(ROOT.glob("prometheus/rules/*.yml")))

    def push(job: str, flower: Flower) -> None:
        done = push_job("push", "--job", job, "--flower", flower.url, "--pushgateway", pushgateway.url)
        assert done.returncode == 0, done.stderr

    _come(shop_redis, shop, "celery@shop-1", "celery@shop-2")
    _come(mail_redis, mail, "celery@mail-1")
    tell(shop_redis.url, shop, SHOP_AT_FIRST, worker="celery@shop-1")
    tell(mail_redis.url, mail, MAIL, worker="celery@mail-1")
    push(JOB, shop)
    push("mail.eu", mail)
    push("mailxeu", mail)
    # CeleryWorkerWentAway compares with most of the time before.
    _wait_until(prometheus, f'count_over_time(instance:celery_workers:sum{{job="{JOB}"}}[1h]) >= 6')
    with TaskEvents(shop_redis.url) as events:
        events.worker("celery@shop-2", freq=0.01)  # killed: no other heartbeat comes in that time
    shop.wait_for_worker("celery@shop-2", alive=False)
    tell(shop_redis.url, shop, SHOP_LATER, worker="celery@shop-1")
    push(JOB, shop)
    _wait_until(prometheus, f'instance:celery_workers:sum{{job="{JOB}"}} == 1')
    return Scene(prometheus, host_and_port(shop), host_and_port(mail), at=time.time())


def _come(redis: Redis, flower: Flower, *workers: str) -> None:
    with TaskEvents(redis.url) as events:
        for worker in workers:
            events.worker(worker, freq=FOR_EVER)
    for worker in workers:
        flower.wait_for_worker(worker)


def _wait_until(prometheus: Prometheus, query: str) -> None:
    wait_for(query, lambda: bool(prometheus.query(query)), 30)


def host_and_port(flower: Flower) -> str:
    return flower.url.removeprefix("http://")
