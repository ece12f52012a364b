"""The families of `--with totals`."""

import pytest

from push_job.flower.totals import Failures, Totals, TypeTotals
from push_job.http.errors import TransportError
from push_job.metrics.extras import EXTRAS, needing_state, stateless
from push_job.metrics.extras.totals import EXTRA, HOLD
from tests.metrics.extras.contexts import NOW, Samples, samples_of


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Our time, as the only entry of a list."""
    now = [NOW]
    monkeypatch.setattr("push_job.metrics.extras.totals.time.time", lambda: now[0])
    return now


def counted(since: float) -> TypeTotals:
    return TypeTotals(
        since,
        {"SUCCESS": 4, "FAILURE": 2, "REVOKED": 0, "REJECTED": 0},
        retries=3,
        failures={"ValueError": Failures(since, 2)},
        buckets=[1, 2, 1],
        runtime=7.5,
        missed=1,
    )


def read(totals: Totals | None, limit: int = 1000) -> Samples:
    return samples_of(EXTRA, totals=totals, type_limit=limit)


@pytest.mark.usefixtures("clock")
def test_each_total_has_its_samples() -> None:
    samples = read(Totals((0.1, 1.0), {"t": counted(0.0)}, unwatched=12.5))
    assert samples == {
        ("celery_tasks_total", "t", "SUCCESS"): 4,
        ("celery_tasks_total", "t", "FAILURE"): 2,
        ("celery_tasks_total", "t", "REVOKED"): 0,
        ("celery_tasks_total", "t", "REJECTED"): 0,
        ("celery_task_retries_total", "t"): 3,
        ("celery_task_failures_total", "t", "ValueError"): 2,
        ("celery_task_success_runtime_seconds_bucket", "t", "0.1"): 1,
        ("celery_task_success_runtime_seconds_bucket", "t", "1.0"): 3,
        ("celery_task_success_runtime_seconds_bucket", "t", "+Inf"): 4,
        ("celery_task_success_runtime_seconds_count", "t"): 4,
        ("celery_task_success_runtime_seconds_sum", "t"): 7.5,
        ("flower_scrape_missed_events_total", "t"): 1,
        ("flower_scrape_unwatched_seconds_total",): 12.5,
    }


def test_a_new_series_is_0_at_first_so_that_its_first_increase_shows(clock: list[float]) -> None:
    totals = Totals((0.1, 1.0), {"t": counted(NOW)})
    at_first = read(totals)
    clock[0] = NOW + HOLD
    later = read(totals)
    assert at_first.keys() == later.keys()
    assert set(at_first.values()) == {0}
    assert later["celery_tasks_total", "t", "SUCCESS"] == 4
    totals.types["t"].failures["KeyError"] = Failures(NOW + HOLD, 1)
    assert read(totals)["celery_task_failures_total", "t", "KeyError"] == 0
    clock[0] = NOW - 100.0  # our clock was set back
    assert read(totals)["celery_tasks_total", "t", "SUCCESS"] == 4


@pytest.mark.usefixtures("clock")
def test_the_first_types_keep_their_names() -> None:
    totals = Totals((0.1, 1.0), {name: counted(0.0) for name in "zyx"})
    samples = read(totals, limit=2)
    assert samples["celery_tasks_total", "z", "SUCCESS"] == 4
    assert samples["celery_tasks_total", "other", "SUCCESS"] == 8
    assert samples["celery_task_failures_total", "other", "ValueError"] == 4
    assert samples["celery_task_success_runtime_seconds_count", "other"] == 8
    assert {key[1] for key in samples if len(key) > 1} == {"z", "other"}


def test_without_its_state_it_is_left_out() -> None:
    with pytest.raises(TransportError):
        read(None)


def test_it_is_the_only_extra_that_needs_a_state() -> None:
    assert needing_state(EXTRAS) == ("totals",)
    assert {*stateless(EXTRAS)} == EXTRAS.keys() - {"totals"}
