"""Incremental scrapes count odd values in any field as full scrapes do."""

import itertools
import math
from typing import Any, cast

import pytest

from push_job.flower.api import Flower
from push_job.flower.incremental import attempt
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.task import EventFields, queue_wait_of, wait_of
from push_job.http.client import Client
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower, DirectClient, never

PAGE, TASKS = 40, 150
ODD: tuple[Any, ...] = (None, True, -1, 0, 10**300, "", "celery@one", "\ud800", [], [1], {}, {"a": {}}, 1e300)

#: Set by Flower, or needed by it for sorting.
NOT_FROM_EVENTS = ("worker",)

#: Without these, tasks do not show the events that Flower counted, so scrapes are full.
NEEDED_FOR_THE_BALANCE = ("name", "received")


@pytest.mark.parametrize("order", [BY_STAMP, BY_CLOCK])
@pytest.mark.parametrize("field", [name for name in EventFields.__struct_fields__ if name not in NOT_FROM_EVENTS])
def test_odd_values_are_counted_as_by_a_full_scrape(order: str, field: str) -> None:
    celery = CeleryFlower(order, room=10_000)
    client = cast(Client, DirectClient(celery))
    columns, scraper, clock = (wait_of, queue_wait_of), TaskScraper(math.inf), itertools.count(1)

    def send(kind: str, uuid: str, **fields: Any) -> None:
        celery.now += 1.0
        celery.event(kind, uuid, "celery@one", celery.now, next(clock), **fields)

    for number in range(TASKS):
        send("task-received", f"task-{number}", name="shop.pay")
    was_full = []
    for number, odd in enumerate(ODD):
        uuid = f"odd-{number}"
        send("task-received", uuid, name="shop.odd")
        send("task-started", uuid)
        task = celery.state.tasks[uuid]
        task.sent, task.client = celery.now - 1.0, "gen1@web"
        sortable = field not in ("timestamp", "clock") or (type(odd) in (int, float) and 0 < odd < 10**10)
        if sortable:
            setattr(task, field, odd)
        send("task-progressed", f"task-{number}")
        incremental = scraper.scrape(Flower(client, columns), PAGE, never())
        full = TaskScraper(0).scrape(Flower(client, columns), PAGE, never())
        assert sorted(map(str, incremental.tasks.tally().items())) == sorted(map(str, full.tasks.tally().items()))
        was_full.append(incremental.full)
    assert was_full[0]
    assert field in NEEDED_FOR_THE_BALANCE or was_full.count(False) > len(was_full) // 2


def test_a_bug_in_the_incremental_scrape_makes_it_full(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    celery = CeleryFlower(BY_STAMP, room=10_000)
    for number in range(TASKS):
        celery.now += 1.0
        celery.event("task-received", f"task-{number}", "celery@one", celery.now, number, name="shop.pay")
    client, scraper = cast(Client, DirectClient(celery)), TaskScraper(math.inf)
    assert scraper.scrape(Flower(client), PAGE, never()).full
    assert not scraper.scrape(Flower(client), PAGE, never()).full
    monkeypatch.setattr(attempt, "read_changes", lambda *_: 1 / 0)
    again = scraper.scrape(Flower(client), PAGE, never())
    assert again.full
    assert len(again.tasks) == TASKS
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "ZeroDivisionError" in line.__dict__["fields"]["reason"]
