"""The rules, on facts that a real broker would provide only after a long time."""

import dataclasses
from typing import Any

import pytest

from push_job.explain.model import Answer, HeldTwice, Queue, Queues, Task, Worker
from push_job.explain.rules import findings_of
from tests.explain.made_up import ANSWER, CELERY, NOW, a_type, facts, found, only, task, worker

DAY = 86_400.0


def test_a_healthy_system_has_no_finding() -> None:
    assert found(facts()) == []


@pytest.mark.parametrize(
    ("failures", "successes", "first_ago", "expected"),
    [
        (80, 960, 1200, [("failing", "wrong", "shop.a")]),
        (3, 960, 60, [("failing", "wrong", "shop.a")]),
        (2, 960, 60, []),
    ],
)
def test_failures_since_the_last_success_are_counted_separately(
    failures: int, successes: int, first_ago: float, expected: list[Any]
) -> None:
    kind = a_type(
        counts={"SUCCESS": successes, "FAILURE": failures},
        last_success=NOW - first_ago - 5,
        last_failure=NOW - 5,
        first_failure=NOW - first_ago,
        failures_since_success=failures,
        recent={"FAILURE": failures, "SUCCESS": 200},
        exceptions={"KeyError": failures},
    )
    known = facts(types=kind)
    assert found(known) == expected
    if expected:
        assert f"{failures} failures since its last success" in only(known).fact
        assert "the first failed at" in only(known).fact


def test_three_failures_of_a_type_that_often_fails_are_not_a_deploy() -> None:
    kind = a_type(
        counts={"SUCCESS": 50, "FAILURE": 53},
        last_success=NOW - 9,
        last_failure=NOW - 5,
        first_failure=NOW - 7,
        failures_since_success=3,
        recent={"FAILURE": 53, "SUCCESS": 50},
        exceptions={"KeyError": 53},
    )
    assert "other tasks of the type succeed" in only(facts(types=kind)).likely


@pytest.mark.parametrize(("failures", "expected"), [(2, []), (3, [("full-scrapes", "note", "")])])
def test_incremental_scrapes_that_keep_failing_are_noted(failures: int, expected: list[Any]) -> None:
    assert found(facts(failed_incremental_scrapes=failures, incremental_scrape_error="its list has moved")) == expected


def test_old_failures_are_not_reported() -> None:
    kind = a_type(counts={"FAILURE": 9}, last_success=None, last_failure=NOW - DAY, failures_since_success=9)
    assert found(facts(types=kind)) == []


@pytest.mark.parametrize(
    ("interval", "success_ago", "expected"), [(10.0, 14, 0), (10.0, 24, 1), (DAY, DAY + 3600, 1), (None, DAY, 0)]
)
def test_one_failure_of_a_periodic_type_may_be_enough(
    interval: float | None, success_ago: float, expected: int
) -> None:
    kind = a_type(
        counts={"SUCCESS": 60, "FAILURE": 1},
        last_success=NOW - success_ago,
        last_failure=NOW - 4,
        failures_since_success=1,
        recent={"FAILURE": 1, "SUCCESS": 60},
        interval=interval,
        last_came=NOW - 4,
    )
    assert [kind for kind, _, _ in found(facts(types=kind)) if kind == "failing"] == ["failing"] * expected


def test_many_failures_of_many_types_are_one_finding() -> None:
    kinds = {
        name: a_type(name, recent={"FAILURE": 1, "SUCCESS": 3}, last_failure=NOW - 9)[name]
        for name in (f"shop.{number}" for number in range(20))
    }
    assert found(facts(types=kinds)) == [("failing", "wrong", "")]


@pytest.mark.parametrize(
    ("exception", "do"),
    [
        ("billiard.exceptions.WorkerLostError", "OOMKilled"),
        ("TimeLimitExceeded", "time_limit"),
        ("SoftTimeLimitExceeded", "soft_time_limit"),
        ("NotRegistered", "inspect registered"),
        ("ContentDisallowed", "accept_content"),
        ("kombu.exceptions.EncodeError", "result_serializer"),
        ("KeyError", "deploy"),
    ],
)
def test_exceptions_have_specific_advice(exception: str, do: str) -> None:
    kind = a_type(
        counts={"FAILURE": 4},
        last_success=None,
        last_failure=NOW - 5,
        first_failure=NOW - 9,
        failures_since_success=4,
        recent={"FAILURE": 4},
        exceptions={exception: 4},
    )
    assert do in only(facts(types=kind)).do


