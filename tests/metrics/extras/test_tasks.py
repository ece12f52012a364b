"""Extras of tasks: ages, failures and last runs."""

from typing import Any

import pytest

from push_job.metrics.extras import ages, failures, last_run
from tests.flower.tasks import event
from tests.metrics.extras.contexts import NOW, Samples, samples_of

OLDEST, UNHEARD = "celery_task_oldest_seconds", "celery_tasks_ended_unheard"


def started(seconds_ago: float, worker: str = "celery@a", **fields: Any) -> dict[str, Any]:
    """Return a started task as Flower answers it."""
    at = NOW - seconds_ago
    return {"name": "t", "state": "STARTED", "started": at, "timestamp": at, "worker": worker, **fields}


def ages_with(tasks: dict[str, dict[str, Any]], rows: list[dict[str, Any]], workers: dict[str, Any]) -> Samples:
    """Return the samples of `ages`; `workers` are replies as Flower keeps them."""
    answers = {"/api/tasks": tasks, "/workers": {"data": rows}, "/api/workers": workers}
    return samples_of(ages.EXTRA, {task_id: event(**task) for task_id, task in tasks.items()}, answers)


def test_the_oldest_task_of_each_type_and_state_counts() -> None:
    tasks = {
        "a": event("mail", "RECEIVED", received=NOW - 5),
        "b": event("mail", "RECEIVED", received=NOW - 9),
        "c": event("pay", "RECEIVED", received=NOW - 1),
        "d": event("pay", "SUCCESS", received=NOW - 99, runtime=1.0),
    }
    assert samples_of(ages.EXTRA, tasks) == {(OLDEST, "mail", "RECEIVED"): 9.0, (OLDEST, "pay", "RECEIVED"): 1.0}


def test_young_started_tasks_need_no_further_request() -> None:
    assert samples_of(ages.EXTRA, {"a": event(**started(59))}) == {(OLDEST, "t", "STARTED"): 59.0}


def test_a_started_task_counts_while_its_worker_runs_it() -> None:
    tasks = {"a": started(900), "b": started(700), "c": started(30)}
    found = ages_with(tasks, [{"hostname": "celery@a", "status": True, "active": 3}], {})
    assert found == {(OLDEST, "t", "STARTED"): 900.0}


def test_the_longest_success_of_a_type_is_known_while_a_task_of_it_has_started() -> None:
    tasks = {
        "a": event(**started(30)),
        **{f"{name}-{seconds}": event(name, runtime=seconds) for name in ("t", "u") for seconds in (7.0, 9.0)},
    }
    assert samples_of(ages.EXTRA, tasks) == {
        (OLDEST, "t", "STARTED"): 30.0,
        ("celery_task_longest_success_seconds", "t"): 9.0,
    }


def test_more_started_tasks_than_a_worker_runs_have_ended_unheard() -> None:
    tasks = {"a": started(900), "b": started(700), "c": started(30)}
    found = ages_with(tasks, [{"hostname": "celery@a", "status": True, "active": 0}], {})
    assert found == {(UNHEARD, "t"): 2.0}  # the third one is younger than a heartbeat


def test_a_pool_runs_no_more_tasks_than_its_size() -> None:
    pool = {"celery@a": {"stats": {"pool": {"max-concurrency": 1}}}}
    found = ages_with(
        {"a": started(900), "b": started(700)}, [{"hostname": "celery@a", "status": True, "active": 40}], pool
    )
    assert found == {(OLDEST, "t", "STARTED"): 700.0, (UNHEARD, "t"): 1.0}


def test_a_worker_that_lists_its_tasks_is_believed() -> None:
    def reply(params: dict[str, Any]) -> dict[str, Any]:
        return {"celery@a": {"active": [{"id": "a"}]}} if "refresh" in params else {}

    tasks = {"a": started(900), "b": started(700)}
    answers = {
        "/api/tasks": tasks,
        "/workers": {"data": [{"hostname": "celery@a", "status": True, "active": 1}]},
        "/api/workers": reply,
    }
    found = samples_of(ages.EXTRA, {task_id: event(**task) for task_id, task in tasks.items()}, answers)
    assert found == {(OLDEST, "t", "STARTED"): 900.0, (UNHEARD, "t"): 1.0}


