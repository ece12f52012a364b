"""Families of a plain push: labels, zeros and sums."""

import dataclasses

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import STATES, TaskFields
from push_job.flower.tasks_by_kind import Tally
from push_job.metrics import families
from push_job.metrics.registry import push_registry, registry_of
from push_job.metrics.snapshot import Snapshot


def values(family: Metric) -> dict[tuple[str, ...], float]:
    """Return the values of a family by the values of its labels.

    These are in the order of the labels' names.
    """
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_the_contracts_families_have_the_contracts_labels() -> None:
    assert {family.name: family.labels for family in families.PLAIN} == {
        "celery_workers": ("app",),
        "celery_task_types_by_state": ("task_type", "state"),
        "celery_task_duration_seconds_by_state": ("name", "state"),
        "flower_up": (),
        "flower_scrape_duration_seconds": (),
        "flower_scrape_tasks": (),
        "flower_scrape_window_seconds": (),
        "flower_scrape_full": (),
        "flower_scrape_read_tasks": (),
        "push_job_max_age_seconds": (),
        "push_job_build_info": ("version",),
    }
    assert all(family.type == "gauge" and family.help.endswith(".") for family in families.PLAIN)


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ({}, {("",): 0}),
        ({"celery@a": True, "celery@b": False}, {("celery@a",): 1, ("celery@b",): 0}),
        ({"": True}, {("unknown",): 1}),
        ({"": False, "unknown": True}, {("unknown",): 1}),
        ({"unknown": True, "": False}, {("unknown",): 1}),
        ({"x" * 300: False, "x" * 301: True}, {("x" * 199 + "…",): 1}),
    ],
)
def test_workers_have_one_sample_each_and_none_is_zero(
    workers: dict[str, bool], expected: dict[tuple[str, ...], float]
) -> None:
    assert values(families.of_workers(workers)) == expected


def test_every_task_type_has_every_state_but_only_durations_it_has() -> None:
    tallies = {("b", "SUCCESS"): Tally(2, 3.5), ("a", "CUSTOM"): Tally(1, 0.0)}
    tasks = TaskTable(SharedIndex())
    page = TaskPage(tasks.shared)
    page.add({str(number): TaskFields(name="b", state="SUCCESS") for number in range(3)})
    tasks.merge(page)
    total, _, counts, durations = families.of_tasks(tasks, tallies)
    assert values(total) == {(): 3}
    assert values(counts) == {
        **{(name, state): 0 for name in "ab" for state in STATES},
        ("b", "SUCCESS"): 2,
        ("a", "CUSTOM"): 1,
    }
    assert values(durations) == {("b", "SUCCESS"): 3.5, ("a", "CUSTOM"): 0.0}


def names(collected: list[Metric]) -> list[str]:
    return [family.name for family in collected]


def test_flower_up_is_the_last_family_of_every_push() -> None:
    snapshot = Snapshot({"celery@a": True}, {}, 0, [families.SCRAPE_TASKS.of(0)], [families.BUILD.empty()])
    up, down = (list(registry.collect()) for registry in (push_registry(snapshot, 0.5), push_registry(None, 0.5)))
    assert names(up)[-1] == names(down)[-1] == "flower_up"
    assert (values(up[-1]), values(down[-1])) == ({(): 1}, {(): 0})
    assert names(down) == ["push_job_build_info", "flower_scrape_duration_seconds", "flower_up"]
    assert set(names(down)) < set(names(up))
    assert values(down[1]) == {(): 0.5}


def test_a_push_that_another_one_follows_says_when_that_one_is_late() -> None:
    snapshot = Snapshot({}, {}, 0, [])
    for registry in (push_registry(snapshot, 0.5, 45.0), push_registry(None, 0.5, 45.0)):
        by_name = {family.name: family for family in registry.collect()}
        assert values(by_name["push_job_max_age_seconds"]) == {(): 45.0}
        assert list(by_name)[-1] == "flower_up"


def test_a_registry_has_the_families_in_their_order_each_time() -> None:
    registry = registry_of(iter([families.UP.of(1), families.SCRAPE_TASKS.of(5)]))
    for _ in range(2):
        assert names(list(registry.collect())) == ["flower_up", "flower_scrape_tasks"]


def test_the_text_of_a_push_has_its_values() -> None:
    text = generate_latest(push_registry(Snapshot({"celery@a": True}, {}, 0, []), 0.25)).decode()
    assert 'celery_workers{app="celery@a"} 1.0' in text
    assert "flower_scrape_duration_seconds 0.25" in text


def test_a_histograms_samples_have_three_suffixes() -> None:
    histogram = families.Histogram("h", "Help.", ("name",))
    assert histogram.sample_names == {"h", "h_bucket", "h_count", "h_sum"}
    assert families.UP.sample_names == {"flower_up"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        histogram.name = "other"  # type: ignore[misc]  # the family is immutable


@pytest.mark.parametrize(("full", "value"), [(True, 1), (False, 0)])
def test_a_scrape_with_state_says_whether_it_was_full(full: bool, value: int) -> None:
    was_full, read = families.of_scrape(full=full, tasks_read=7)
    assert (values(was_full), values(read)) == ({(): value}, {(): 7})