@pytest.mark.parametrize(
    ("longest", "age", "expected"),
    [
        (320.0, 400, []),  # two of five hundred runs took so long
        (320.0, 961, [("stuck", "wrong", "shop.a")]),
        (0.01, 299, []),
        (0.01, 301, [("stuck", "wrong", "shop.a")]),
        (3000.0, 3700, [("stuck", "unsure", "shop.a")]),
        (None, 3500, []),
        (None, 3700, [("stuck", "wrong", "shop.a")]),
    ],
)
def test_running_tasks_are_compared_with_the_longest_success(longest: float | None, age: float, expected: Any) -> None:
    running = task("STARTED", age)
    answer = dataclasses.replace(ANSWER, running=frozenset({running.id}), held=frozenset())
    workers = {"celery@a": worker(active=1, answer=answer)}
    assert found(facts(running, workers=workers, types=a_type(longest=longest))) == expected


def test_a_task_that_reports_progress_is_not_stuck() -> None:
    running = task("PROGRESS", 30, started=NOW - 9000)
    answer = dataclasses.replace(ANSWER, running=frozenset({running.id}), held=frozenset())
    known = facts(running, workers={"celery@a": worker(active=1, answer=answer)})
    assert known.running == (running,)
    assert found(known) == []
    silent = dataclasses.replace(running, since=NOW - 4000)
    assert found(facts(silent, workers={"celery@a": worker(active=1, answer=answer)})) == [("stuck", "wrong", "shop.a")]


def test_a_started_task_that_its_worker_does_not_run_is_not_stuck() -> None:
    lost, running = task("STARTED", 7200), task("STARTED", 60)
    types = a_type(last_success=NOW - 7000)
    by_ids = dataclasses.replace(ANSWER, running=frozenset({running.id}), held=frozenset())
    for answer, active in ((by_ids, 1), (ANSWER, 1), (Answer(), 1)):
        known = facts(lost, running, workers={"celery@a": worker(active=active, answer=answer)}, types=types)
        assert known.ended_unheard == (lost,)
        assert known.running == (running,)
    finding = only(facts(lost, workers={"celery@a": worker()}, types=types))
    assert (finding.kind, finding.level.value) == ("ended-unheard", "unsure")
    assert "terminate" not in finding.do + finding.likely


def test_a_worker_runs_at_most_as_many_tasks_as_it_has_threads() -> None:
    tasks = [task("STARTED", 100 + number) for number in range(40)]
    listed = dataclasses.replace(ANSWER, running=frozenset(one.id for one in tasks), held=frozenset())
    known = facts(*tasks, workers={"celery@a": worker(active=40, answer=listed)}, types=a_type(last_success=NOW - 900))
    assert len(known.running) == 2
    assert found(known) == [("results-lost", "wrong", "")]


def test_rate_limited_tasks_differ_from_tasks_without_an_end_event() -> None:
    held = task("RECEIVED", 400)
    types = a_type(last_success=NOW - 500)
    answer = dataclasses.replace(ANSWER, running=frozenset(), held=frozenset(), accepted={"shop.a": 1})
    workers = {"celery@a": worker(answer=answer)}
    key = ("celery@a", "shop.a")
    assert found(facts(held, workers=workers, types=types, received={key: 8})) == [("held-back", "wrong", "shop.a")]
    assert found(facts(held, workers=workers, types=types, received={key: 1})) == [("ended-unheard", "unsure", "")]


GONE = worker("celery@b", alive=False, last=240)


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ([worker(), GONE], [("worker-gone", "wrong", "celery@b")]),
        ([worker(), dataclasses.replace(GONE, heartbeats=())], []),
        ([worker(), worker("celery@b", alive=False, last=9000)], []),
        (
            [GONE, worker("celery@c", alive=False, last=238), worker("celery@d", alive=False, last=241)],
            [("no-workers", "wrong", "")],
        ),
        (
            [worker(), GONE, worker("celery@c", alive=False, last=238), worker("celery@d", alive=False, last=2000)],
            [("worker-gone", "wrong", "celery@b"), ("worker-gone", "wrong", "celery@d")],
        ),
        ([dataclasses.replace(GONE, pool="celery.concurrency.solo:TaskPool")], [("no-workers", "wrong", "celery@b")]),
        ([dataclasses.replace(GONE, heartbeats=())], [("no-workers", "wrong", "")]),
        ([], [("no-workers", "wrong", "")]),
    ],
)
def test_workers_without_heartbeats(workers: list[Worker], expected: Any) -> None:
    assert found(facts(workers={one.name: one for one in workers})) == expected


