"""A deploy that breaks a task type is visible on a full Flower.

The list of this Flower still has mostly successes.
"""

import time

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Prometheus, Testbed
from tests.panels.first_screen import at_once, by_labels, colour, first_panels, query_of
from tests.panels.scene import FOR_EVER, Tasks, send_tasks

FULL = 600
"""Tasks that this Flower remembers."""

ROUND = (Tasks("shop.pay", "SUCCESS", 15, 0.1), Tasks("shop.mail", "SUCCESS", 15, 0.1))
ROUND_WITH_A_FAILURE = (Tasks("shop.pay", "FAILURE", 1, 0.1), Tasks("shop.pay", "SUCCESS", 14, 0.1), ROUND[1])
BROKEN = 25
"""Tasks that fail after the deploy: 8 % of the type's tasks in the list, and all that finish."""


def failing(prometheus: Prometheus) -> tuple[str, str]:
    """Return the text and the colour of the tile."""
    (panel,) = (panel for panel in first_panels() if panel["title"].startswith("Failing now"))
    ((labels, level),) = by_labels(prometheus, query_of(panel), {}, time.time()).items()
    return dict(labels)["text"], colour(panel, level)


def test_failing_type_is_shown_and_fires_although_few_remembered_tasks_failed(
    testbed: Testbed, push_job: PushJob
) -> None:
    redis, pushgateway = testbed.redis(), testbed.pushgateway()
    flower = testbed.flower(redis, options=[f"--max_tasks={FULL}"])
    prometheus = testbed.prometheus(pushgateway, rule_files=at_once(testbed.folder), scrape_interval="500ms")
    with TaskEvents(redis.url) as events:
        events.worker("celery@shop-1", freq=FOR_EVER)
    flower.wait_for_worker("celery@shop-1")

    def happen(*tasks: Tasks) -> None:
        send_tasks(redis.url, flower, tasks, worker="celery@shop-1")
        done = push_job("push", "--flower", flower.url, "--pushgateway", pushgateway.url)
        assert done.returncode == 0, done.stderr
        for _ in range(4):
            prometheus.wait_for_scrape()

    happen(*(4 * ROUND_WITH_A_FAILURE), *(17 * ROUND))
    assert [count for _, count in prometheus.query("flower_scrape_tasks")] == [FULL]
    for _ in range(2):
        happen(*ROUND)
    assert failing(prometheus) == ("none", "green")
    assert prometheus.query('ALERTS{alertname="CeleryFailureRatioHigh"}') == []

    happen(Tasks("shop.pay", "FAILURE", BROKEN, 0.1))
    counts = {
        labels["state"]: count
        for labels, count in prometheus.query(
            'celery_task_types_by_state{task_type="shop.pay", state=~"FAILURE|SUCCESS"}'
        )
    }
    assert counts["FAILURE"] / sum(counts.values()) < 0.1
    assert failing(prometheus) == ("1 of 2 types", "red")
    firing = prometheus.query('ALERTS{alertname="CeleryFailureRatioHigh", alertstate="firing"}')
    assert [labels["task_type"] for labels, _ in firing] == ["shop.pay"]
