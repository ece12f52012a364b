"""Panels and alerts during failures and restarts.

The rules are the project's, with shorter times: alerts fire at once, and a push is old after OLD seconds.
"""

import math
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from grafana.queries import ODD
from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.process import wait_for
from testbed.services import Flower, Prometheus, Pushgateway, Redis, Service, Testbed
from testbed.shop import shop_app
from tests.panels.ask import answer, graph, shown
from tests.panels.boards import ROOT, Values, filled_in, queries_of
from tests.panels.conftest import SHOP_AT_FIRST
from tests.panels.scene import FOR_EVER, send_tasks
from tests.panels.test_states import NEVER_EMPTY

OLD = 12
"""Seconds; much more than a push, a scrape and the queries of all panels need."""

VALUES: Values = {"job": ["flower"], "max_age": str(OLD)}

ABOUT_AGE = {"Age of the data over time", "Data too old"}
"""Panels that show the age of the data, so the guard does not hide them."""

QUERIES = [
    query
    for query in queries_of("celery-by-flower")
    if query.where not in {"A worker went away", "Flower down", "Failures per minute (15 min)"} | NEVER_EMPTY
]
"""All queries except two annotations, which need a past failure (see test_annotations.py), and those with a text."""

EVERYTHING = {query.where for query in QUERIES}

ABOUT_THE_PUSH = {"Scrape duration"}
"""Panels with data even if a Flower is down."""


@dataclass(frozen=True)
class Bed:
    """The services of these tests, with the shortened rules."""

    redis: Redis
    flower: Flower
    pushgateway: Pushgateway
    prometheus: Prometheus
    push_job: PushJob

    def push(self, *options: str) -> int:
        """Push once, wait until Prometheus has scraped it, and return the exit code."""
        addresses = ("--flower", self.flower.url, "--pushgateway", self.pushgateway.url)
        done = self.push_job("push", *addresses, *options)
        self.prometheus.wait_for_scrape()
        return done.returncode

    def fill(self) -> None:
        """Send events of a live worker and of tasks in every state."""
        with TaskEvents(self.redis.url) as events:
            events.worker("celery@shop-1", freq=FOR_EVER)
        self.flower.wait_for_worker("celery@shop-1")
        send_tasks(self.redis.url, self.flower, SHOP_AT_FIRST, worker="celery@shop-1")

    def wait_for_a_second_scrape(self) -> None:
        """Wait for two scrapes, because a rate needs two samples."""
        self.prometheus.wait_for_scrape()
        self.prometheus.wait_for_scrape()

    def wait_until(self, query: str) -> None:
        """Wait until a query has a result."""
        wait_for(query, lambda: bool(self.prometheus.query(query)), 90)

    def firing(self) -> set[str]:
        """Return the firing alerts, except for the one that the tasks always cause."""
        alerts = answer(self.prometheus, 'ALERTS{alertstate="firing"}', time.time())
        return {dict(labels)["alertname"] for labels in alerts} - {"CeleryTasksWaitTooLong"}

    def wait_for_alerts(self, *names: str) -> None:
        """Wait until exactly these alerts fire."""
        try:
            wait_for(f"the alerts {names}", lambda: self.firing() == set(names), 90)
        finally:
            print("last firing alerts:", self.firing())

    def recover(self) -> None:
        """Push until no alert fires. One push would be old before some alerts end."""
        try:
            wait_for("no alert", lambda: self.push() == 0 and not self.firing(), 90)
        finally:
            print("last firing alerts:", self.firing())

    def empty_panels(self) -> set[str]:
        """Return the panels and annotations whose queries are all empty or NaN."""
        now = time.time()
        answers: dict[str, bool] = {}
        for query in QUERIES:
            found = any(not math.isnan(number) for number in shown(self.prometheus, query, VALUES, now).values())
            answers[query.where] = answers.get(query.where, False) or found
        return {where for where, found in answers.items() if not found}


@pytest.fixture(scope="module")
def shared_bed(testbed: Testbed, push_job: PushJob) -> Bed:
    redis, pushgateway = testbed.redis(), testbed.pushgateway()
    short_rules = [shortened(rules, testbed.folder) for rules in ROOT.glob("prometheus/rules/*.yml")]
    prometheus = testbed.prometheus(pushgateway, rule_files=short_rules, scrape_interval="500ms")
    bed = Bed(redis, testbed.flower(redis), pushgateway, prometheus, push_job)
    bed.fill()
    return bed


