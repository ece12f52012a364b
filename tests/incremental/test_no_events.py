"""Without any event since the last cycle, only Flower's counters are requested."""

import pytest

from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP
from tests.incremental.shared import PAGE, Scene

TASKS = 3 * PAGE


def scraped_scene(order: str) -> Scene:
    scene = Scene(order)
    scene.receive(TASKS, "task")
    assert scene.scrape().full
    return scene


def test_a_cycle_without_events_reads_no_task_and_ages_grow() -> None:
    scene = scraped_scene(BY_STAMP)
    scene.flower.now += 3600.0
    scraped = scene.scrape()
    assert (scraped.full, scraped.tasks_read) == (False, 0)
    assert scene.paths == ["/metrics"]


@pytest.mark.parametrize("order", [BY_STAMP, BY_CLOCK])
@pytest.mark.parametrize("with_event", [True, False])
def test_ages_follow_flowers_clock_when_it_is_set_back(order: str, with_event: bool) -> None:
    scene = scraped_scene(order)
    scene.flower.now += 3600.0
    scene.scrape()
    scene.flower.now -= 3600.0
    if with_event:
        scene.send("task-started", "task-3")
    assert not scene.scrape().full


def test_after_cycles_without_events_changes_are_read() -> None:
    scene = scraped_scene(BY_STAMP)
    scene.scrape()
    scene.send("task-started", "task-3")
    changed = scene.scrape()
    assert not changed.full
    assert 0 < changed.tasks_read < TASKS
    assert scene.scrape().tasks_read == 0


def test_a_list_that_changes_without_events_is_read_anyway() -> None:
    scene = scraped_scene(BY_CLOCK)
    assert not scene.scrape().full
    assert "/api/tasks" in scene.paths


def test_a_counter_that_restarted_and_reached_its_former_value_is_noticed() -> None:
    scene = scraped_scene(BY_STAMP)
    scene.flower.counters.clear()
    scene.flower.counting_since = scene.flower.now  # a worker was purged and came back
    for number in range(TASKS):
        scene.send("task-started", f"task-{number}")
    starts = scene.flower.counters.copy()
    scene.flower.counters.clear()
    for (worker, _, name), number in starts.items():
        scene.flower.counters[worker, "task-received", name] = number
    assert scene.scrape().tasks_read > 0


@pytest.mark.parametrize("is_cached", [True, False])
def test_an_answer_out_of_a_cache_does_not_show_that_nothing_happened(is_cached: bool) -> None:
    scene = scraped_scene(BY_STAMP)
    assert scene.scrape().tasks_read == 0
    if is_cached:
        scene.flower.cached_metrics = scene.flower.metrics(), scene.flower.now
    scene.send("task-started", "task-3")
    assert scene.scrape().tasks_read > 0


def test_without_start_times_of_the_counters_tasks_are_always_read() -> None:
    scene = scraped_scene(BY_STAMP)
    assert scene.scrape().tasks_read == 0
    scene.flower.counting_since = None
    scene.scrape()
    assert scene.scrape().tasks_read > 0
