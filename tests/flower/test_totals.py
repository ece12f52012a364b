"""Totals count ends of tasks and are compared with Flower's counters.

The tests need no Flower.
"""

from collections import Counter

import pytest

from push_job.flower.bulk_columns import IN_BULK
from push_job.flower.page import SharedIndex
from push_job.flower.table import TaskTable
from push_job.flower.table_values import Change
from push_job.flower.task import TaskFields, ends_of, last_end_of, new_ends
from push_job.flower.totals import COLUMNS, COUNTED, LAST_FAILURE, Totals
from tests.flower.tasks import event, page_of

SUCCESS = event(succeeded=5.0, timestamp=5.0, runtime=0.2)
FAILURE = event(state="FAILURE", failed=6.0, timestamp=6.0, exception="ValueError('no')")
BOTH = event(succeeded=7.0, failed=6.0, timestamp=7.0)
TASKS = [
    SUCCESS,
    FAILURE,
    BOTH,
    event(state="STARTED", started=1.0),
    event(state="REVOKED", revoked=3),
    event(state="FAILURE", failed=2.0, rejected=1.5),
    event(succeeded="soon"),
]


def ends_between(former: TaskFields, task: TaskFields) -> list[str]:
    return new_ends(last_end_of(task), ends_of(task), last_end_of(former), ends_of(former))


@pytest.mark.parametrize("column", COUNTED)
def test_columns_are_the_same_for_many_tasks_at_once(column: object) -> None:
    assert IN_BULK[column](TASKS) == list(map(column, TASKS))  # type: ignore[index, call-overload]  # columns are functions


def test_each_state_that_a_task_shows_first_is_a_new_end() -> None:
    nothing = event(state="PENDING")
    assert ends_between(nothing, nothing) == []
    assert ends_between(nothing, SUCCESS) == ["SUCCESS"]
    assert ends_between(nothing, BOTH) == ["SUCCESS", "FAILURE"]
    assert ends_between(FAILURE, BOTH) == ["SUCCESS"]
    assert ends_between(event(state="STARTED"), TASKS[5]) == ["FAILURE", "REJECTED"]


def test_the_newest_end_is_new_if_it_is_later() -> None:
    assert ends_between(SUCCESS, SUCCESS) == []
    assert ends_between(SUCCESS, event(succeeded=9.0)) == ["SUCCESS"]
    # Flower has restarted with an older state, or without one.
    assert ends_between(SUCCESS, event(succeeded=4.0)) == []
    assert ends_between(SUCCESS, event(state="STARTED")) == []


def watched(*pages: dict[str, TaskFields]) -> TaskTable:
    """Return a table in which these pages were merged.

    The first page is merged before the table is watched.
    """
    table = TaskTable(SharedIndex())
    table.merge(page_of(table.shared, pages[0], COLUMNS))
    table.watch(COUNTED)
    for page in pages[1:]:
        table.merge(page_of(table.shared, page, COLUMNS), 0)
    return table


def test_a_table_shows_what_changed_since_it_was_asked() -> None:
    started = event(state="STARTED")
    table = watched(
        {"a": SUCCESS, "b": started, "c": started}, {"a": SUCCESS, "b": FAILURE, "d": SUCCESS, "e": SUCCESS}
    )
    table.drop(["e"])
    changes = {(change.kind[1], change.text): change.former for change in table.take_changes(LAST_FAILURE)}
    assert changes == {("FAILURE", "ValueError"): (0.0, 0.0), ("SUCCESS", ""): None}
    assert table.take_changes(LAST_FAILURE) == []


def test_a_full_scrape_is_compared_with_what_was_counted_last() -> None:
    former = watched({"a": event(state="STARTED"), "b": SUCCESS}, {"a": SUCCESS})  # `a` has not been counted yet
    table = TaskTable(SharedIndex())
    table.merge(page_of(table.shared, {"a": SUCCESS, "b": SUCCESS, "c": FAILURE}, COLUMNS))
    changes = table.changes_since(former, COUNTED, LAST_FAILURE)
    assert sorted((change.kind[1], change.former) for change in changes) == [("FAILURE", None), ("SUCCESS", (0.0, 0.0))]


def change(task: TaskFields, former: TaskFields | None = None, name: str = "t", task_id: str = "id") -> Change:
    def values(of: TaskFields) -> tuple[float, float]:
        return last_end_of(of), ends_of(of)

    kind, text = (name, str(task.state)), "ValueError" if task.failed else ""
    known = None if former is None else values(former)
    return Change(task_id, kind, float(task.timestamp or 0), float(task.runtime or "nan"), text, values(task), known)


def test_ends_exceptions_and_runtimes_are_counted() -> None:
    totals = Totals((0.1, 1.0))
    totals.count([change(SUCCESS), change(FAILURE), change(BOTH)], 100.0)
    found = totals.types["t"]
    assert found.ends == {"SUCCESS": 2, "FAILURE": 2, "REVOKED": 0, "REJECTED": 0}
    assert {name: failures.count for name, failures in found.failures.items()} == {"ValueError": 2}
    assert (found.buckets, found.runtime) == ([0, 1, 0], 0.2)
    assert found.since == 100.0


def test_old_ends_of_new_tasks_were_counted_before() -> None:
    totals = Totals((1.0,), scraped_at=1000.0)
    totals.count([change(SUCCESS), change(event(succeeded=900.0))], 100.0, is_by_stamp=False)
    assert totals.types["t"].ends["SUCCESS"] == 1
    totals.count([change(SUCCESS)], 100.0)  # of a worker whose clock is slow
    totals.count([change(event(succeeded=950.0)), change(event(succeeded=1001.0))], 100.0, is_restarted=True)
    assert totals.types["t"].ends["SUCCESS"] == 3