def test_tasks_of_a_lost_worker_are_neither_running_nor_ended() -> None:
    assert ages_with({"a": started(900)}, [{"hostname": "celery@a", "status": False, "active": 1}], {}) == {}


def test_without_an_answer_all_started_tasks_count() -> None:
    assert samples_of(ages.EXTRA, {"a": event(**started(900))}) == {(OLDEST, "t", "STARTED"): 900.0}


def failure(at: float, exception: str = "ValueError('x')", name: str = "t") -> Any:
    return event(name, "FAILURE", exception=exception, failed=at, timestamp=at)


def test_failures_count_by_exception_and_since_the_last_success() -> None:
    tasks = {
        "a": failure(1.0),
        "b": event(succeeded=2.0, timestamp=2.0),
        "c": failure(3.0),
        "d": failure(4.0, "app.Full()"),
        "e": failure(5.0, name="other"),
    }
    assert samples_of(failures.EXTRA, tasks) == {
        ("celery_task_failures", "t", "ValueError"): 2.0,
        ("celery_task_failures", "t", "app.Full"): 1.0,
        ("celery_task_failures", "other", "ValueError"): 1.0,
        ("celery_task_failures_since_success", "t"): 2.0,
        ("celery_task_failures_since_success", "other"): 1.0,
    }


def test_the_rarest_exceptions_are_summed_as_other() -> None:
    tasks = {
        f"{number}-{copy}": failure(1.0, f"E{number}()") for number in range(60) for copy in range(1 + (number < 9))
    }
    found = samples_of(failures.EXTRA, tasks)
    by_class = {key[2]: value for key, value in found.items() if key[0] == "celery_task_failures"}
    assert len(by_class) == failures.MOST_CLASSES == 50
    assert by_class["other"] == 11.0
    assert sum(by_class.values()) == len(tasks)


def test_last_runs_outlive_the_tasks_but_not_a_wrong_clock() -> None:
    kept: dict[str, dict[str, float]] = {"SUCCESS": {"gone": 5.0}}
    tasks = {"a": event(succeeded=7.0, timestamp=7.0), "b": event("fast", succeeded=NOW + 999, timestamp=NOW + 999)}
    found = samples_of(last_run.EXTRA, tasks, kept=kept)
    last = "celery_task_last_success_timestamp_seconds"
    assert found == {(last, "gone"): 5.0, (last, "t"): 7.0, (last, "fast"): NOW + 999}
    assert kept == {"SUCCESS": {"gone": 5.0, "t": 7.0}, "FAILURE": {}}


def test_types_that_share_a_label_have_the_newest_of_their_runs() -> None:
    tasks = {name: event(name, succeeded=at, timestamp=at) for name, at in (("a", 3.0), ("b", 9.0), ("c", 5.0))}
    found = samples_of(last_run.EXTRA, tasks, label=lambda _: "other")
    assert found == {("celery_task_last_success_timestamp_seconds", "other"): 9.0}


@pytest.mark.parametrize(
    ("times", "interval"),
    [
        ([0, 10, 20, 30, 40, 50], 10.0),
        ([50, 0, 20, 10, 40, 30], 10.0),
        ([0, 10, 20, 30, 40], None),  # too few
        ([0, 11, 20, 30, 41, 50], 10.0),
        ([0, 13, 20, 30, 40, 50], None),
        ([7, 7, 7, 7, 7, 7], None),
        ([0, 1, 2, 3, 4, 5], 1.0),
        ([0.0, 0.5, 1.0, 1.5, 2.0, 2.5], None),  # a program sends these, not a schedule
        ([0, *range(1000, 2001, 10)], 10.0),  # the newest hundred count
    ],
)
def test_a_type_has_an_interval_if_nine_of_ten_gaps_are_alike(times: list[float], interval: float | None) -> None:
    assert last_run.usual_interval(times) == interval
