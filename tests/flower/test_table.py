"""The table of tasks merges pages, looks up tasks and compares the list's end."""

import gc
import math
import weakref

import pytest

from push_job.flower.page import SharedIndex
from push_job.flower.table_values import Content
from push_job.flower.task import received_of
from tests.flower.tasks import event, page_of, successes, table_of


@pytest.fixture
def shared() -> SharedIndex:
    return SharedIndex()


def test_pages_are_joined_in_their_order(shared: SharedIndex) -> None:
    table = table_of(shared, successes(a=9, b=8), successes(c=7))
    assert list(table) == ["a", "b", "c"]
    assert (len(table), table.page_count) == (3, 2)
    assert "b" in table
    assert "d" not in table


def test_a_table_is_freed_without_the_garbage_collector() -> None:
    table = table_of(SharedIndex(), successes(a=9, b=8))
    remains = weakref.ref(table.shared)
    gc.disable()
    try:
        del table
        assert remains() is None
    finally:
        gc.enable()


def test_a_page_that_is_merged_replaces_earlier_versions(shared: SharedIndex) -> None:
    table = table_of(shared, successes(a=9, b=8))
    assert table.merge(page_of(shared, successes(b=10, c=7), now=50.0), place=0) == 1
    assert list(table) == ["b", "c", "a"]
    assert table.stamp_of("b") == 10
    assert table.now == 50.0


def test_dropped_and_replaced_tasks_are_gone(shared: SharedIndex) -> None:
    table = table_of(shared, successes(a=9, b=8), successes(c=7))
    table.drop(["b", "unknown", "c"])
    assert list(table) == ["a"]
    last = page_of(shared, successes(x=1))
    table.merge(last)
    table.replace_by(last)
    assert list(table) == ["x"]


def test_compacting_keeps_tasks_and_values(shared: SharedIndex) -> None:
    table = table_of(shared, successes(a=9, b=8, c=7), successes(b=10), {"d": event(state="FAILURE", timestamp=1.0)})
    before = dict(table.contents())
    page = table.compact()
    assert list(table) == list(before)
    assert all(each.counts_like(before[task_id]) for task_id, each in table.contents())
    assert {task_id: table.stamp_of(task_id) for task_id in table} == {"a": 9, "c": 7, "b": 10, "d": 1}
    assert list(before) == ["a", "c", "b", "d"]
    assert (table.page_count, len(page)) == (1, 4)  # the old version of b has no row any more


def test_an_empty_table_can_be_compacted(shared: SharedIndex) -> None:
    table = table_of(shared)
    assert len(table.compact()) == 0
    assert table.rarest_state() is None
    assert table.tally() == {}


def test_sorting_by_stamp_breaks_ties_by_id(shared: SharedIndex) -> None:
    table = table_of(shared, successes(a=1, b=3), successes(d=2, c=2, e=3))
    assert not table.is_by_stamp()
    table.sort_by_stamp()
    assert list(table) == ["e", "b", "d", "c", "a"]
    assert table.is_by_stamp()


@pytest.mark.parametrize(
    ("task", "unchanged"),
    [
        (event(timestamp=9.0), True),
        (event(timestamp=9.5), False),
        (event(state="FAILURE", timestamp=9.0), False),
        (event(name="other", timestamp=9.0), False),
    ],
)
def test_a_task_is_unchanged_if_stamp_and_kind_are(shared: SharedIndex, task: object, unchanged: bool) -> None:
    table = table_of(shared, successes(a=9))
    page = page_of(shared, {"a": task, "new": event(timestamp=9.0)})  # type: ignore[dict-item]  # an event
    assert table.is_unchanged("a", page) is unchanged
    assert not table.is_unchanged("new", page)
    assert table.changed(page) == ([] if unchanged else ["a"]) + ["new"]