def test_a_task_that_one_full_scrape_did_not_find_is_counted_once() -> None:
    former = watched({"lost": SUCCESS, "forgotten": FAILURE, "waiting": event(state="STARTED")}, {"uncounted": SUCCESS})
    found = TaskTable(SharedIndex())
    found.merge(page_of(found.shared, {"other": SUCCESS}, COLUMNS))
    totals = Totals((1.0,))
    totals.keep_gone(former.values_of_missing(found))
    assert totals.gone.keys() == {"lost", "forgotten"}
    totals.count([change(SUCCESS, task_id=name) for name in ("lost", "uncounted")], 100.0)
    assert totals.types["t"].ends["SUCCESS"] == 1
    totals.count([change(BOTH, task_id="lost")], 100.0)  # it ended again
    assert totals.types["t"].ends["FAILURE"] == 1


def test_too_many_types_and_exceptions_are_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("push_job.flower.totals._TYPE_LIMIT", 2)
    monkeypatch.setattr("push_job.flower.totals._CLASS_LIMIT", 2)
    totals = Totals((1.0,))
    totals.count([change(FAILURE, name=name) for name in ("a", "b", "c", "d", "a")], 0.0)
    totals.count([change(FAILURE, name="a")._replace(text=text) for text in ("KeyError", "OSError")], 0.0)
    assert {name: found.ends["FAILURE"] for name, found in totals.types.items()} == {"a": 4, "b": 1, "other": 2}
    assert {name: found.count for name, found in totals.types["a"].failures.items()} == {"ValueError": 2, "other": 2}


def missed(totals: Totals) -> dict[str, int]:
    return {name: found.missed for name, found in totals.types.items() if found.missed}


def begun(process: float = 1.0, **ends: int) -> Totals:
    """Return totals that have begun with the counters of a Flower process.

    The process has counted these ends.
    """
    totals = Totals((1.0,))
    totals.begin(process, 0.0, Counter(ends), Counter(), 0.0, is_new=False)
    return totals


def test_what_flower_counted_and_no_task_shows_is_missed() -> None:
    totals = begun(t=5)
    totals.count([change(SUCCESS)], 0.0)
    totals.compare(Counter(t=6), 0.0, is_exact=True)
    assert missed(totals) == {}
    totals.compare(Counter(t=8), 0.0, is_exact=True)
    assert missed(totals) == {"t": 2}
    # A task may show an end before the counters have it; a counter does not fall.
    totals.count([change(SUCCESS)], 0.0)
    totals.compare(Counter(t=8), 0.0, is_exact=False)
    assert missed(totals) == {"t": 2}


def test_an_end_that_flower_counted_without_a_name_is_not_missed() -> None:
    totals = begun()
    totals.count([change(SUCCESS)], 0.0)
    totals.compare(Counter(unknown=1), 0.0, is_exact=True)
    assert missed(totals) == {}
    totals.compare(Counter(unknown=3), 0.0, is_exact=True)
    assert missed(totals) == {"unknown": 2}


def test_an_end_under_another_name_does_not_raise_what_is_missed() -> None:
    totals = begun()
    totals.compare(Counter(t=1), 0.0, is_exact=True)
    totals.count([change(SUCCESS)], 0.0)  # Flower counts its end without a name, which the task learns later
    totals.compare(Counter(t=1, unknown=1), 0.0, is_exact=True)
    assert missed(totals) == {"t": 1}


def test_ends_during_the_first_scrape_do_not_hide_missed_ones() -> None:
    totals = begun(t=7)  # two of these came while the tasks were read, which showed one of them
    totals.count([change(SUCCESS)], 0.0)
    for _ in range(2):  # nothing ends in between
        totals.compare(Counter(t=7), 0.0, is_exact=True)
    totals.compare(Counter(t=8), 0.0, is_exact=True)
    assert missed(totals) == {"t": 1}


def test_a_new_process_is_compared_from_its_start() -> None:
    totals = begun(t=5)
    totals.compare(Counter(t=7), 0.0, is_exact=True)
    totals.scraped_at = 100.0
    totals.begin(130.0, 132.5, Counter(t=4), Counter(t=3), 0.0, is_new=True)
    totals.compare(Counter(t=4), 0.0, is_exact=True)
    assert missed(totals) == {"t": 3}
    assert totals.unwatched == 32.5  # until its first event
    totals.scraped_at = 200.0
    totals.begin(199.5, 0.0, Counter(t=9), Counter(t=500), 0.0, is_new=False)  # its saved state has tasks of before
    totals.compare(Counter(t=9), 0.0, is_exact=True)
    assert missed(totals) == {"t": 3}
    assert totals.unwatched == 33.5


def test_retries_are_those_that_flower_counted_since_the_start() -> None:
    totals = begun()
    totals.skip_retries(Counter(t=10), 0.0)
    for count in (10, 12, 11, 12, 13):  # an older answer comes out of a cache
        totals.count_retries(Counter(t=count), 0.0)
    assert totals.types["t"].retries == 3
    totals.begin(2.0, 0.0, Counter(), Counter(), 0.0, is_new=True)
    totals.count_retries(Counter(t=2, new=1), 0.0)
    assert {name: found.retries for name, found in totals.types.items()} == {"t": 5, "new": 1}


def test_tasks_that_a_new_process_forgets_during_its_first_scrape_are_not_missed() -> None:
    totals = begun()
    totals.compare(Counter(), 0.0, is_exact=True)
    totals.count([change(SUCCESS), change(SUCCESS)], 0.0, is_restarted=True)
    totals.begin(2.0, 0.0, Counter(t=2), Counter(t=1), 0.0, is_new=True)  # one of them is gone
    totals.compare(Counter(t=2), 0.0, is_exact=True)
    assert missed(totals) == {}