@pytest.mark.parametrize(
    ("pool", "consumers", "live", "expected"),
    [
        ("prefork", 1, False, ("broker-blocked", "wrong", "celery@b")),
        ("", 1, False, ("workers-silent", "wrong", "celery@b")),
        ("solo", 1, False, ("broker-blocked", "wrong", "celery@b")),
        ("prefork", 2, True, ("worker-hangs", "wrong", "celery@b")),
        ("prefork", 1, True, ("worker-gone", "wrong", "celery@b")),
        ("prefork", 0, False, ("no-workers", "wrong", "celery@b")),
    ],
)
def test_a_silent_worker_that_rabbitmq_still_counts_was_not_killed(
    pool: str, consumers: int, live: bool, expected: tuple[str, str, str]
) -> None:
    workers = [dataclasses.replace(GONE, pool=pool), *([worker()] if live else [])]
    queues = Queues((Queue("celery", 3, 0, consumers),))
    known = facts(workers={one.name: one for one in workers}, queues=queues, types=a_type(last_success=NOW - 1))
    assert found(known)[0] == expected


def test_without_workers_and_queues_the_broker_is_suspected() -> None:
    known = facts(workers={"celery@b": GONE}, queues=Queues(None, "HTTP 500", refused=True))
    assert found(known)[0] == ("broker-away", "wrong", "celery@b")
    without_api = facts(workers={"celery@b": GONE}, queues=Queues(None, "empty", empty=True))
    assert found(without_api)[0] == ("no-workers", "wrong", "celery@b")


def test_a_queue_has_no_consumer_only_if_all_workers_replied() -> None:
    silent = worker("celery@busy", answer=Answer())
    queues = Queues((Queue("night", 3),))
    known = facts(workers={"celery@a": worker(), silent.name: silent}, queues=queues)
    assert found(known) == [("not-answered", "unsure", "celery@busy")]
    assert found(facts(queues=queues)) == [("no-consumer", "wrong", "night")]
    by_rabbitmq = Queues((Queue("night", 3, 0, 0),))
    assert found(facts(workers={silent.name: silent}, queues=by_rabbitmq))[0] == ("no-consumer", "wrong", "night")


def test_a_queue_with_messages_comes_before_a_worker_that_held_nothing() -> None:
    known = facts(workers={"celery@a": worker(), "celery@b": GONE}, queues=Queues((Queue("night", 3),)))
    assert [kind for kind, _, _ in found(known)] == ["no-consumer", "worker-gone"]


def test_full_workers_replace_findings_on_waiting_tasks() -> None:
    full = {"celery@a": worker(active=2)}
    waits = task("PENDING", 400)
    queues = Queues((Queue("celery", 7),))
    assert found(facts(waits, workers=full, queues=queues)) == [("workers-full", "wrong", "")]
    assert found(facts(workers=full, queues=queues)) == []
    assert found(facts(task("PENDING", 70), workers=full, queues=queues)) == [("workers-full", "unsure", "")]
    unknown = found(facts(workers=full, queues=queues, has_sent_events=False))
    assert [kind for kind, _, _ in unknown] == ["workers-full", "sending-unknown"]
    assert found(facts(workers=full)) == []


def test_idle_workers_are_reported_after_a_minute() -> None:
    queues = Queues((Queue("celery", 7),))
    assert found(facts(queues=queues)) == []
    assert found(facts(queues=queues, types=a_type(last_success=NOW - 90))) == [("workers-idle", "unsure", "")]


def test_a_lost_message_is_not_reported_as_a_long_queue() -> None:
    assert found(facts(task("PENDING", 90))) == [("message-lost", "wrong", "shop.a")]
    assert found(facts(task("PENDING", 30))) == []
    held = Queues((Queue("celery", 0, 1, 1),))
    assert found(facts(task("PENDING", 90), queues=held)) == []


