"""No number is wrong after a change between two requests of one scrape.

The changes are events, stale answers, restarts and reused ids.
"""

import itertools
import logging
import pickle
from typing import cast

import pytest

from push_job.flower.api import Flower
from push_job.http.client import Client
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower, never
from tests.incremental.shared import PAGE, Scene

ORDERS = pytest.mark.parametrize("order", [BY_STAMP, BY_CLOCK])


def with_a_silent_worker(order: str, skew: float = 0.0) -> tuple[Scene, list[str]]:
    """Return a scene with a silent and a busy worker, and the silent one's tasks.

    The silent worker sent nothing in the last cycle.
    """
    scene = Scene(order)
    known = scene.receive(5 * PAGE, "silent", "celery@silent")
    scene.clocks["celery@busy"] = scene.clocks["celery@silent"]
    busy = scene.receive(2 * PAGE, "busy", "celery@busy")
    assert scene.scrape().full
    scene.send("task-started", busy[0], "celery@busy", skew=skew)
    assert not scene.scrape().full
    scene.send("task-started", busy[1], "celery@busy", skew=skew)
    return scene, known


@ORDERS
@pytest.mark.parametrize("skew", [0.0, 90.0])
@pytest.mark.parametrize("request_number", [1, 2])
def test_a_burst_of_a_silent_worker_between_any_two_requests_is_counted(
    order: str, skew: float, request_number: int
) -> None:
    scene, known = with_a_silent_worker(order, skew)

    def burst() -> None:
        for uuid in known[100:400]:
            scene.send("task-succeeded", uuid, "celery@silent", runtime=1.0)

    scene.before_request(request_number, burst)
    scene.scrape()
    scene.send("task-started", known[0], "celery@silent")
    scene.scrape()
    scene.scrape()


@ORDERS
@pytest.mark.limit(
    "Flower, or a proxy in front of it", "event counters out of a cache", "prove nothing: all tasks are read"
)
def test_counters_out_of_a_cache_prove_nothing(order: str) -> None:
    scene, known = with_a_silent_worker(order)
    scene.flower.answers += 1  # somebody else asked, and filled the cache
    scene.flower.cached_metrics = scene.flower.metrics(), scene.flower.now
    for uuid in known[100:150]:
        scene.send("task-succeeded", uuid, "celery@silent", runtime=1.0)
    assert scene.scrape().full
    scene.flower.cached_metrics = None
    scene.scrape()
    scene.scrape()


def test_counters_out_of_a_cache_that_hides_its_age_prove_nothing() -> None:
    scene, known = with_a_silent_worker(BY_CLOCK)
    scene.flower.answers += 1
    scene.flower.cached_metrics = scene.flower.metrics(), None
    for uuid in known[100:150]:
        scene.send("task-succeeded", uuid, "celery@silent", runtime=1.0)
    assert scene.scrape().full


@ORDERS
def test_a_flower_without_a_start_time_is_always_scraped_fully(order: str) -> None:
    scene = Scene(order)
    scene.flower = scene.client.flower = CeleryFlower(order, 10_000, started=0.0)
    ids = scene.receive(3 * PAGE, "task")
    assert scene.scrape().full
    saved = pickle.dumps(scene.flower.state)
    for uuid in ids[:200]:
        scene.send("task-succeeded", uuid, runtime=1.0)
    assert scene.scrape().full
    # It restarts from the older state, and then counts more events than before.
    former, scene.flower = scene.flower, CeleryFlower(order, 10_000, started=0.0)
    scene.client.flower, scene.flower.state, scene.flower.now = scene.flower, pickle.loads(saved), former.now
    scene.flower.counters = former.counters.copy()
    scene.send("task-started", ids[0])
    assert scene.scrape().full


@ORDERS
def test_a_flower_that_restarts_from_an_older_state_is_scraped_fully(order: str) -> None:
    scene = Scene(order)
    ids = scene.receive(3 * PAGE, "task")
    saved = pickle.dumps(scene.flower.state)
    for uuid in ids[:200]:
        scene.send("task-succeeded", uuid, runtime=1.0)
    assert scene.scrape().full
    assert not scene.scrape().full
    former, scene.flower = scene.flower, CeleryFlower(order, 10_000, started=2.0)
    scene.client.flower, scene.flower.state, scene.flower.now = scene.flower, pickle.loads(saved), former.now
    scene.flower.counters = former.counters.copy()
    assert scene.scrape().full
    assert not scene.scrape().full


@ORDERS
def test_an_id_that_is_used_again_for_another_task_type_is_counted(order: str) -> None:
    scene = Scene(order)
    ids = scene.receive(5 * PAGE, "task")
    for uuid in ids:
        scene.send("task-succeeded", uuid, runtime=1.0)
    assert scene.scrape().full
    scene.send("task-received", "new", name="shop.pay")
    assert not scene.scrape().full
    for uuid in ids[:30]:  # Flower 2.2 changes the name and leaves the task where it is
        scene.send("task-received", uuid, name="shop.mail")
    scene.scrape()


@pytest.mark.parametrize("request_number", [1, 2])
def test_a_reused_id_is_not_hidden_by_an_event_of_the_same_kind_between_two_requests(request_number: int) -> None:
    scene = Scene(BY_STAMP)
    ids = scene.receive(5 * PAGE, "task")
    for uuid in ids:
        scene.send("task-succeeded", uuid, runtime=1.0)
    assert scene.scrape().full
    scene.send("task-received", "new", name="shop.mail")
    assert not scene.scrape().full
    scene.send("task-received", ids[0], name="shop.mail")  # it stays at the end of the list
    scene.before_request(request_number, lambda: scene.receive(1, "newer", name="shop.mail"))
    assert scene.scrape().full
    assert (
        scene.paths.count("/metrics") > 3
    )  # twice, and again after a later page; the others belong to the full scrape


