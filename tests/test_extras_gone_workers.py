"""Workers that are gone leave the push.

They leave at once after an orderly stop, else after a while.
"""

from collections.abc import Iterator

import pytest

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Pushgateway, Testbed
from tests.extras_reading import of_family, push
from tests.independent import Key, eventually, key

#: Pods that came, sent a heartbeat and stopped in order.
PODS = 30


@pytest.fixture(scope="module", params=[None, "2.0.1", "1.2.0"], ids=["newest", "2.0.1", "1.2.0"])
def flower(request: pytest.FixtureRequest, testbed: Testbed) -> Iterator[Flower]:
    started = testbed.flower(testbed.redis(), version=request.param)
    with TaskEvents(started.broker.url) as events:
        for number in range(PODS):
            for event in ("online", "heartbeat", "offline"):
                events.worker(f"celery@shop-worker-{number:04d}", event)
        for _ in range(4):
            events.worker("celery@killed", freq=0.01)
        for _ in range(4):
            events.worker("celery@live", freq=600.0)
    started.wait_for_worker("celery@live")
    started.wait_for_worker("celery@killed", alive=False)
    yield started
    started.kill()


def workers(samples: dict[Key, float]) -> dict[str, float]:
    return {dict(labels)["app"]: value for (_, labels), value in of_family(samples, "celery_workers").items()}


def test_pods_that_stopped_in_order_leave_and_one_that_was_killed_stays(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    samples = push(push_job, flower, clean_pushgateway, "--with", "activity")
    assert workers(samples) == {"celery@live": 1, "celery@killed": 0}
    assert key("celery_worker_active_tasks", worker="celery@killed") in samples
    assert len(of_family(samples, "celery_worker_active_tasks")) == 2
    shown = push_job("show", "--flower", flower.url).stdout
    assert "shop-worker" not in shown
    assert 0 < shown.index("celery@live") < shown.index("celery@killed")


def test_a_killed_worker_leaves_after_the_configured_time(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    options = ("--with", "activity", "--forget-workers-after")

    def pushed() -> dict[Key, float]:
        return push(push_job, flower, clean_pushgateway, *options, "1")

    eventually(lambda: workers(pushed()) == {"celery@live": 1})
    assert len(of_family(pushed(), "celery_worker_active_tasks")) == 1
    assert workers(push(push_job, flower, clean_pushgateway, *options, "0")) == {"celery@live": 1, "celery@killed": 0}


def test_without_workers_there_is_one_sample_of_0(
    testbed: Testbed, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    flower = testbed.flower(testbed.redis())
    with TaskEvents(flower.broker.url) as events:
        events.worker("celery@pod", "online")
        flower.wait_for_worker("celery@pod")
        events.worker("celery@pod", "offline")
    flower.wait_for_worker("celery@pod", alive=False)
    assert workers(push(push_job, flower, clean_pushgateway)) == {"": 0}
    flower.kill()