@pytest.mark.parametrize(
    ("counts", "events", "success", "expected"),
    [
        ({"STARTED": 1}, {"task-rejected": 203}, None, 1),
        ({"REJECTED": 200}, {"task-rejected": 203}, None, 0),
        ({"RETRY": 1}, {"task-retried": 50}, None, 1),
        ({"RETRY": 1}, {"task-retried": 50}, NOW - 60, 0),
        ({"RETRY": 40}, {"task-retried": 50}, None, 0),
    ],
)
def test_endless_rejections_and_retries(
    counts: dict[str, int], events: dict[str, int], success: float | None, expected: int
) -> None:
    kind = a_type(counts=counts, last_success=success)
    known = facts(types=kind, events={("shop.a", event): count for event, count in events.items()})
    assert found(known) == [("repeats", "wrong", "shop.a")] * expected


def test_a_task_that_workers_hold_more_than_once_is_reported_with_the_cause() -> None:
    twice = (HeldTwice("id", "shop.a", ("celery@a", "celery@b"), 2),)
    of_redis = only(facts(held_twice=twice))
    assert (of_redis.kind, of_redis.subject) == ("redelivered", "shop.a")
    assert "visibility_timeout" in of_redis.do
    assert str(of_redis.link).endswith("/task/id")
    of_rabbitmq = only(facts(held_twice=twice, queues=Queues((Queue("celery", 0, 0, 1),))))
    assert "visibility_timeout" not in of_rabbitmq.do


@pytest.mark.parametrize(
    ("held", "eta", "unacknowledged", "expected"),
    [
        (1300, 7200, False, 1),
        (1300, 1500, False, 0),
        (600, 7200, False, 0),
        (1300, None, True, 1),
        (1300, None, False, 0),
    ],
)
def test_consumer_timeout_is_reported_in_advance(
    held: float, eta: float | None, unacknowledged: bool, expected: int
) -> None:
    state = "STARTED" if eta is None else "RECEIVED"
    late = task(state, held, eta=None if eta is None else NOW - held + eta, since=NOW if eta else NOW - held)
    ids = frozenset({late.id})
    answer = dataclasses.replace(
        ANSWER,
        running=ids if eta is None else frozenset(),
        held=ids,
        unacknowledged=ids if unacknowledged else frozenset(),
    )
    workers = {"celery@a": worker(active=1 if eta is None else 0, answer=answer)}
    types = a_type(longest=3000.0)
    rabbitmq = Queues((Queue("celery", 0, 1, 1),))
    known = facts(late, workers=workers, queues=rabbitmq, types=types)
    assert found(known) == [("consumer-timeout", "wrong", "celery@a")] * expected
    assert found(facts(late, workers=workers, types=types)) == []


def test_a_worker_that_stopped_by_consumer_timeout_is_recognized() -> None:
    stopped = dataclasses.replace(GONE, heartbeats=())
    late = task("RECEIVED", 2000, worker="celery@b")
    for queues, kind in ((Queues((Queue("celery", 0, 1, 1),)), "consumer-timeout"), (Queues(()), "worker-stopped")):
        known = facts(late, workers={"celery@a": worker(), "celery@b": stopped}, queues=queues)
        assert [one.kind for one in findings_of(known)] == [kind]


@pytest.mark.parametrize(("clock", "uptime", "expected"), [(100_004, DAY, 1), (100_400, DAY, 0), (100_400, 30.0, 1)])
def test_a_slow_clock_is_found_by_the_logical_clock(clock: int, uptime: float, expected: int) -> None:
    running = task("STARTED", 607, clock=100_000)
    answer = dataclasses.replace(ANSWER, running=frozenset({running.id}), held=frozenset(), uptime=uptime)
    known = facts(
        running, workers={"celery@a": worker(active=1, answer=answer, clock=clock)}, types=a_type(longest=300.0)
    )
    assert found(known) == [("clock-skew", "wrong", "celery@a")] * expected
    assert known.running == ((running,) if not expected else ())


