"""A healthy, busy system stays without a finding or an alert: ``python -m tests.explain.soak --minutes 10``.

On RabbitMQ and on Redis, two workers run tasks with priorities, ETAs, retries, custom states and chords, and an
embedded beat sends periodic ones. Every few seconds `explain` is asked and all extras are pushed. A Prometheus with
all rules scrapes the pushes.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from push_job.explain.diagnosis import diagnose
from push_job.settings import Endpoint, Settings
from testbed.command import ROOT, run_push_job
from testbed.services import Broker, Pushgateway, Redis, Testbed, VirtualHost, Worker
from tests.explain.scenes import GATEWAY, Scene, open_scene

RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))

#: Seconds between two questions, and between two rounds of tasks.
ASK_EVERY, SEND_EVERY = 10.0, 1.0


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
    """Keep one system busy; return the number of questions and of each kind of finding."""
    scene = open_scene(testbed, broker, workers=("worker-1", "worker-2"), results=True)
    scene.others.append(_beat(testbed, broker))
    ends, found = time.monotonic() + 60 * minutes, Counter[str]()
    ended = threading.Event()

    def send() -> None:
        number = 0
        while not ended.wait(SEND_EVERY):
            send_round(scene, number)
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
        found["tasks"] = diagnosis.facts.task_count if diagnosis.facts else 0
    finally:
        ended.set()
        sender.join()
        scene.close()
    return found


def _beat(testbed: Testbed, broker: Broker) -> Worker:
    """Start a worker with an embedded beat, which sends t.tick every five seconds."""
    conf = '{"beat_schedule": {"tick": {"task": "t.tick", "schedule": 5}}}'
    schedule = str(testbed.folder / f"schedule-{id(broker)}")
    # It consumes a queue of its own, because it has no result backend for chords.
    options = ["-B", "-s", schedule, "-Q", "unused", "--without-mingle", "--without-gossip"]
    return testbed.worker(broker, "beat", 1, options, "testbed.troubles", {"TROUBLES_CONF": conf})


def main() -> int:
    """Run both systems side by side; return 1 if there was a finding, a failed push or an alert."""
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
        questions, tasks = found.pop("questions"), found.pop("tasks")
        bad += sum(found.values())
        print(f"{name}: {tasks:,} tasks, {questions} questions, findings and failed pushes: {dict(+found) or 'none'}")
    print(f"alerts: {[labels['alertname'] for labels, _ in alerts] or 'none'}")
    return 1 if bad or alerts else 0


if __name__ == "__main__":
    sys.exit(main())
