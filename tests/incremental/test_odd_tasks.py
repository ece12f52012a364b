"""A warm reading bears what any event may put into any field of a task, and counts as a whole one does."""

import itertools
import math
from typing import Any, cast

import pytest

from push_job.flower.api import Flower
from push_job.flower.incremental import scraper as reading
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.task import EventFields, queue_wait_of, wait_of
from push_job.http.client import Client
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower, DirectClient, never

PAGE, TASKS = 40, 150
ODD: tuple[Any, ...] = (None, True, -1, 0, 10**300, "", "celery@one", "\ud800", [], [1], {}, {"a": {}}, 1e300)

#: What Flower itself sets, or needs to sort by.
NOT_FROM_EVENTS = ("worker",)


@pytest.mark.parametrize("order", [BY_STAMP, BY_CLOCK])
@pytest.mark.parametrize("field", [name for name in EventFields.__struct_fields__ if name not in NOT_FROM_EVENTS])
def test_odd_values_in_any_field_are_counted_warm_as_they_are_whole(order: str, field: str) -> None:
    celery = CeleryFlower(order, room=10_000)
    flower = Flower(cast(Client, DirectClient(celery)), (wait_of, queue_wait_of))
    reader, clock = TaskScraper(math.inf), itertools.count(1)

    def send(kind: str, uuid: str, **fields: Any) -> None:
        celery.now += 1.0
        celery.event(kind, uuid, "celery@one", celery.now, next(clock), **fields)

    for number in range(TASKS):
        send("task-received", f"task-{number}", name="shop.pay")
    turns = []
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
        warm = reader.read(flower, PAGE, never())
        whole = TaskScraper(0).read(flower, PAGE, never())
        assert sorted(map(str, warm.tasks.tally().items())) == sorted(map(str, whole.tasks.tally().items()))
        turns.append(warm.whole)
    assert turns[0]
    assert turns.count(False) > len(turns) // 2


def test_a_mistake_of_ours_in_a_warm_reading_makes_it_a_whole_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    celery = CeleryFlower(BY_STAMP, room=10_000)
    for number in range(TASKS):
        celery.now += 1.0
        celery.event("task-received", f"task-{number}", "celery@one", celery.now, number, name="shop.pay")
    flower, reader = Flower(cast(Client, DirectClient(celery))), TaskScraper(math.inf)
    assert reader.read(flower, PAGE, never()).whole
    assert not reader.read(flower, PAGE, never()).whole
    monkeypatch.setattr(reading, "read_changes", lambda *_: 1 / 0)
    again = reader.read(flower, PAGE, never())
    assert again.whole
    assert len(again.tasks) == TASKS
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "a mistake in push-job: ZeroDivisionError" in line.__dict__["fields"]["reason"]