def test_a_reused_id_is_not_hidden_by_events_between_all_requests(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(BY_STAMP)
    ids = scene.receive(5 * PAGE, "task")
    for uuid in ids:
        scene.send("task-succeeded", uuid, runtime=1.0)
    assert scene.scrape().full
    scene.send("task-received", ids[0], name="shop.mail")  # it stays at the end of the list
    numbers = itertools.count()

    def receive_one(_path: str) -> None:
        scene.receive(1, f"new{next(numbers)}", name="shop.mail")

    scene.flower.before_answer = receive_one
    with caplog.at_level(logging.INFO, "push_job"):
        scene.scraper.scrape(scene_flower(scene), PAGE, never())
    assert "may be hidden" in caplog.records[0].__dict__["fields"]["reason"]
    assert scene.state.tasks.labels_of(ids[0]) == ("shop.mail", "SUCCESS")


def test_a_reused_id_is_not_hidden_by_an_event_during_the_full_scrape_before() -> None:
    scene = Scene(BY_STAMP)
    ids = scene.receive(5 * PAGE, "task")
    for uuid in ids:
        scene.send("task-succeeded", uuid, runtime=1.0)
    # The full scrape counts this event, but its pages do not show it.
    scene.before_request(2, lambda: scene.receive(1, "late", name="shop.mail"), "/metrics")
    assert scene.scraper.scrape(scene_flower(scene), PAGE, never()).full
    scene.send("task-received", ids[0], name="shop.mail")  # it stays at the end of the list
    assert scene.scrape().full


def test_a_reused_id_is_not_hidden_by_an_event_of_its_kind_during_the_same_full_scrape() -> None:
    scene = Scene(BY_STAMP, full_every=1000.0)
    ids = scene.receive(5 * PAGE, "task")
    for uuid in ids:
        scene.send("task-succeeded", uuid, runtime=1.0)
    assert scene.scrape().full
    scene.state.full_at = 0.0

    def reuse_an_id() -> None:
        scene.send("task-received", ids[300], name="shop.mail")  # the page that shows it has been read
        scene.receive(1, "late", name="shop.mail")

    scene.flower.requests.clear()
    scene.before_request(7, reuse_an_id)
    assert scene.scraper.scrape(scene_flower(scene), PAGE, never()).full
    assert scene.scrape().full
    assert not scene.scrape().full


def test_events_after_the_front_page_are_looked_at_again_before_all_tasks_are_read() -> None:
    scene = Scene(BY_STAMP)
    scene.receive(3 * PAGE, "task")
    assert scene.scrape().full
    scene.receive(3, "first")
    scene.before_request(2, lambda: scene.receive(2, "between"), "/metrics")
    assert not scene.scrape().full
    assert scene.paths.count("/metrics") == 3


def test_a_second_end_of_a_task_that_does_not_move_it_is_noticed() -> None:
    scene = Scene(BY_STAMP)
    ids = scene.receive(5 * PAGE, "task")
    for uuid in ids:
        scene.send("task-failed", uuid, skew=500.0)
    assert scene.scrape().full
    scene.send("task-succeeded", ids[0], runtime=1.0)  # it stands below tasks that are older
    scene.scrape()


def test_a_retried_task_costs_no_full_scrape() -> None:
    scene = Scene(BY_STAMP)
    scene.receive(3 * PAGE, "task")
    assert scene.scrape().full
    for number in range(4):
        scene.send("task-received", f"retried-{number}", name="shop.mail")
        scene.send("task-retried", f"retried-{number}")
        scene.send("task-received", f"retried-{number}", name="shop.mail", retries=1)
        scene.send("task-started", f"retried-{number}")
        assert not scene.scrape().full


def test_retries_cost_no_full_scrape_while_a_task_without_a_name_is_known() -> None:
    scene = Scene(BY_STAMP)
    scene.send("task-succeeded", "unnamed", runtime=1.0)
    scene.receive(3 * PAGE, "task")
    assert scene.scrape().full
    for number in range(4):
        scene.send("task-received", f"retried-{number}", name="shop.mail")
        scene.send("task-retried", f"retried-{number}")
        scene.send("task-received", f"retried-{number}", name="shop.mail", retries=1)
        assert not scene.scrape().full


def test_new_tasks_between_the_pages_are_counted_at_once_while_flower_has_room() -> None:
    scene = Scene(BY_STAMP)
    scene.receive(3 * PAGE, "task")
    assert scene.scrape().full
    scene.receive(3, "first")
    assert not scene.scrape().full
    scene.receive(2, "second")
    scene.before_request(2, lambda: scene.receive(5, "between"))
    assert not scene.scrape().full
    # They have been shown, and are counted by Flower's counters now.
    scene.receive(1, "third")
    assert not scene.scrape().full


def test_a_full_flower_counts_as_many_tasks_as_it_listed() -> None:
    scene = Scene(BY_STAMP, room=4 * PAGE)
    scene.receive(6 * PAGE, "task")
    assert scene.scrape().full
    scene.receive(2, "second")
    scene.before_request(2, lambda: scene.receive(5, "between"))
    scraped = scene.scraper.scrape(scene_flower(scene), PAGE, never())
    assert not scraped.full
    assert len(scraped.tasks) == 4 * PAGE
    assert not scene.scrape().full


def scene_flower(scene: Scene) -> Flower:
    """Return the API of the scene's Flower."""
    return Flower(cast(Client, scene.client))
