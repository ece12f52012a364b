"""Columns of many tasks have the same values as single tasks.

Usual tasks need no call.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push_job.flower import task as task_module
from push_job.flower.bulk_columns import IN_BULK
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import (
    LATEST,
    Column,
    EventFields,
    TaskFields,
    came_at,
    ended_at,
    label_text,
    queue_wait_of,
    wait_of,
)

moments = st.one_of(
    st.none(),
    st.sampled_from([999.5, 1000.0, 1000.25, 1001.0, 1000, LATEST, LATEST + 1000.0]),
    st.sampled_from([0.0, -1.0, math.nan, math.inf, -math.inf, True, 0, 10**400, "1000.0", [], {}]),
)
tasks = st.builds(
    EventFields,
    state=st.sampled_from(["SUCCESS", "FAILURE", "RETRY", "STARTED", None, [], 7]),
    received=moments,
    sent=moments,
    started=moments,
    succeeded=moments,
    failed=moments,
    retried=moments,
    revoked=moments,
    rejected=moments,
    timestamp=moments,
    eta=st.sampled_from([None, None, "1970-01-01T00:16:40.5+00:00", "soon", 5]),
)


@pytest.mark.parametrize("column", IN_BULK, ids=lambda column: column.__name__)
@given(some=st.lists(tasks, max_size=8))
@settings(deadline=None, max_examples=300)
def test_many_tasks_have_the_numbers_of_each(column: Column, some: list[TaskFields]) -> None:
    assert callable(column)

    assert list(map(repr, IN_BULK[column](some))) == [repr(column(task)) for task in some]


SUCCEEDED = TaskFields(state="SUCCESS", received=1000.25, started=1001.0, succeeded=1004.0)
SENT = TaskFields(state="FAILURE", sent=1000.0, received=1000.25, started=1001.0, failed=1002.0)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (wait_of, [0.75, 0.75]),
        (queue_wait_of, [math.nan, 1.0]),
        (came_at, [1000.25, 1000.0]),
        (ended_at, [1004.0, 1002.0]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_usual_task_takes_no_call(
    column: Callable[[TaskFields], float], expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(_task: Any) -> float:
        raise AssertionError

    in_bulk = IN_BULK[column]
    monkeypatch.setattr(task_module, column.__name__, called)

    assert list(map(repr, in_bulk([SUCCEEDED, SENT]))) == list(map(repr, expected))


def test_a_column_has_values_if_any_task_has_one() -> None:
    tasks = TaskTable(SharedIndex())
    for number, task in enumerate((SUCCEEDED, SENT)):
        batch = TaskPage(tasks.shared, (wait_of, queue_wait_of))
        batch.add({f"task-{number}": task})
        tasks.merge(batch)
        by_kind = tasks.by_kind()
        assert by_kind.has(wait_of)
        assert by_kind.has(queue_wait_of) == (task is SENT) == bool(by_kind.values_of(queue_wait_of, "unknown"))


names: st.SearchStrategy[Any] = st.sampled_from(["shop.buy", "shop.sell", "", None, 7, [], {"a": 1}, "x" * 250])
states: st.SearchStrategy[Any] = st.sampled_from(["SUCCESS", "STARTED", "CUSTOM", "", None, [], 7])


@given(st.lists(st.dictionaries(st.uuids().map(str), st.builds(TaskFields, name=names, state=states), max_size=4)))
@settings(deadline=None, max_examples=100)
def test_the_kind_of_a_task_does_not_depend_on_the_batch(
    some: list[dict[str, TaskFields]],
) -> None:
    batch = TaskPage(shared := SharedIndex())
    for tasks_of_a_piece in some:
        batch.add(tasks_of_a_piece)

    fields = {task_id: task for piece in some for task_id, task in piece.items()}
    expected = {
        task_id: (label_text(task.name, "unknown"), label_text(task.state, "UNKNOWN"))
        for task_id, task in fields.items()
    }
    assert {task_id: shared.kinds[batch.kinds[row]] for task_id, row in batch.rows.items()} == expected
    assert len(set(shared.kinds)) == len(shared.kinds)
