"""Problems that tests cause on real brokers; docs/trouble.md lists them.

Each is a function that causes the problem in a scene and asserts what `explain` finds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest import mock

from push_job.explain import clock_skew, facts
from push_job.explain.findings import Level
from push_job.explain.rules import capacity, consumer_timeout, lost_messages, repeats
from testbed.events import TaskEvents
from testbed.process import wait_for
from testbed.services import Redis, Testbed, VirtualHost
from tests.explain.scenes import Scene, open_scene, start_worker

REDIS, RABBITMQ = "Redis", "RabbitMQ"

FOUR = tuple(f"worker-{number}" for number in range(1, 5))

#: Settings with a result backend on which nothing listens.
NO_BACKEND = {
    "result_backend": "redis://127.0.0.1:9/0",
    "result_backend_transport_options": {"retry_policy": {"timeout": 0.2, "max_retries": 0}},
    "redis_socket_connect_timeout": 0.2,
}


@dataclass(frozen=True)
class Trouble:
    """A problem that a test causes.

    Attributes:
        text: description for the docs.
        kind: the expected kind of finding; empty if none is expected.
        make: causes the problem and checks the findings.
        brokers: the brokers on which the test runs.
        scene: arguments of `open_scene`.
    """

    text: str
    kind: str
    make: Callable[[Scene], None]
    brokers: tuple[str, ...]
    scene: dict[str, Any] = field(default_factory=dict)


TROUBLES: list[Trouble] = []


def trouble(
    text: str, kind: str, *brokers: str, **scene: Any
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Register a function as a problem, on both brokers unless `brokers` are given."""

    def register(make: Callable[[Scene], None]) -> Callable[[Scene], None]:
        TROUBLES.append(Trouble(text, kind, make, brokers or (RABBITMQ, REDIS), scene))
        return make

    return register


def check(trouble: Trouble, testbed: Testbed, broker: Redis | VirtualHost) -> None:
    """Cause a problem on `broker` and check that it is found."""
    scene = open_scene(testbed, broker, **trouble.scene)
    try:
        # Shorter limits make the test faster: these workers send a heartbeat each second.
        with (
            mock.patch.object(facts, "HEARTBEAT_LAG", 3),
            mock.patch.object(clock_skew, "HEARTBEAT_LAG", 3),
            mock.patch.object(repeats, "LOOP_EVENTS", 3),
        ):
            trouble.make(scene)
    finally:
        scene.close()


@trouble("a type that has succeeded many times fails since a deploy", "failing", REDIS)
def failing_since_a_deploy(scene: Scene) -> None:
    scene.run("t.maybe", 100, True)
    deployed = time.time()
    scene.run("t.maybe", 4, False, state="FAILURE")
    [finding] = scene.until("failing")
    assert finding.subject == "t.maybe"
    assert "4 failures since its last success" in finding.fact
    assert datetime.fromtimestamp(deployed, timezone.utc).strftime("%H:") in finding.fact
    scene.run("t.maybe", 1, True)
    assert scene.explain().wrong == 0


@trouble("the kernel kills the process that runs a task (out of memory)", "failing")
def killed_process(scene: Scene) -> None:
    scene.run("t.kill", 3, state="FAILURE")
    [finding] = scene.until("failing")
    assert "all with billiard.exceptions.WorkerLostError" in finding.fact
    assert "OOM" in finding.likely


@trouble("a task ends its process with `sys.exit`", "failing", REDIS)
def exiting_process(scene: Scene) -> None:
    scene.run("t.fail", 3, "exit", state="FAILURE")
    [finding] = scene.until("failing")
    assert "sys.exit" in finding.likely
    assert "OOM" not in finding.do


@trouble("a task exceeds its hard time limit", "failing", REDIS)
def time_limit(scene: Scene) -> None:
    scene.run("t.limit", 3, state="FAILURE")
    [finding] = scene.until("failing")
    assert "TimeLimitExceeded" in finding.fact
    assert "time_limit" in finding.do


