"""Extras of workers and queues, and what is read out of Flower's rows and replies."""

import math
from typing import Any

import pytest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from push_job.metrics.extras import activity, flower_metrics, pools
from push_job.metrics.extras.forgotten_workers import is_forgotten
from push_job.metrics.extras.known_workers import pool_size
from push_job.metrics.extras.numbers import finite_number, finite_numbers, float_or_nan
from tests.metrics.extras.contexts import NOW, Samples, samples_of


def test_activity_is_that_of_the_last_heartbeat_of_workers_that_are_not_forgotten() -> None:
    prefetched = GaugeMetricFamily("flower_worker_prefetched_tasks", "", labels=["worker", "task"])
    prefetched.add_metric(["celery@a", "t"], 2.0)
    prefetched.add_metric(["celery@a", "u"], 3.0)
    rows = [
        {
            "hostname": "celery@a",
            "status": True,
            "active": 1,
            "processed": 7,
            "loadavg": [0.5, 0.25],
            "heartbeats": [NOW - 9, NOW - 4],
        },
        {"hostname": "celery@odd", "status": True, "active": "many", "processed": None, "heartbeats": "never"},
        {"hostname": "celery@gone", "status": False, "active": 1, "heartbeats": [NOW - 4000] * 4},
    ]
    found = samples_of(
        activity.EXTRA, answers={"/workers": {"data": rows}}, own_metrics=(prefetched,), forget_after=3600.0
    )
    assert found == {
        ("celery_worker_active_tasks", "celery@a"): 1.0,
        ("celery_worker_processed_tasks", "celery@a"): 7.0,
        ("celery_worker_last_heartbeat_age_seconds", "celery@a"): 4.0,
        ("celery_worker_prefetched_tasks", "celery@a"): 5.0,
        ("celery_worker_load_average", "celery@a", "1m"): 0.5,
        ("celery_worker_load_average", "celery@a", "5m"): 0.25,
    }


def worker(size: int, *queues: str) -> dict[str, Any]:
    """Return a worker's reply."""
    return {
        "stats": {"pool": {"max-concurrency": size}},
        "active_queues": [{"name": name} for name in queues],
    }


def pools_with(replies: dict[str, Any], alive: dict[str, bool], queues: list[dict[str, Any]]) -> Samples:
    return samples_of(
        pools.EXTRA,
        answers={
            "/api/workers": lambda params: alive if "status" in params else replies,
            "/api/queues/length": {"active_queues": queues},
        },
    )


def test_pools_and_consumers_are_those_of_live_workers() -> None:
    found = pools_with(
        {"celery@a": worker(4, "mail", "pay"), "celery@b": worker(2, "pay"), "celery@gone": worker(9, "old")},
        {"celery@a": True, "celery@b": True, "celery@gone": False},
        [{"name": "nobody", "messages": 3}],
    )
    assert found == {
        ("celery_worker_pool_processes", "celery@a"): 4.0,
        ("celery_worker_pool_processes", "celery@b"): 2.0,
        ("celery_queue_consumers", "mail"): 1.0,
        ("celery_queue_consumers", "pay"): 2.0,
        ("celery_queue_consumers", "old"): 0.0,
        ("celery_queue_consumers", "nobody"): 0.0,
    }


def test_without_a_reply_of_every_live_worker_the_consumers_are_unknown() -> None:
    found = pools_with({"celery@a": worker(4, "pay")}, {"celery@a": True, "celery@mute": True}, [])
    assert found == {("celery_worker_pool_processes", "celery@a"): 4.0}


@pytest.mark.parametrize(
    ("stats", "size"),
    [
        ({"pool": {"max-concurrency": 4}}, 4.0),
        ({"pool": {"max-concurrency": 1, "processes": [1, 2, 3]}}, 3.0),
        ({"pool": {"max-concurrency": 1}, "autoscaler": {"max": 8}}, 8.0),
        ({"pool": {"max-concurrency": "4"}}, None),
        ({"pool": [4]}, None),
        (None, None),
    ],
)
def test_a_pool_is_as_large_as_it_can_become(stats: Any, size: float | None) -> None:
    assert pool_size({"stats": stats}) == size


@pytest.mark.parametrize(
    ("row", "forgotten"),
    [
        (None, True),  # Flower runs with --purge-offline-workers
        ({"status": True, "heartbeats": [NOW]}, False),
        ({"status": False, "heartbeats": [NOW - 50] * 4}, False),
        ({"status": False, "heartbeats": [NOW - 101] * 4}, True),
        ({"status": False, "heartbeats": []}, True),
        ({"status": False, "heartbeats": [NOW - 1], "worker-offline": NOW - 2}, True),
        ({"status": False, "heartbeats": [NOW - 1] * 4, "worker-offline": NOW - 2}, False),
        ({"status": False, "heartbeats": [NOW - 1]}, False),
        ({"status": False, "heartbeats": None}, False),
    ],
)
def test_a_worker_is_forgotten_after_an_orderly_stop_or_a_while(row: dict[str, Any] | None, forgotten: bool) -> None:
    assert is_forgotten(row, NOW, 100.0) is forgotten


def test_no_time_forgets_no_silent_worker() -> None:
    assert not is_forgotten({"status": False, "heartbeats": [1.0] * 4}, NOW, 0.0)


def test_flowers_families_are_passed_on_unless_a_pushgateway_would_reject_them() -> None:
    events = CounterMetricFamily("flower_events", "", labels=["worker", "job"])
    events.add_metric(["a", "j"], 3.0, created=1.0)
    process = GaugeMetricFamily("process_open_fds", "", value=9.0)
    clash = GaugeMetricFamily("celery_workers", "", value=1.0)
    odd = Metric("info", "", "info")
    odd.add_sample("info", {}, 1.0)
    bare = Metric("bare", "", "counter")  # parsed from "bare 1", without _total
    bare.add_sample("bare", {}, 1.0)
    twice = GaugeMetricFamily("twice", "", value=1.0)
    twice.add_metric([], 2.0)
    found = samples_of(
        flower_metrics.EXTRA,
        own_metrics=(events, process, clash, odd, bare, twice),
        taken=frozenset({"celery_workers"}),
    )
    assert {key for key in found if not key[0].endswith("_created")} == {("flower_events_total", "a", "j")}


def test_labels_that_a_pushgateway_overwrites_are_renamed() -> None:
    family = GaugeMetricFamily("g", "", labels=["job", "task"])
    family.add_metric(["j", "t"], 1.0)
    (passed,) = flower_metrics.EXTRA.read(_context(family))
    assert passed.samples[0].labels == {"exported_job": "j", "task": "t"}


def _context(family: Metric) -> Any:
    class Context:
        taken: frozenset[str] = frozenset()

        @staticmethod
        def own_metrics() -> list[Metric]:
            return [family]

    return Context()


@pytest.mark.parametrize(
    ("value", "number"), [(1, 1.0), (2.5, 2.5), (True, None), ("1", None), (math.inf, None), (10**400, None)]
)
def test_only_finite_numbers_are_numbers(value: Any, number: float | None) -> None:
    assert finite_number(value) == number
    assert finite_numbers([value]) == ([] if number is None else [number])
    assert finite_numbers(value) == []


def test_what_is_no_number_is_nan() -> None:
    assert float_or_nan("2.5") == 2.5
    assert math.isnan(float_or_nan("x"))
    assert math.isnan(float_or_nan(10**400))
