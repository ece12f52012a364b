"""Memory that a state takes between cycles, and while a full scrape replaces it."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from push_job.flower.api import Flower
from push_job.http.client import Client
from tests.fakes.celery_flower import never
from tests.incremental.shared import Scene

TASKS = 3_000


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def growth(action: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes by which memory grows, afterwards and at most meanwhile."""
    gc.collect()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    action()
    gc.collect()
    after, peak = tracemalloc.get_traced_memory()
    return after - before, peak - before


@pytest.mark.parametrize("order", ["stamp", "clock"])
def test_the_fields_of_tasks_are_not_kept_after_an_incremental_scrape(order: str) -> None:
    scene = Scene(order)
    scene.receive(TASKS, "old")
    scene.scrape()
    for task_id in scene.receive(50, "new"):
        scene.send("task-failed", task_id, exception="ValueError('x')", traceback=f"{task_id} " + 50_000 * "x")
    full: list[bool] = []
    kept, _ = growth(lambda: full.append(scene.scrape().full))
    assert full == [False]
    assert kept < 50 * 50_000 / 4


@pytest.mark.parametrize("order", ["stamp", "clock"])
def test_a_full_scrape_holds_few_copies_of_the_tasks(order: str) -> None:
    scene = Scene(order, full_every=1e-9)
    scene.receive(TASKS, "old")

    def scrape() -> None:
        scene.scraper.scrape(Flower(cast(Client, scene.client)), 20, never())

    size, _ = growth(scrape)
    _, peak = growth(scrape)
    assert peak < 2.3 * size
