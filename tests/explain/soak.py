"""Check that a healthy, busy system stays without a finding or an alert.

Example: ``python -m tests.explain.soak --minutes 10``.

On RabbitMQ and on Redis, two workers run tasks with priorities, ETAs, retries, custom states and chords, and an
embedded beat sends periodic ones. On RabbitMQ, another worker consumes a quorum queue, for which Celery delays tasks in
the broker (native delayed delivery). Every few seconds `explain` is asked and all extras are pushed. A Prometheus with
all rules scrapes the pushes.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery  # type: ignore[import-untyped]  # celery ships no types

from push_job.explain.diagnosis import diagnose
from push_job.settings import Endpoint, Settings
from testbed.command import ROOT, run_push_job
from testbed.services import Broker, Pushgateway, Redis, Testbed, VirtualHost, Worker
from testbed.troubles import troubles_app
from tests.explain.scenes import GATEWAY, Scene, open_scene

RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))

#: Seconds between two questions, and between two rounds of tasks.
ASK_EVERY, SEND_EVERY = 10.0, 1.0


#: Settings of Celery with a quorum queue. Native delayed delivery needs a topic exchange.
DELAYED: dict[str, Any] = {
    "task_default_queue": "delayed",
    "task_default_exchange": "delayed",
    "task_default_exchange_type": "topic",
    "task_default_routing_key": "delayed",
    "task_default_queue_type": "quorum",
    "worker_detect_quorum_queues": True,
}


def send_delayed(app: Celery, number: int) -> None:
    """Send the tasks of one second to the quorum queue.

    The broker delays those with a countdown.
    """
    app.send_task("t.quick")
    app.send_task("t.quick", countdown=5 + number % 60)
    if number % 5 == 0:
        app.send_task("t.flaky", (5,))
    if number % 15 == 0:
        app.send_task("t.quick", countdown=900)
        app.send_task("t.sleep", (3,), countdown=90)


def send_round(scene: Scene, number: int) -> None:
    """Send the tasks of one second."""
    for priority in range(0, 10, 3):
        scene.send("t.quick", priority=priority)
    scene.send("t.sleep", 0.2)
    scene.send("t.quick", countdown=5 + number % 60)
    if number % 5 == 0:
        scene.send("t.flaky")
        scene.send("t.progress", 3)
    if number % 15 == 0:
        scene.send("t.chord", f"body-{number}")
        scene.send("t.quick", countdown=900)
        scene.send("t.sleep", 20)


def soak(testbed: Testbed, broker: Redis | VirtualHost, pushgateway: Pushgateway, minutes: float) -> Counter[str]:
    """Keep one system busy; return the number of questions and of each finding.

    The findings are counted by kind.
    """
    scene = open_scene(testbed, broker, workers=("worker-1", "worker-2"), results=True)
    scene.others.append(_beat(testbed, broker))
    delayed = troubles_app(broker.url, **DELAYED) if scene.is_rabbitmq else None
    if delayed:
        scene.add_worker("delayed", queue="delayed", **DELAYED)
    ends, found = time.monotonic() + 60 * minutes, Counter[str]()
    ended = threading.Event()

    def send() -> None:
        number = 0
        while not ended.wait(SEND_EVERY):
            send_round(scene, number)
            if delayed:
                send_delayed(delayed, number)
            number += 1

    sender = threading.Thread(target=send)
    sender.start()
    try:
        while time.monotonic() < ends:
            time.sleep(ASK_EVERY)
            [diagnosis] = diagnose(Settings((Endpoint(scene.flower.url),), GATEWAY), lambda _flower, _count: None)
            found["questions"] += 1
            for finding in diagnosis.findings:
                found[finding.kind] += 1
                print(f"{type(broker).__name__}: {finding}")
            servers = ("--flower", scene.flower.url, "--pushgateway", pushgateway.url)
            found["failed pushes"] += run_push_job("push", *servers, "--with", "all").returncode != 0
        tasks = scene.flower.client.get_json(f"{scene.flower.url}/api/tasks")
        found["tasks"] = len(tasks)
        found["delayed"] = sum(task["exchange"] == "celery_delayed_27" for task in tasks.values())
    finally:
        ended.set()
        sender.join()
        scene.close()
        if delayed:
            delayed.close()
    return found


def _beat(testbed: Testbed, broker: Broker) -> Worker:
    """Start a worker with an embedded beat, which sends t.tick every five seconds."""
    conf = '{"beat_schedule": {"tick": {"task": "t.tick", "schedule": 5}}}'
    schedule = str(testbed.folder / f"schedule-{id(broker)}")
    # It consumes a queue of its own, because it has no result backend for chords.
    options = ["-B", "-s", schedule, "-Q", "unused", "--without-mingle", "--without-gossip"]
    return testbed.worker(broker, "beat", 1, options, "testbed.troubles", {"TROUBLES_CONF": conf})


def main() -> int:
    """Run both systems side by side; return the exit code.

    It is 1 after a finding, a failed push or an alert, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    with Testbed() as testbed, ThreadPoolExecutor() as threads:
        pushgateway = testbed.pushgateway()
        prometheus = testbed.prometheus(pushgateway, RULES, "5s")
        brokers: dict[str, Redis | VirtualHost] = {
            "RabbitMQ": testbed.rabbitmq().virtual_host("soak"),
            "Redis": testbed.redis(),
        }
        runs = {name: threads.submit(soak, testbed, broker, pushgateway, minutes) for name, broker in brokers.items()}
        results = {name: run.result() for name, run in runs.items()}
        alerts = prometheus.query('count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))')
    bad = 0
    for name, found in results.items():
        questions, tasks, delayed = (found.pop(counted) for counted in ("questions", "tasks", "delayed"))
        bad += sum(found.values())
        print(f"{name}: {tasks:,} tasks, {delayed:,} delayed by the broker, {questions} questions")
        print(f"{name}: findings and failed pushes: {dict(+found) or 'none'}")
    print(f"alerts: {[labels['alertname'] for labels, _ in alerts] or 'none'}")
    return 1 if bad or alerts else 0


if __name__ == "__main__":
    sys.exit(main())
