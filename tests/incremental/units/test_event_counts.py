"""Flower's event counters: parsing and comparing two readings."""

from collections import Counter

import pytest

from push_job.flower.incremental.event_counts import EventCounts, EventKind, Sender, parse_event_counts

TYPE = "# TYPE flower_events_total counter"


def line(count: float, event: str = "task-received", worker: str = "celery@a", task: str = "t") -> str:
    return f'flower_events_total{{task="{task}",type="{event}",worker="{worker}"}} {count}'


def parsed(*lines: str) -> EventCounts:
    counts = parse_event_counts([TYPE, *lines])
    assert counts is not None
    return counts


def test_counters_are_summed_by_sender_and_by_kind() -> None:
    counts = parsed(
        *(line(3.0), line(2.0, "task-succeeded"), line(4.0, worker="celery@b"), line(5.0, "task-sent", "client")),
        *(line(99.0, "worker-heartbeat"), "process_start_time_seconds 12.5", "process_cpu_seconds_total 3.25"),
    )
    assert counts.by_sender == {Sender("celery@a", False): 5, Sender("celery@b", False): 4, Sender("client", True): 5}
    assert counts.by_kind == {EventKind("received", "t"): 7, EventKind("succeeded", "t"): 2, EventKind("sent", "t"): 5}
    assert (counts.started, counts.cpu, counts.digest) == (12.5, 3.25, "")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["flower_workers 1"],
        [line(1)],
        [TYPE, "flower_events_total{broken 1"],
        [TYPE, 'flower_events_total{type="task-sent"} NaN'],
        [TYPE, 'flower_events_total{type="task-sent"} +Inf'],
        [TYPE, "process_start_time_seconds soon"],
    ],
)
def test_metrics_without_valid_counters_are_none(lines: list[str]) -> None:
    assert parse_event_counts(lines) is None


def test_the_first_event_is_the_earliest_start_of_a_counter() -> None:
    created = 'flower_events_created{task="",type="worker-heartbeat",worker="celery@%s"} %s'
    assert parsed(line(1), created % ("a", "1.7e9"), created % ("b", "1.6e9")).first_event == 1.6e9
    assert parsed(line(1)).first_event == 0.0


def test_the_digest_has_counters_and_start_times_only() -> None:
    created = 'flower_events_created{task="t",type="task-received",worker="celery@a"} 1.0'
    one = parsed(line(1), created, "process_cpu_seconds_total 1")
    same = parsed(line(1), created, "process_cpu_seconds_total 2")
    assert one.digest
    assert same.is_unchanged_since(one)
    assert not parsed(line(2), created).is_unchanged_since(one)
    assert not parsed(line(1), created.replace("1.0", "2.0")).is_unchanged_since(one)
    without = parsed(line(1))
    assert not without.is_unchanged_since(without)


def counts_of(received: int = 1, started: float = 5.0, cpu: float = 1.0) -> EventCounts:
    return EventCounts(started, cpu, Counter(), Counter({EventKind("received", "t"): received}))


@pytest.mark.parametrize(
    ("later", "follows"),
    [
        (counts_of(cpu=2.0), True),
        (counts_of(received=9, cpu=2.0), True),
        (counts_of(received=0, cpu=2.0), False),
        (counts_of(cpu=1.0), False),
        (counts_of(cpu=0.5), False),
        (counts_of(started=6.0, cpu=2.0), False),
        (counts_of(started=0.0, cpu=2.0), False),
    ],
)
def test_later_counters_are_of_the_same_process(later: EventCounts, follows: bool) -> None:
    assert later.follows(counts_of()) is follows


def test_counters_without_a_start_time_follow_nothing() -> None:
    assert not counts_of(started=0.0, cpu=2.0).follows(counts_of(started=0.0))


def test_differences_leave_out_what_did_not_change() -> None:
    earlier, later = (
        parsed(line(3), line(1, "task-sent", "c")),
        parsed(line(5), line(1, "task-sent", "c"), line(2, worker="w")),
    )
    assert later.senders_since(earlier) == {Sender("celery@a", False): 2, Sender("w", False): 2}
    assert later.kinds_since(earlier) == {EventKind("received", "t"): 4}
