"""The extra `by-queue` counts tasks by routing key.

It also counts those that no live worker consumes.
"""

from typing import Any

import pytest

from push_job.flower.task import STATES, TaskFields
from push_job.metrics.extras import by_queue
from push_job.metrics.extras.known_workers import ASK_AGAIN_AFTER
from tests.flower.tasks import event
from tests.metrics.extras.contexts import NOW, Samples, samples_of

TASKS, ORPHANED = "celery_tasks_by_queue", "celery_queue_orphaned_tasks"


def sent(routing_key: Any, state: str = "PENDING", exchange: Any = "") -> TaskFields:
    """Return a task with a task-sent event."""
    return event("t", state, routing_key=routing_key, exchange=exchange)


def reply(*queues: str, age: float = 100.0) -> dict[str, Any]:
    """Return a worker's reply that is `age` seconds old."""
    described = [{"name": name, "routing_key": name, "exchange": {"name": name, "type": "direct"}} for name in queues]
    return {"active_queues": described, "timestamp": NOW - age}


def read(
    tasks: list[TaskFields],
    kept: dict[str, Any],
    *,
    now: dict[str, Any] | None = None,
    alive: tuple[str, ...] = ("celery@a",),
    queues: list[dict[str, Any]] | None = None,
) -> Samples:
    """Read the extra.

    Args:
        tasks: the tasks.
        kept: the replies that Flower keeps.
        now: the replies if Flower asks again; by default, it must not ask.
        alive: the live workers.
        queues: the queues of the broker; by default, Flower does not know them.
    """

    def workers(params: dict[str, Any]) -> dict[str, Any]:
        if "status" in params:
            return dict.fromkeys(alive, True)
        if "refresh" in params:
            assert now is not None, "the workers were asked"
            return now
        return kept

    answers: dict[str, Any] = {"/api/workers": workers}
    if queues is not None:
        answers["/api/queues/length"] = {"active_queues": queues}
    return samples_of(by_queue.EXTRA, {str(number): task for number, task in enumerate(tasks)}, answers)


def orphaned(found: Samples) -> dict[str, float]:
    """Return the orphaned tasks of each queue."""
    return {key[1]: value for key, value in found.items() if key[0] == ORPHANED}


def test_tasks_count_by_routing_key_and_state() -> None:
    found = read([sent("mail", "SUCCESS"), sent("mail", "SUCCESS"), sent("pay", "STARTED"), event("t")], {})
    counts = {(key[1], key[2]): value for key, value in found.items() if key[0] == TASKS}
    zeros = {(queue, state): 0.0 for queue in ("mail", "pay", "unknown") for state in STATES}
    assert counts == {**zeros, ("mail", "SUCCESS"): 2.0, ("pay", "STARTED"): 1.0, ("unknown", "SUCCESS"): 1.0}
    # Without PENDING tasks, nobody is asked.
    assert orphaned(found) == {"mail": 0.0, "pay": 0.0}


def test_the_rarest_queues_and_custom_states_are_summed() -> None:
    tasks = [sent(f"q{number}", f"STATE-{number}") for number in range(150)] + [sent("q1", "STATE-1")]
    found = {key: value for key, value in read(tasks, {}).items() if key[0] == TASKS}
    assert len({queue for _, queue, _ in found}) == by_queue.MOST_QUEUES
    assert len({state for *_, state in found} - set(STATES)) == by_queue.MOST_CUSTOM_STATES
    assert found[TASKS, "q1", "STATE-1"] == 2.0
    assert sum(found.values()) == 151.0


def test_a_pending_task_is_orphaned_if_no_live_worker_consumes_its_queue() -> None:
    tasks = [sent("mail"), sent("mial"), sent("mial"), sent("old"), event("t", "PENDING")]
    kept = {"celery@a": reply("mail", age=10.0), "celery@gone": reply("old")}
    assert orphaned(read(tasks, kept)) == {"mail": 0.0, "mial": 2.0, "old": 1.0}


@pytest.mark.parametrize(
    ("kept", "alive"),
    [
        ({"celery@a": reply("mail", age=10.0)}, ("celery@a", "celery@mute")),
        ({"celery@a": {"timestamp": NOW - 10.0}}, ("celery@a",)),
        ({}, ()),
    ],
)
def test_orphans_are_unknown_unless_every_live_worker_reported_its_queues(
    kept: dict[str, Any], alive: tuple[str, ...]
) -> None:
    found = read([sent("mial")], kept, now=kept, alive=alive)
    assert orphaned(found) == {}
    assert found[TASKS, "mial", "PENDING"] == 1.0


def test_orphans_are_unknown_if_flower_does_not_answer() -> None:
    found = samples_of(by_queue.EXTRA, {"a": sent("mial")}, {})
    assert orphaned(found) == {}
    assert found[TASKS, "mial", "PENDING"] == 1.0


def test_workers_are_asked_again_before_a_task_counts_as_orphaned() -> None:
    old = {"celery@a": reply("mail", age=ASK_AGAIN_AFTER)}
    assert orphaned(read([sent("new")], old, now={"celery@a": reply("mail", "new", age=0.0)})) == {"new": 0.0}
    assert orphaned(read([sent("new")], old, now={"celery@a": reply("mail", age=0.0)})) == {"new": 1.0}


@pytest.mark.parametrize(
    ("queue", "count"),
    [
        ({"name": "old", "messages": 3}, 1.0),
        ({"name": "old", "messages": 0}, 0.0),
        ({"name": "old", "messages_ready": 3, "consumers": 0}, 1.0),
        # RabbitMQ counts the consumer of a worker without heartbeats.
        ({"name": "old", "messages_ready": 3, "consumers": 1}, 0.0),
    ],
)
def test_a_queue_that_is_empty_or_has_another_consumer_holds_no_orphan(queue: dict[str, Any], count: float) -> None:
    kept = {"celery@a": reply("mail", age=10.0)}
    assert orphaned(read([sent("old")], kept, queues=[queue])) == {"old": count}