@trouble("a task is sent with a name that no worker has registered", "failing")
def not_registered(scene: Scene) -> None:
    scene.run("t.nobody_knows", 3, state="FAILURE")
    [finding] = scene.until("failing")
    assert "NotRegistered" in finding.fact
    assert "inspect registered" in finding.do


@trouble("a task kills its process, and the broker delivers it again each time (`reject_on_worker_lost`)", "repeats")
def killed_again_and_again(scene: Scene) -> None:
    scene.send("t.kill_again")
    [finding] = scene.until("repeats", timeout=40)
    assert finding.subject == "t.kill_again"
    assert "reject_on_worker_lost" in finding.likely


#: Redis delivers an unacknowledged message again after a second.
FORGETFUL = {
    "broker_transport_options": {
        "visibility_timeout": 1,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
}


@trouble(
    "Redis delivers a task with an ETA again and again, because its ETA is later than `visibility_timeout`",
    "redelivered",
    REDIS,
    workers=("worker-1", "worker-2"),
    conf=FORGETFUL,
)
def redelivered_eta(scene: Scene) -> None:
    sent = scene.send("t.quick", countdown=600)
    scene.wait("RECEIVED", sent)
    [finding] = scene.until("redelivered", timeout=40)
    assert finding.subject == "t.quick"
    assert str(finding.link).endswith(sent)
    assert "visibility_timeout" in finding.do


@trouble(
    "the same with a task that runs longer than `visibility_timeout` with `acks_late`",
    "redelivered",
    REDIS,
    conf=FORGETFUL,
)
def redelivered_late(scene: Scene) -> None:
    sent = scene.send("t.sleep_late", 30)
    scene.wait("STARTED", sent)
    [finding] = scene.until("redelivered", timeout=40)
    assert finding.subject == "t.sleep_late"
    assert "visibility_timeout" in finding.do


@trouble("a task is retried without limit", "repeats", REDIS)
def retried_for_ever(scene: Scene) -> None:
    scene.send("t.retry")
    [finding] = scene.until("repeats", timeout=40)
    assert "max_retries" in finding.do


@trouble("a task raises `Ignore`, so Celery sends no event of its end", "ended-unheard")
def ignored(scene: Scene) -> None:
    scene.run("t.ignore", 2, state="STARTED")
    scene.run("t.quick", 1)
    [finding] = scene.until("ended-unheard")
    assert "t.ignore" in finding.fact
    assert "terminate" not in finding.do


@trouble("the result backend is down, so Celery sends no events when tasks end", "results-lost", conf=NO_BACKEND)
def result_backend_down(scene: Scene) -> None:
    scene.run("t.quick", 5, state="STARTED")
    [finding] = scene.until("results-lost", timeout=30)
    assert "result backend" in finding.likely
    assert "terminate" not in finding.do


@trouble(
    "the same with `--pool threads`, where the worker still counts such tasks as active",
    "results-lost",
    REDIS,
    pool="threads",
    conf=NO_BACKEND,
)
def result_backend_down_with_threads(scene: Scene) -> None:
    scene.run("t.quick", 6, state="STARTED")
    scene.until("results-lost", timeout=30)


@trouble("a `rate_limit` holds tasks back", "held-back")
def rate_limit(scene: Scene) -> None:
    for _ in range(20):
        scene.send("t.rated")
    with mock.patch.object(capacity, "HELD_AFTER", 5):
        [finding] = scene.until("held-back", timeout=60)
    assert finding.subject == "t.rated"
    assert "rate_limit" in finding.likely


@trouble(
    "RabbitMQ's memory alarm blocks all publishers, and so the heartbeats",
    "broker-blocked",
    RABBITMQ,
    workers=("worker-1", "worker-2"),
)
def memory_alarm(scene: Scene) -> None:
    _alarm(scene, "memory")


@trouble("the same with RabbitMQ's disk alarm", "broker-blocked", RABBITMQ, workers=("worker-1", "worker-2"))
def disk_alarm(scene: Scene) -> None:
    _alarm(scene, "disk")


def _alarm(scene: Scene, kind: str) -> None:
    scene.run("t.quick", 1)
    scene.virtual_host.wait_for_queue("celery")
    scene.know_pools()
    with scene.virtual_host.server.alarm(kind):
        [finding] = scene.until("broker-blocked", timeout=30)
    assert "alarm" in finding.likely
    assert "do not restart" in finding.do


@trouble(
    "RabbitMQ's AMQP port is closed while its management API answers",
    "no-workers",
    RABBITMQ,
    workers=("worker-1", "worker-2"),
)
def amqp_away(scene: Scene) -> None:
    scene.run("t.quick", 1)
    scene.virtual_host.wait_for_queue("celery")
    wait_for_heartbeats(scene)
    with scene.virtual_host.server.without_clients():
        [finding] = scene.until("no-workers", timeout=30)
    assert "port" in finding.likely
    assert "rabbitmq-diagnostics listeners" in finding.do


@trouble(
    "RabbitMQ's consumer_timeout ends the only worker, which held a task with an ETA", "consumer-timeout", RABBITMQ
)
def channel_closed(scene: Scene) -> None:
    with scene.virtual_host.server.consumer_timeout(2000), mock.patch.object(consumer_timeout, "CONSUMER_TIMEOUT", 2):
        held = scene.add_worker("worker-2", queue="later")
        scene.worker.stop()
        scene.wait("RECEIVED", scene.send("t.quick", queue="later", countdown=600))
        scene.flower.wait_for_worker(held.node, alive=False)
        [finding] = scene.until("consumer-timeout", timeout=30)
    assert finding.subject == held.node
    assert "PRECONDITION_FAILED" in held.log_text()
    assert "PRECONDITION_FAILED" in finding.do


@trouble("Redis is full (`maxmemory`, `noeviction`)", "broker-refuses", REDIS)
def redis_full(scene: Scene) -> None:
    scene.run("t.quick", 1)
    scene.broker.configure("maxmemory", "1")  # type: ignore[union-attr]
    [finding] = scene.until("broker-refuses", timeout=30)
    assert "maxmemory" in finding.likely


@trouble("Flower runs without `--broker-api`", "queues-unknown", RABBITMQ, flower_options=[])
def no_management_api(scene: Scene) -> None:
    scene.run("t.quick", 1)
    [finding] = scene.until("queues-unknown")
    assert finding.level is Level.UNSURE
    assert "--broker-api" in finding.unknown


@trouble("a task is sent to a queue with a misspelled name", "no-consumer")
def mistyped_queue(scene: Scene) -> None:
    scene.run("t.quick", 1)
    sent = scene.send("t.quick", queue="clery")
    scene.wait("PENDING", sent)
    [finding] = scene.until("no-consumer")
    assert finding.subject == "clery"
    assert str(finding.link).endswith(sent)
    assert scene.orphaned() == {"celery": 0, "clery": 1}


@trouble(
    "the same, without task-sent events (Celery's default)",
    "sending-unknown",
    REDIS,
    sends={"task_send_sent_event": False},
)
def mistyped_queue_unseen(scene: Scene) -> None:
    scene.run("t.quick", 1)
    scene.send("t.quick", queue="clery")
    [finding] = scene.until("sending-unknown")
    assert "task_send_sent_event" in finding.unknown
    assert scene.orphaned() == {}


@trouble("only some senders send task-sent events", "sending-unknown", REDIS)
def partly_sent_events(scene: Scene) -> None:
    scene.run("t.quick", 2)
    scene.app.conf.task_send_sent_event = False
    scene.run("t.tick", 2)
    with mock.patch.object(facts, "YOUNG_SECONDS", 0):
        [finding] = scene.until("sending-unknown")
    assert "t.tick" in finding.fact
    assert "t.quick" not in finding.fact


@trouble("a routing key is misspelled, and a queue is bound to a topic exchange", "no-consumer", RABBITMQ)
def mistyped_key_beside_a_topic(scene: Scene) -> None:
    scene.app.control.add_consumer(
        "topical", exchange="shop", exchange_type="topic", routing_key="shop.#", destination=[scene.worker.node]
    )
    workers = f"{scene.flower.url}/api/workers?refresh=1"
    wait_for("the worker to consume it", lambda: "topical" in str(scene.flower.client.get_json(workers)), 30)
    good = scene.send("t.quick", exchange="shop", routing_key="shop.orders.new")
    scene.wait("SUCCESS", good)
    bad = scene.send("t.quick", exchange="shop", routing_key="shpo.orders.new")
    scene.wait("PENDING", bad)
    [finding] = scene.until("no-consumer", timeout=60)
    assert finding.subject == "shpo.orders.new"
    assert scene.orphaned() == {"shop.orders.new": 0, "shpo.orders.new": 1}


@trouble("`cancel_consumer` removes a queue from its only worker", "no-consumer")
def cancelled_consumer(scene: Scene) -> None:
    scene.run("t.quick", 1)
    scene.app.control.cancel_consumer("celery", destination=[scene.worker.node], reply=True)
    sent = scene.send("t.quick")
    scene.wait("PENDING", sent)
    [finding] = scene.until("no-consumer", timeout=60)
    assert finding.subject == "celery"
    assert scene.orphaned() == {"celery": 1}


@trouble("a worker rejects the serializer of a message", "message-lost", conf={"accept_content": ["json"]})
def wrong_serializer(scene: Scene) -> None:
    scene.run("t.quick", 1)
    scene.wait("PENDING", scene.send("t.quick", serializer="pickle"))
    # A minute is too long to wait, so the task-sent event of another task is backdated.
    with backdated(scene, "shop.moved", 200):
        [finding] = scene.until("message-lost")
    assert "accept_content" in finding.likely


@contextlib.contextmanager
def backdated(scene: Scene, task_id: str, seconds: float) -> Any:
    """Report a task that was sent `seconds` ago to the workers' queue.

    No message of it exists.
    """
    with TaskEvents(scene.broker.url) as events:
        events.send(
            "task-sent",
            uuid=task_id,
            name="t.quick",
            exchange="",
            routing_key="celery",
            queue="celery",
            hostname="sender@web",
            timestamp=time.time() - seconds,
        )
    scene.wait("PENDING", task_id)
    yield


@trouble("three workers are killed at the same time", "no-workers", workers=("worker-1", "worker-2", "worker-3"))
def killed_workers(scene: Scene) -> None:
    held = scene.send("t.sleep", 300)
    scene.wait("STARTED", held)
    wait_for_heartbeats(scene)
    for worker in scene.workers:
        worker.kill()
    findings = scene.until("no-workers", timeout=30)
    [finding] = findings
    assert "None of 3 workers is alive" in finding.fact
    assert "1 STARTED" in finding.fact
    assert str(finding.link).endswith(held)


@trouble("three of four workers hang", "worker-hangs", RABBITMQ, workers=FOUR)
def hanging_workers(scene: Scene) -> None:
    _hang(scene, "worker-hangs")


@trouble("three of four workers hang", "worker-gone", REDIS, workers=FOUR)
def hanging_workers_on_redis(scene: Scene) -> None:
    _hang(scene, "worker-gone")


def _hang(scene: Scene, kind: str) -> None:
    scene.run("t.quick", 1)
    wait_for_heartbeats(scene)
    for worker in scene.workers[1:]:
        worker.pause()
    for worker in scene.workers[1:]:
        scene.flower.wait_for_worker(worker.node, alive=False)
    [finding] = scene.until(kind, timeout=30)
    assert all(worker.node in finding.fact for worker in scene.workers[1:])
    assert scene.worker.node not in finding.fact
    assert "hangs" in finding.likely


@trouble("one of two workers is killed", "worker-gone", workers=("worker-1", "worker-2"))
def killed_worker(scene: Scene) -> None:
    wait_for_heartbeats(scene)
    scene.worker.kill()
    [finding] = scene.until("worker-gone", timeout=30)
    assert finding.subject == scene.worker.node


@trouble("the only worker is killed and restarted under the same name", "worker-restarted")
def killed_and_restarted_worker(scene: Scene) -> None:
    scene.wait("STARTED", scene.send("t.sleep", 300))
    wait_for_heartbeats(scene)
    scene.worker.kill()
    scene.worker.start()
    scene.flower.wait_for_worker(scene.worker.node)
    [finding] = scene.until("worker-restarted", timeout=30)
    assert "t.sleep" in finding.fact


@trouble("a worker runs with `--without-heartbeat` and is idle", "no-heartbeats", REDIS)
def no_heartbeats(scene: Scene) -> None:
    # Flower shows a worker as offline two minutes after its last event.
    for event in ("received", "started", "succeeded"):
        scene.events("celery@quiet", "quiet", "t.quick", **{event: 200})
    scene.flower.wait_for_worker("celery@quiet", alive=False)
    [finding] = scene.until("no-heartbeats", timeout=30)
    assert "--without-heartbeat" in finding.likely


@trouble("one of two workers shuts down cleanly", "", workers=("worker-1", "worker-2"))
def stopped_worker(scene: Scene) -> None:
    scene.run("t.quick", 4)
    scene.worker.stop()
    scene.flower.wait_for_worker(scene.worker.node, alive=False)
    assert scene.explain().findings == []


@trouble("the only worker has `--pool solo` and runs a long task", "worker-busy", pool="solo")
def solo_in_a_long_task(scene: Scene) -> None:
    scene.run("t.quick", 1)
    scene.wait("PENDING", scene.send("t.sleep", 60))
    [finding] = scene.until("worker-busy", timeout=30)
    assert "solo" in finding.likely
    assert finding.level is Level.UNSURE


@trouble(
    "one of two workers with `--pool solo` runs a long task",
    "worker-busy",
    workers=("worker-1", "worker-2"),
    pool="solo",
)
def one_solo_in_a_long_task(scene: Scene) -> None:
    scene.run("t.quick", 4)
    wait_for_heartbeats(scene)
    scene.wait("PENDING", scene.send("t.sleep", 60))
    with mock.patch.object(lost_messages, "REPORTED_WITHIN", 5):
        [finding] = scene.until("worker-busy", timeout=30)
        time.sleep(2)
        scene.until("worker-busy")
    assert finding.level is Level.UNSURE


@trouble(
    "one of two idle workers with `--pool solo` is killed", "worker-gone", workers=("worker-1", "worker-2"), pool="solo"
)
def killed_solo(scene: Scene) -> None:
    scene.run("t.quick", 4)
    wait_for_heartbeats(scene)
    scene.worker.kill()
    [finding] = scene.until("worker-gone", timeout=30)
    assert finding.subject == scene.worker.node


@trouble("all tasks of a type expire before a worker starts them", "expired")
def expired_tasks(scene: Scene) -> None:
    scene.run("t.quick", 2)
    scene.wait("REVOKED", *[scene.send("t.quick", expires=-5) for _ in range(4)])
    [finding] = scene.until("expired")
    assert finding.subject == "t.quick"


@trouble("Redis is down", "broker-away", REDIS)
def redis_away(scene: Scene) -> None:
    wait_for_heartbeats(scene)
    scene.broker.kill()  # type: ignore[union-attr]
    [finding] = scene.until("broker-away", timeout=30)
    assert "broker" in finding.likely


@trouble(
    "workers send no task events",
    "no-task-events",
    REDIS,
    flower_options=["--enable_events=False"],
    conf={"worker_send_task_events": False},
)
def no_task_events(scene: Scene) -> None:
    scene.wait("PENDING", *[scene.send("t.quick") for _ in range(3)])
    scene.until("no-task-events", timeout=30)


@trouble("one of two workers sends no task events", "no-task-events")
def one_worker_without_task_events(scene: Scene) -> None:
    mute = start_worker(scene.testbed, scene.broker, "mute", conf={"worker_send_task_events": False})
    scene.workers.append(mute)
    scene.flower.wait_for_worker(mute.node)
    scene.app.control.disable_events(destination=[mute.node])  # Flower enables them
    for _ in range(20):
        scene.send("t.quick")
    with mock.patch.object(lost_messages, "REPORTED_WITHIN", 1):
        [finding] = scene.until("no-task-events", timeout=30)
        time.sleep(2)
        scene.until("no-task-events")
    assert mute.node in finding.fact


@trouble("all processes are busy and a task has waited for five minutes", "workers-full")
def full_workers(scene: Scene) -> None:
    scene.wait("STARTED", *[scene.send("t.sleep", 60) for _ in range(2)])
    for _ in range(12):  # more than a worker prefetches
        scene.send("t.sleep", 60)
    scene.events("sender@web", "waits", "t.sleep", sent=400)
    [finding] = scene.until("workers-full", timeout=30)
    assert "All 2 processes of 1 live worker are busy with t.sleep" in finding.fact


@trouble("a worker's clock is an hour slow", "clock-skew", REDIS, clock=-3600)
def slow_clock(scene: Scene) -> None:
    scene.wait("STARTED", scene.send("t.sleep", 60), scene.send("t.sleep", 60))
    wait_for_heartbeats(scene)
    [finding] = scene.until("clock-skew", timeout=30)
    assert "slow" in finding.fact
    kinds = {found.kind for found in scene.explain().findings}
    assert not kinds & {"stuck", "workers-full", "waiting"}


@trouble("a worker's clock is ten minutes fast", "clock-skew", REDIS, clock=600)
def fast_clock(scene: Scene) -> None:
    scene.run("t.quick", 3)
    [finding] = scene.until("clock-skew", timeout=30)
    assert "fast" in finding.fact


@trouble("two workers run under the same node name", "shared-node-name", REDIS)
def shared_node_name(scene: Scene) -> None:
    second = start_worker(scene.testbed, scene.broker, "worker-1")
    scene.workers.append(second)
    [finding] = scene.until("shared-node-name", timeout=30)
    assert finding.subject == second.node


@trouble(
    "a task with a far ETA is held for 20 minutes, which approaches RabbitMQ's `consumer_timeout`",
    "consumer-timeout",
    RABBITMQ,
)
def eta_held_for_long(scene: Scene) -> None:

    eta = (datetime.now(timezone.utc) + timedelta(hours=2)).isoformat()
    with TaskEvents(scene.broker.url) as events:
        fields = {"name": "t.quick", "eta": eta, "timestamp": time.time() - 1300}
        events.send("task-received", uuid="far-eta", hostname=scene.worker.node, **fields)
    scene.wait("RECEIVED", "far-eta")
    [finding] = scene.until("consumer-timeout", timeout=30)
    assert "consumer_timeout" in finding.do


@trouble(
    "none: a busy system with retries, priorities, ETAs, delayed delivery, custom states, a chord and a periodic task",
    "",
    results=True,
)
def busy_and_well(scene: Scene) -> None:
    for number in range(40):
        scene.send("t.quick", priority=number % 10)
        scene.send("t.sleep", 0.05)
    scene.send("t.progress", 20)
    scene.send("t.quick", countdown=120)
    delayed = f"{'0.' * 20}{'1.' * 8}celery"
    with TaskEvents(scene.broker.url) as events:
        eta = (datetime.now(timezone.utc) + timedelta(seconds=255)).isoformat()
        fields = {"name": "t.quick", "eta": eta, "routing_key": delayed, "exchange": "celery_delayed_27"}
        events.send("task-sent", uuid="delayed", hostname="sender@web", **fields)
    scene.wait("PENDING", "delayed")
    scene.send("t.chord", "chord-body")
    scene.wait("SUCCESS", "chord-body", scene.send("t.flaky"))
    for _ in range(6):
        scene.run("t.tick", 1)
    for _ in range(3):
        assert scene.explain().findings == []


def wait_for_heartbeats(scene: Scene, more: int = 3) -> None:
    """Wait until Flower has received `more` new heartbeats of each worker.

    Task events do not count.
    """

    def beats() -> dict[str, int]:
        rows = scene.flower.client.get_json(f"{scene.flower.url}/workers?json=1")["data"]
        return {row["hostname"]: row.get("worker-heartbeat", 0) for row in rows}

    before = beats()
    wait_for(
        "heartbeats of each worker",
        lambda: all(beats().get(one.node, 0) >= before.get(one.node, 0) + more for one in scene.workers),
        30,
    )