@pytest.fixture
def bed(shared_bed: Bed) -> Bed:
    """Return services without problems: pushed, scraped, no alert, no empty panel."""
    bed = shared_bed
    bed.pushgateway.wipe()
    bed.recover()
    bed.wait_for_a_second_scrape()
    assert not bed.empty_panels()
    return bed


@contextmanager
def stopped(*services: Service) -> Iterator[None]:
    """Stop the services in this order, and start them in the reverse order at the end."""
    for service in services:
        service.stop()
    try:
        yield
    finally:
        for service in reversed(services):
            service.start()


def shortened(rules: Path, folder: Path) -> Path:
    """Write a copy of the rules with seconds instead of minutes, and return its path."""
    text, ages = re.subn(r"(push_time_seconds [<>]) 300", rf"\1 {OLD}", rules.read_text())
    text, lasting = re.subn(r"for: \d+m", "for: 0s", text)
    assert ages
    assert lasting
    path = folder / f"shortened-{rules.name}"
    path.write_text(re.sub(r"\b(10|15|30)m\b", "3s", text.replace("offset 1h", "offset 5s")))
    return path


def test_panels_become_empty_when_pushes_stop(bed: Bed) -> None:
    wait_for("the data to be old", lambda: bed.empty_panels() == EVERYTHING - ABOUT_AGE, 60)
    states, ages = (
        query for query in queries_of("celery-by-flower") if query.where == "Each Flower" and query.ref in "AB"
    )
    now = time.time()
    ((labels, state),) = shown(bed.prometheus, states, VALUES, now).items()
    assert dict(labels) == {"job": "flower", "instance": bed.flower.url.removeprefix("http://")}
    assert state == -1
    (age,) = shown(bed.prometheus, ages, VALUES, now).values()
    assert age >= OLD
    # Prometheus still scrapes the old numbers from the Pushgateway.
    assert bed.prometheus.query("sum(celery_workers)") == [({}, 1.0)]
    bed.wait_for_alerts("FlowerPushStale")
    bed.push()
    bed.wait_for_a_second_scrape()
    assert not bed.empty_panels()
    bed.recover()


def test_panels_have_a_gap_while_flower_is_down(bed: Bed) -> None:
    start = time.time()
    with stopped(bed.flower):
        assert bed.push() == 1
        down_since = time.time()
        hidden = EVERYTHING - ABOUT_AGE - ABOUT_THE_PUSH
        wait_for("the panels to be empty", lambda: bed.empty_panels() == hidden, 30)
        (up,) = (query for query in queries_of("celery-by-flower") if query.where == "Each Flower" and query.ref == "A")
        assert set(shown(bed.prometheus, up, VALUES, time.time()).values()) == {0}
        bed.wait_for_alerts("FlowerDown")
        down_until = time.time()
    bed.fill()
    assert bed.push() == 0
    back_since = time.time()
    bed.wait_for_a_second_scrape()
    assert not bed.empty_panels()
    bed.recover()
    (workers,) = (query for query in QUERIES if query.where == "Workers over time" and query.ref == "A")
    query = filled_in(workers.expr, workers.board, VALUES)
    (points,) = graph(bed.prometheus, query, start=start - 2, end=time.time()).values()
    assert any(at <= start for at in points)
    assert any(at >= back_since for at in points)
    assert not any(down_since <= at <= down_until for at in points)


def test_panels_recover_after_a_restart_of_everything(bed: Bed) -> None:
    with stopped(bed.pushgateway):
        bed.wait_for_alerts("PushgatewayDown")
        wait_for("the panels to be empty", lambda: bed.empty_panels() == EVERYTHING, 30)
        with stopped(bed.prometheus, bed.flower, bed.redis):
            pass
    bed.fill()
    assert bed.push() == 0
    bed.wait_for_a_second_scrape()
    assert not bed.empty_panels()
    bed.recover()