@pytest.mark.parametrize("changes", [{"sent": NOW - 607}, {"clock": 100_900}])
def test_events_of_senders_do_not_make_a_workers_clock_slow(changes: dict[str, Any]) -> None:
    held = dataclasses.replace(task("RECEIVED", 607, clock=100_000), **changes)
    answer = dataclasses.replace(ANSWER, held=frozenset({held.id}), running=frozenset(), uptime=DAY)
    assert facts(held, workers={"celery@a": worker(answer=answer, clock=100_004)}).skews == {}


@pytest.mark.parametrize(("uptime", "is_found"), [(30.0, True), (DAY, False), (None, False)])
def test_a_slow_clock_is_found_although_the_newest_event_is_the_senders(uptime: float | None, is_found: bool) -> None:
    running = task("STARTED", 3600, clock=3)
    running = dataclasses.replace(running, sent=NOW, stamp=NOW)
    answer = dataclasses.replace(ANSWER, running=frozenset({running.id}), held=frozenset(), uptime=uptime)
    known = facts(running, workers={"celery@a": worker(active=1, answer=answer, clock=9)})
    assert bool(known.skews) is is_found


def test_a_solo_pool_does_not_tick_during_a_task() -> None:
    held = task("RECEIVED", 607, clock=100_000)
    answer = Answer(queues=(CELERY,), processes=1.0, held=frozenset({held.id}), running=frozenset())
    known = facts(held, workers={"celery@a": worker(active=1, answer=answer, clock=100_001, pool=SOLO)})
    assert known.skews == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"has_sent_events": False}, "sending-unknown"),
        ({"queues": Queues(None, "HTTP 404")}, "queues-unknown"),
        ({"queues": Queues(None, "empty", empty=True)}, "queues-unknown"),
        ({"unanswered": {"which workers went away": "HTTP 403"}}, "not-answered"),
        ({"task_count": 0, "types": {}, "has_sent_events": None}, "no-task-events"),
        (
            {"task_count": 0, "types": {}, "has_sent_events": None, "workers": {"celery@a": worker(processed=0)}},
            "no-tasks",
        ),
    ],
)
def test_missing_information_is_a_finding(changes: dict[str, Any], expected: str) -> None:
    finding = only(facts(**changes))
    assert (finding.kind, finding.level.value) == (expected, "unsure")
    assert finding.unknown


@pytest.mark.parametrize(("interval", "level"), [(60.0, "wrong"), (59.9, "wrong"), (30.0, "unsure")])
def test_a_periodic_type_without_recent_success_is_overdue(interval: float, level: str) -> None:
    kind = a_type(interval=interval, last_success=NOW - 400, last_came=NOW - 400)
    assert found(facts(types=kind)) == [("overdue", level, "shop.a")]
    assert "beat" in only(facts(types=kind)).likely
    one_lost = a_type(interval=interval, last_success=NOW - 400, last_came=NOW - 400 + interval)
    assert "beat" in only(facts(types=one_lost)).likely
    still = a_type(interval=interval, last_success=NOW - 400, last_came=NOW - 20)
    assert "beat" not in only(facts(types=still)).likely
    assert found(facts(types=a_type(interval=interval, last_success=NOW - 2 * interval))) == []


def test_overdue_is_not_reported_if_another_finding_explains_it() -> None:
    kind = a_type(interval=60.0, last_success=NOW - 4000, last_came=NOW - 3700)
    running = task("STARTED", 3700)
    answer = dataclasses.replace(ANSWER, running=frozenset({running.id}), held=frozenset())
    known = facts(running, workers={"celery@a": worker(active=1, answer=answer)}, types=kind)
    assert found(known) == [("stuck", "wrong", "shop.a")]


@pytest.mark.parametrize(
    ("online", "offline", "flower_age", "expected"),
    [
        (2, 0, DAY, "worker-restarted"),
        (1, 0, DAY, "worker-restarted"),
        (2, 1, DAY, "ended-unheard"),
        (1, 0, 60.0, "ended-unheard"),  # the task began before Flower did: it may have missed an orderly stop
        (0, 0, DAY, "ended-unheard"),
    ],
)
def test_tasks_of_a_previous_process_of_a_worker(online: int, offline: int, flower_age: float, expected: str) -> None:
    lost = task("STARTED", 7200)
    answer = dataclasses.replace(ANSWER, running=frozenset(), held=frozenset(), uptime=300.0)
    again = worker(answer=answer, events={"worker-online": online, "worker-offline": offline})
    known = facts(lost, workers={"celery@a": again}, started_at=NOW - flower_age, types=a_type(last_success=NOW - 9))
    assert only(known).kind == expected


