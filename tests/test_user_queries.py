"""The user's own dashboard queries work unchanged on a real Prometheus.

The Prometheus scrapes a real push.
"""

import time
import uuid

import pytest

from testbed import queries
from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Prometheus, Pushgateway, Redis, Testbed
from tests.independent import expected_samples

TYPES = ("shop.orders.place", "shop.mail.send_receipt")
EVENTS = {
    "PENDING": ["sent"],
    "RECEIVED": ["received"],
    "STARTED": ["received", "started"],
    "RETRY": ["received", "started", "retried"],
    "SUCCESS": ["received", "started", "succeeded"],
    "FAILURE": ["received", "started", "failed"],
    "REVOKED": ["received", "revoked"],
}


@pytest.fixture(scope="module")
def flower_in_all_states(testbed: Testbed) -> Flower:
    """Two live workers and, of each task type, one task in each state."""
    redis: Redis = testbed.redis()
    flower = testbed.flower(redis)
    with TaskEvents(redis.url) as events:
        for worker in ("celery@a", "celery@b"):
            events.worker(worker, event="online", freq=600.0)
            events.worker(worker, freq=600.0)
        for name in TYPES:
            for path in EVENTS.values():
                task_id = str(uuid.uuid4())
                for event in path:
                    events.send(f"task-{event}", uuid=task_id, hostname="celery@a", name=name, runtime=2.5)
    flower.wait_for_tasks(14)
    return flower


@pytest.fixture(scope="module")
def scraped(
    flower_in_all_states: Flower, pushgateway: Pushgateway, prometheus: Prometheus, push_job: PushJob
) -> Flower:
    pushgateway.wipe()
    arguments = ("push", "--flower", flower_in_all_states.url, "--pushgateway", pushgateway.url, "--job", queries.JOB)
    for _ in range(2):
        assert push_job(*arguments).returncode == 0
        prometheus.wait_for_scrape()
        time.sleep(1)
    return flower_in_all_states


def test_the_singlestat_counts_live_workers(scraped: Flower, prometheus: Prometheus) -> None:
    live = sum(v for (name, _), v in expected_samples(scraped.url)[0].items() if name == "celery_workers")
    assert prometheus.query(queries.WORKERS.text()) == [({}, live)]
    assert live == 2


@pytest.mark.parametrize("state", queries.STATES)
def test_each_graph_of_tasks_shows_every_type(scraped: Flower, prometheus: Prometheus, state: str) -> None:
    answer = prometheus.query(queries.TASKS_BY_STATE.text(state=state))
    assert sorted((labels["task_type"], value) for labels, value in answer) == sorted((name, 1.0) for name in TYPES)


@pytest.mark.parametrize("state", queries.STATES)
def test_each_graph_of_durations_has_a_legend_by_name(scraped: Flower, prometheus: Prometheus, state: str) -> None:
    answer = prometheus.query(queries.DURATIONS_BY_STATE.text(state=state))
    assert sorted(labels["name"] for labels, _ in answer) == sorted(TYPES)
    for labels, value in answer:
        assert labels["job"] == queries.JOB
        assert labels["instance"] == scraped.url.removeprefix("http://")
        assert 0 <= value < 300
        assert state not in ("SUCCESS", "FAILURE", "REVOKED") or value == 2.5


@pytest.mark.parametrize("query", queries.CRUFT, ids=lambda query: query.about)
def test_each_of_the_other_queries_of_the_notes_returns_series(
    scraped: Flower, prometheus: Prometheus, query: queries.Query
) -> None:
    answer = prometheus.query(query.text())
    expected = {
        queries.CRUFT[4]: 7,
        queries.CRUFT[5]: 14,
        queries.CRUFT[6]: 14,
    }.get(query, 2)
    assert len(answer) == expected
    if query is queries.CRUFT[-1]:
        assert [labels["name"] for labels, _ in answer]
    if query is queries.CRUFT[3]:
        assert all(value == 2.5 for _, value in answer)
