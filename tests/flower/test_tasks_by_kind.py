"""Counts, seconds and columns of tasks by kind."""

from collections import Counter

import pytest

from push_job.flower.page import SharedIndex
from push_job.flower.table import TaskTable
from push_job.flower.task import EventFields, TextColumn, received_of
from push_job.flower.tasks_by_kind import TasksByKind
from tests.flower.tasks import event, page_of

FAILED_WITH = TextColumn(lambda task: str(task.exception), "FAILURE")


def by_kind(*pages: dict[str, EventFields], now: float = 100.0) -> TasksByKind:
    """Return the tasks of these pages by kind."""
    table = TaskTable(SharedIndex())
    for tasks in pages:
        table.merge(page_of(table.shared, tasks, (received_of, FAILED_WITH), now))
    return table.by_kind()


def test_tasks_are_counted_and_runtimes_summed_by_kind() -> None:
    tally = by_kind(
        {"a": event(runtime=1.5), "b": event(runtime=2.5), "c": event("u", runtime=None)}, {"d": event(runtime=4.0)}
    ).tallies
    assert {kind: (each.count, each.seconds, each.longest) for kind, each in tally.items()} == {
        ("t", "SUCCESS"): (3, 8.0, 4.0),
        ("u", "SUCCESS"): (1, 0.0, None),
    }


def test_unfinished_tasks_have_an_age_that_is_never_negative() -> None:
    tally = by_kind(
        {
            "a": event(state="STARTED", started=90.0),
            "b": event(state="STARTED", started=150.0),
            "c": event(state="STARTED"),
        }
    ).tallies
    assert (tally["t", "STARTED"].count, tally["t", "STARTED"].seconds) == (3, 10.0)


def test_sums_of_runtimes_are_exact() -> None:
    tasks = {str(number): event(runtime=0.1) for number in range(10)}
    assert by_kind(tasks).tallies["t", "SUCCESS"].seconds == 1.0  # sum() would return 0.9999999999999999


def test_a_replaced_task_counts_once() -> None:
    found = by_kind({"a": event(state="STARTED", started=90.0)}, {"a": event(runtime=3.0)})
    assert {kind: tally.count for kind, tally in found.tallies.items()} == {("t", "SUCCESS"): 1}


def test_runtimes_are_those_of_finished_tasks() -> None:
    found = by_kind(
        {"a": event(runtime=1.0), "b": event(state="FAILURE", runtime=2.0), "c": event(state="STARTED", started=5.0)}
    )
    assert list(found.types) == ["t"]
    assert sorted(found.runtimes("t")) == [1.0, 2.0]
    assert found.runtimes("unknown") == []


def test_the_oldest_start_is_the_earliest_of_unfinished_tasks() -> None:
    found = by_kind(
        {
            "a": event(state="STARTED", started=50.0),
            "b": event(state="STARTED", started=40.0),
            "c": event(state="PENDING"),
            "d": event(runtime=1.0),
        }
    )
    assert found.oldest_starts() == {("t", "STARTED"): 40.0}


def test_columns_have_values_of_tasks_that_report_one() -> None:
    found = by_kind(
        {"a": event(received=5.0), "b": event(received=None)},
        {"c": event(state="FAILURE", received=9.0), "d": event(state="FAILURE", received=7.0)},
    )
    assert found.has(received_of)
    assert sorted(found.values_of(received_of, "t")) == [5.0, 7.0, 9.0]
    assert found.newest(received_of, "FAILURE") == {"t": 9.0}
    assert found.newest(received_of, "RETRY") == {}
    assert not by_kind({"a": event(received=None)}).has(received_of)


def test_texts_are_counted_by_task_type() -> None:
    failures = {str(n): event(state="FAILURE", exception=text) for n, text in enumerate(("A()", "B()", "A()"))}
    found = by_kind({**failures, "x": event(exception="C()")}, {"y": event("u", "FAILURE", exception="A()")})
    assert found.texts_of(FAILED_WITH) == {"t": Counter({"A()": 2, "B()": 1}), "u": Counter({"A()": 1})}


@pytest.mark.parametrize("last", ["", "mail"])
def test_texts_of_all_states_are_counted_by_state(last: str) -> None:
    key = TextColumn(lambda task: task.routing_key or "")
    table = TaskTable(SharedIndex())
    first = {"a": event(), "b": event(state="FAILURE"), "gone": event()}
    table.merge(page_of(table.shared, first, (key,)))
    table.merge(page_of(table.shared, {"c": event("u", routing_key=last)}, (key,)))
    table.drop(["gone"])
    found = table.by_kind().texts_by_state(key)
    assert found == {"SUCCESS": Counter(["", last]), "FAILURE": Counter([""])}


def test_a_type_without_tasks_has_nothing_and_stays_unknown() -> None:
    tasks = by_kind({"a": event(runtime=1.5)})
    assert tasks.runtimes("x") == tasks.values_of(received_of, "x") == []
    assert tasks.states_of("x") == []
    assert set(tasks.types) == {"t"}
