"""Pages of tasks as columns, and the limits of labels and texts."""

import math

import pytest

from push_job.flower import page as page_module
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.task import EventFields, TaskFields, TextColumn, received_of
from tests.flower.tasks import event, page_of, successes


@pytest.mark.parametrize(
    ("name", "state", "kind"),
    [
        ("shop.buy", "SUCCESS", ("shop.buy", "SUCCESS")),
        (None, None, ("unknown", "UNKNOWN")),
        ("", "", ("unknown", "UNKNOWN")),
        (7, True, ("unknown", "UNKNOWN")),
        ([1], {"a": 1}, ("unknown", "UNKNOWN")),
        ("x" * 300, "SUCCESS", ("x" * 199 + "…", "SUCCESS")),
        ("\ud800", "CUSTOM", ("?", "CUSTOM")),
    ],
)
def test_a_kind_is_a_valid_pair_of_labels(name: object, state: object, kind: tuple[str, str]) -> None:
    shared = SharedIndex()
    assert shared.kinds_of([TaskFields(name=name, state=state)]) == [0]
    assert shared.kinds == [kind]


def test_equal_kinds_have_one_number() -> None:
    shared = SharedIndex([("a", "SUCCESS")])
    tasks = [
        TaskFields(name="b", state="SUCCESS"),
        TaskFields(name="a", state="SUCCESS"),
        TaskFields(name=[], state=[]),
    ]
    assert shared.kinds_of(tasks) == [1, 0, 2]
    assert shared.kinds_of(tasks[:2]) == [1, 0]


def test_kinds_beyond_the_limit_are_counted_as_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "_KIND_LIMIT", 2)
    shared = SharedIndex()
    pairs = [("a", "SUCCESS"), ("b", "SUCCESS"), ("c", "SUCCESS"), ("d", "FAILURE"), ("e", "CUSTOM"), ("a", "SUCCESS")]
    shared.kinds_of([TaskFields(name=name, state=state) for name, state in pairs])
    assert shared.kinds == [
        *(("a", "SUCCESS"), ("b", "SUCCESS")),
        *(("other", "SUCCESS"), ("other", "FAILURE"), ("other", "OTHER")),
    ]


def test_texts_beyond_the_limit_are_counted_as_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "_TEXT_LIMIT", 2)
    shared = SharedIndex()
    column = TextColumn(lambda task: str(task.exception), "FAILURE")
    tasks = [event(state="FAILURE", exception=text) for text in ("A", "B", "C", "A", "D")]
    numbers = shared.values_of(column, [*tasks, event(exception="E")])
    assert numbers[:5] == [0, 1, 2, 0, 2]
    assert math.isnan(numbers[5])
    assert shared.texts == ["A", "B", "other"]


@pytest.mark.parametrize(
    ("task", "seconds"),
    [
        (event(runtime=1.5), 1.5),
        (event(runtime=0.0), 0.0),
        (event(runtime=2), 2.0),
        (event(runtime=-0.1), math.nan),
        (event(runtime=3.2e9), 3.2e9),
        (event(runtime=3.3e9), math.nan),
        (event(runtime=math.inf), math.nan),
        (event(runtime=True), math.nan),
        (event(runtime="1"), math.nan),
        (event(runtime=None), math.nan),
        (event(state="STARTED", started=5.0, runtime=1.0), 5.0),
        (event(state="STARTED", started=None, timestamp=7.0), 7.0),
        (event(state="RETRY", retried=9.0, eta="1970-01-01T00:00:20"), 20.0),
        (event(state="PENDING"), math.nan),
        (event(state="CUSTOM", runtime=3.0), 3.0),
    ],
)
def test_seconds_are_the_runtime_or_the_start_of_the_age(task: EventFields, seconds: float) -> None:
    found = page_of(SharedIndex(), {"a": task}).seconds[0]
    assert found == seconds or (math.isnan(found) and math.isnan(seconds))


@pytest.mark.parametrize(
    ("stamp", "expected"), [(5.5, 5.5), (5, 5.0), (None, 0.0), ("5", 0.0), (True, 0.0), (10**20, 0.0)]
)
def test_a_stamp_is_a_number_or_zero(stamp: object, expected: float) -> None:
    assert page_of(SharedIndex(), {"a": event(timestamp=stamp)}).stamps[0] == expected


def test_columns_grow_with_every_piece_and_fields_are_kept_on_demand() -> None:
    page = TaskPage(SharedIndex(), (received_of,), keep_fields=True)
    page.add({"a": event(received=1.0)})
    page.add({"b": event(received=2.0), "c": event(received=None)})
    assert list(page.rows.items()) == [("a", 0), ("b", 1), ("c", 2)]
    assert list(page.columns[received_of])[:2] == [1.0, 2.0]
    assert list(page.fields) == ["a", "b", "c"]
    assert page_of(SharedIndex(), {"a": event()}).fields == {}


def test_a_task_twice_on_one_page_has_its_last_row() -> None:
    page = TaskPage(SharedIndex())
    page.add(successes(a=1, b=2))
    page.add(successes(a=3))
    assert len(page.rows) == 2
    assert page.stamps[page.rows["a"]] == 3


def test_appending_takes_only_the_remaining_rows() -> None:
    shared = SharedIndex()
    target, source = (
        page_of(shared, successes(x=1), (received_of,)),
        page_of(shared, successes(a=2, b=3, c=4, d=5), (received_of,)),
    )
    for task_id in ("a", "c"):
        del source.rows[task_id]
    target.append(source)
    assert {task_id: target.stamps[row] for task_id, row in target.rows.items()} == {"x": 1, "b": 3, "d": 5}
    assert len(target) == len(target.columns[received_of]) == 3
    target.append(page_of(shared, {}, (received_of,)))
    assert len(target) == 3


@pytest.mark.parametrize(
    ("stamps", "sorted_"),
    [
        ({}, True),
        ({"a": 1}, True),
        ({"a": 2, "b": 1}, True),
        ({"a": 1, "b": 2}, False),
        ({"b": 1, "a": 1}, True),
        ({"a": 1, "b": 1}, False),
    ],
)
def test_the_order_of_2_2_is_by_stamp_and_id(stamps: dict[str, float], sorted_: bool) -> None:
    assert page_of(SharedIndex(), successes(**stamps)).is_by_stamp() is sorted_