def test_singlestat_reads_0_when_the_last_worker_goes(bed: Bed) -> None:
    (workers,) = (query for query in QUERIES if query.where == "Workers over time" and query.ref == "A")
    with TaskEvents(bed.redis.url) as events:
        events.worker("celery@shop-1", event="offline")
    bed.flower.wait_for_worker("celery@shop-1", alive=False)
    bed.push()
    assert shown(bed.prometheus, workers, VALUES, time.time()) == {frozenset(): 0.0}
    bed.wait_until('ALERTS{alertname="CeleryNoWorkers", alertstate="firing"}')
    with TaskEvents(bed.redis.url) as events:
        events.worker("celery@shop-1", freq=FOR_EVER)
    bed.flower.wait_for_worker("celery@shop-1")
    bed.recover()


def test_rejected_push_fires_an_alert_until_one_is_accepted(bed: Bed) -> None:
    other = f"{bed.pushgateway.url}/metrics/job/other"
    with stopped(bed.flower):
        # Remove the family first, or the other program's push would be rejected.
        assert bed.push() == 1
        clash = b"# TYPE celery_workers counter\ncelery_workers 1\n"
        urllib.request.urlopen(urllib.request.Request(other, data=clash, method="PUT")).close()
    bed.fill()
    assert bed.push() == 3
    bed.wait_for_alerts("FlowerPushRefused", "FlowerDown")
    urllib.request.urlopen(urllib.request.Request(other, method="DELETE")).close()
    bed.recover()


def test_removed_groups_fire_alerts(bed: Bed) -> None:
    assert bed.push("--job", "second") == 0
    bed.wait_until('push_job_build_info{job="second"} offset 5s')
    assert bed.push() == 0  # or the first group would be too old when the alert fires
    addresses = ("--flower", bed.flower.url, "--pushgateway", bed.pushgateway.url)
    deleted = bed.push_job("delete", "--job", "second", *addresses)
    assert deleted.returncode == 0, deleted.stderr
    bed.wait_for_alerts("FlowerGroupGone")
    bed.pushgateway.wipe()
    bed.wait_for_alerts("FlowerPushMissing")


def test_growing_queue_with_an_idle_worker_fires_an_alert(bed: Bed) -> None:
    with shop_app(bed.redis.url) as shop:
        for _ in range(3):
            shop.send_task("shop.orders.place", (1,))
            assert bed.push("--with", "queues,activity") == 0
            bed.prometheus.wait_for_scrape()
        bed.wait_until('ALERTS{alertname="CeleryBacklogAllWorkersIdle", queue="celery"}')


def test_failed_extra_fires_an_alert_and_leaves_other_panels_intact(bed: Bed) -> None:
    with stopped(bed.redis):
        assert bed.push("--with", "queues") == 0
        bed.wait_for_alerts("FlowerExtraFails")
        assert not bed.empty_panels()


def test_stale_group_with_another_grouping_label_is_hidden(bed: Bed) -> None:
    bed.pushgateway.wipe()
    bed.push("--grouping", "team=old")
    time.sleep(2)
    pushed = time.time()
    bed.push("--grouping", "team=new")
    now = time.time()
    values: Values = {**VALUES, "max_age": f"{now - pushed + 0.5:.3f}"}
    ages = answer(bed.prometheus, "time() - push_time_seconds", now)
    assert sorted(age < float(str(values["max_age"])) for age in ages.values()) == [False, True]
    for query in QUERIES:
        if query.where not in ABOUT_AGE:
            teams = [dict(labels).get("team", "new") for labels in shown(bed.prometheus, query, values, now)]
            assert set(teams) <= {"new"}, query
    (workers,) = (query for query in queries_of("celery-by-flower") if query.where == "Workers")
    assert list(shown(bed.prometheus, workers, values, now).values()) == [ODD]
    # A guard with `on (job, instance)` would count both.
    shorter = f"sum(celery_workers and on (job, instance) (time() - push_time_seconds < {values['max_age']}))"
    assert answer(bed.prometheus, shorter, now) == {frozenset(): 2.0}


def test_only_panels_about_age_alerts_and_the_past_are_unguarded() -> None:
    """Recorded series have the guard in their rule."""
    guard = re.compile(
        r"\(time\(\) - push_time_seconds < \$max_age and flower_up( == 1)?"
        r" unless timestamp\(push_time_seconds\) - push_time_seconds > push_job_max_age_seconds\)|instance_type\w*:"
    )
    unguarded = {query.where for query in queries_of("celery-by-flower") if not guard.search(query.expr)}
    assert unguarded == ABOUT_AGE | {"Firing alerts", "Alerts", "Each Flower", "A worker went away"}