def test_values_of_unknown_tasks_are_none(shared: SharedIndex) -> None:
    table = table_of(shared)
    table.merge(page_of(shared, {"a": event(timestamp=2.0, received=1.5)}, (received_of,)))
    page, row = table.find("a") or pytest.fail("the table has the task")
    assert (page.columns[received_of][row], table.find("b")) == (1.5, None)
    assert (table.stamp_of("a"), table.stamp_of("b")) == (2.0, None)
    assert table.labels_of("a") == ("t", "SUCCESS")
    with pytest.raises(KeyError):
        table.labels_of("b")


def test_the_rarest_state_is_that_of_the_fewest_tasks(shared: SharedIndex) -> None:
    many = {str(number): event() for number in range(3)}
    table = table_of(shared, many, {"x": event("other"), "y": event(state="STARTED"), "z": event(state="STARTED")})
    assert table.rarest_state() == "STARTED"


def test_ids_of_kinds_are_those_with_one_of_the_numbers(shared: SharedIndex) -> None:
    table = table_of(shared, {"a": event(), "b": event(state="FAILURE"), "c": event()})
    assert list(table.ids_of_kinds({shared.kinds.index(("t", "SUCCESS"))})) == ["a", "c"]
    assert list(table.ids_of_kinds(set())) == []


KNOWN = {"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0}


@pytest.mark.parametrize(
    ("end", "unplaced", "missing"),
    [
        ({"c": 7.0, "d": 6.0}, (), []),
        ({"b": 8.0, "d": 6.0}, (), ["c"]),
        ({"a": 9.0}, (), ["d", "c", "b"]),
        ({"b": 8.0, "new": 5.0}, (), ["d", "c"]),
        ({"b": 10.0, "c": 7.0}, (), ["d"]),  # b has changed, so c is the reference
        ({"b": 8.0, "c": 7.0}, ("b",), ["d"]),
        ({"new": 5.0}, (), None),
        ({"d": 99.0}, (), None),
        ({}, (), None),
    ],
)
def test_tasks_missing_at_the_end_stood_after_an_unchanged_one(
    shared: SharedIndex, end: dict[str, float], unplaced: tuple[str, ...], missing: list[str] | None
) -> None:
    table = table_of(shared, successes(**KNOWN))
    assert table.missing_at_end(page_of(shared, successes(**end)), unplaced) == missing


@pytest.mark.parametrize(
    ("page", "unplaced", "kept"),
    [
        ({"b": 8.0, "c": 7.0}, (), True),
        ({"b": 8.0, "d": 6.0}, (), True),
        ({"c": 7.0, "b": 8.0}, (), False),
        ({"c": 7.0, "b": 99.0}, (), True),  # b has changed, so it may have moved
        ({"c": 7.0, "b": 8.0}, ("b",), True),
        ({"new": 1.0}, (), True),
        ({}, (), True),
    ],
)
def test_unchanged_tasks_keep_their_order(
    shared: SharedIndex, page: dict[str, float], unplaced: tuple[str, ...], kept: bool
) -> None:
    table = table_of(shared, successes(**KNOWN))
    assert table.keeps_order(page_of(shared, successes(**page)), unplaced) is kept


def test_the_depth_of_a_task_counts_the_tasks_of_the_end_page_after_it(shared: SharedIndex) -> None:
    table = table_of(shared, successes(**KNOWN))
    assert table.depth_of("b", page_of(shared, successes(c=7, d=6, new=5))) == 2
    assert table.depth_of("d", page_of(shared, successes(c=7, d=6))) == 0


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (1.0, 1.0, True),
        (1.0, 2.0, False),
        (math.nan, math.nan, True),
        (math.nan, 1.0, False),
    ],
)
def test_contents_count_alike_whatever_their_stamps(one: float, other: float, alike: bool) -> None:
    assert Content(1.0, ("t", "S"), one).counts_like(Content(2.0, ("t", "S"), other)) is alike
    assert not Content(1.0, ("t", "S"), one).counts_like(Content(1.0, ("u", "S"), other))