@pytest.mark.parametrize(
    ("name", "ago", "expected"),
    [
        ("shop.a", 100, "results-lost"),  # it has succeeded before
        ("shop.ignores", 100, "ended-unheard"),  # only this type never ends
        ("shop.a", 7200, "ended-unheard"),  # long ago
    ],
)
def test_a_result_backend_that_is_down_differs_from_ignore(name: str, ago: float, expected: str) -> None:
    lost = [task("STARTED", ago + number, name) for number in range(4)]
    known = facts(*lost, types={**a_type(last_success=NOW - 9000), **a_type(name, counts={"STARTED": 4})})
    if name == "shop.a":
        known = facts(*lost, types=a_type(last_success=NOW - 9000, counts={"STARTED": 4, "SUCCESS": 9}))
    assert only(known).kind == expected


SOLO = "celery.concurrency.solo:TaskPool"
SENT_TO_B = task("PENDING", 241, sent=NOW - 241)


@pytest.mark.parametrize(
    ("pending", "ready", "pool", "expected"),
    [
        ((SENT_TO_B,), 0, "", ("worker-busy", "unsure")),
        ((), 0, "", ("worker-gone", "wrong")),
        ((SENT_TO_B,), 1, "", ("worker-gone", "wrong")),  # it is still in the queue
        (
            (dataclasses.replace(SENT_TO_B, sent=NOW - 200),),
            0,
            "",
            ("worker-gone", "wrong"),
        ),  # sent after the worker left
        ((dataclasses.replace(SENT_TO_B, sent=NOW - 9000),), 0, "", ("worker-gone", "wrong")),
        ((dataclasses.replace(SENT_TO_B, sent=NOW - 9000),), 0, SOLO, ("worker-busy", "unsure")),  # after a long wait
        ((), 0, SOLO, ("worker-gone", "wrong")),  # there is no task that it could run
    ],
)
def test_a_silent_worker_that_fetched_a_task_has_a_solo_pool(
    pending: tuple[Task, ...], ready: int, pool: str, expected: tuple[str, str]
) -> None:
    live = worker(pool=pool)
    known = facts(*pending, workers={live.name: live, GONE.name: GONE}, queues=Queues((Queue("celery", ready),)))
    [finding] = [one for one in findings_of(known) if one.subject == GONE.name]
    assert (finding.kind, finding.level.value) == expected
    assert not [one for one in findings_of(known) if one.kind == "message-lost" and finding.kind == "worker-busy"]


def test_a_silent_solo_worker_may_be_busy_if_its_tasks_cannot_be_seen() -> None:
    silent = dataclasses.replace(GONE, pool=SOLO)
    known = facts(workers={silent.name: silent}, has_sent_events=False)
    finding = findings_of(known)[0]
    assert (finding.kind, finding.level.value) == ("worker-busy", "unsure")
    assert finding.unknown
    closed = dataclasses.replace(known, queues=Queues((Queue("celery", 0, 0, 0),)))
    assert findings_of(closed)[0].kind == "no-workers"


def test_a_closed_connection_excludes_a_worker_that_hangs() -> None:
    for consumers, may_hang in ((None, True), (1, False)):
        queues = Queues((Queue("celery", 0, 0, consumers),))
        finding = only(facts(workers={"celery@a": worker(), GONE.name: GONE}, queues=queues))
        assert finding.kind == "worker-gone"
        assert ("hangs" in finding.likely) is may_hang


def test_silent_workers_and_no_management_api_suggest_a_broker_failure() -> None:
    lost = {one.name: one for one in (GONE, worker("celery@c", alive=False, last=240))}
    finding = findings_of(facts(workers=lost, queues=Queues(None, "empty", empty=True)))[0]
    assert finding.kind == "no-workers"
    assert "rabbitmq-diagnostics ping" in finding.do


@pytest.mark.parametrize(
    ("count", "ago", "last_success", "expected"),
    [(3, 60, NOW - 500, 1), (2, 60, NOW - 500, 0), (3, 60, NOW - 5, 0), (3, 7200, NOW - 9000, 0), (3, 60, None, 1)],
)
def test_a_type_whose_tasks_all_expire_is_reported(
    count: int, ago: float, last_success: float | None, expected: int
) -> None:
    revoked = tuple(
        dataclasses.replace(task("REVOKED", ago + n, stamp=NOW - ago - n), has_expired=True) for n in range(count)
    )
    known = facts(revoked=revoked, types=a_type(last_success=last_success))
    assert found(known) == [("expired", "wrong", "shop.a")] * expected
    by_hand = tuple(dataclasses.replace(one, has_expired=False) for one in revoked)
    assert found(facts(revoked=by_hand, types=a_type(last_success=last_success))) == []


MUTE = worker("celery@b", events={"worker-heartbeat": 9, "worker-online": 1})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"processed": 0}, False),
        ({"events": {"worker-heartbeat": 9, "worker-online": 1, "task-started": 1}}, False),
        ({"events": {"worker-heartbeat": 9}}, False),  # it may have processed them before Flower started
    ],
)
def test_a_worker_without_task_events_is_named(changes: dict[str, Any], expected: bool) -> None:
    mute = dataclasses.replace(MUTE, **changes)
    pending = task("PENDING", 400, sent=NOW - 400)
    known = facts(pending, workers={"celery@a": worker(), mute.name: mute}, started_at=NOW - 500, earliest=NOW - 400)
    kinds = {one.kind for one in findings_of(known)}
    assert ("no-task-events" in kinds) is expected
    assert ("message-lost" in kinds) is not expected


def test_a_restart_of_flower_is_not_a_lack_of_task_events() -> None:
    young: dict[str, Any] = {"started_at": NOW - 20, "earliest": None}
    nothing: dict[str, Any] = {"task_count": 0, "types": {}, "has_sent_events": None}
    assert found(facts(**young, **nothing)) == [("flower-young", "unsure", "")]
    waits = task("PENDING", 15, sent=NOW - 15)
    known = facts(
        waits,
        task_count=1,
        types=a_type(counts={"PENDING": 1}, last_success=None),
        started_at=NOW - 20,
        earliest=NOW - 15,
        queues=Queues((Queue("celery", 1),)),
    )
    assert "no-task-events" not in {one.kind for one in findings_of(known)}


def test_types_without_sent_events_are_named() -> None:
    types = {**a_type(), **a_type("shop.b", is_sending_seen=False)}
    finding = only(facts(types=types))
    assert (finding.kind, finding.level.value) == ("sending-unknown", "unsure")
    assert "shop.b" in finding.fact
    assert "shop.a" not in finding.fact


def test_consumer_timeout_of_the_only_worker_is_the_first_finding() -> None:
    late = task("RECEIVED", 2000, worker="celery@b")
    stopped = dataclasses.replace(GONE, heartbeats=())
    known = facts(late, workers={"celery@b": stopped}, queues=Queues((Queue("celery", 0, 0, 0),)))
    assert found(known) == [("consumer-timeout", "wrong", "celery@b")]


@pytest.mark.parametrize(
    ("lost_by", "do"),
    [
        ("signal 9 (SIGKILL)", "OOMKilled"),
        ("exitcode 1", "exception"),
        ("signal 11 (SIGSEGV)", "FAULTHANDLER"),
        ("", "OOM"),
    ],
)
def test_the_end_of_a_pool_process_decides_the_advice(lost_by: str, do: str) -> None:
    kind = a_type(
        counts={"FAILURE": 3},
        last_success=None,
        last_failure=NOW - 5,
        failures_since_success=3,
        recent={"FAILURE": 3},
        exceptions={"billiard.exceptions.WorkerLostError": 3},
    )
    failed = {"shop.a": dataclasses.replace(task("FAILURE", 5), lost_by=lost_by)}
    assert do in only(facts(types=kind, failed=failed)).do


def test_messages_that_idle_workers_do_not_fetch_are_not_called_a_long_queue() -> None:
    known = facts(task("PENDING", 400, sent=NOW - 400), queues=Queues((Queue("celery", 7),)))
    finding = findings_of(known)[0]
    assert finding.kind == "waiting"
    assert "restart" in finding.do
