"""Scenes for `explain`: a broker, a Flower and workers.

A test causes a problem in a scene and calls `explain` in this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from celery import Celery  # type: ignore[import-untyped]  # celery ships no types
from prometheus_client.parser import text_string_to_metric_families

from push_job.explain.diagnosis import Diagnosis, diagnose
from push_job.explain.findings import Finding, Level
from push_job.explain.report import as_text
from push_job.settings import Endpoint, Settings
from testbed.command import run_push_job
from testbed.events import TaskEvents
from testbed.process import wait_for
from testbed.services import Broker, Flower, Redis, Service, Testbed, VirtualHost, Worker
from testbed.troubles import troubles_app

GATEWAY = Endpoint("http://127.0.0.1:9")


@dataclass
class Scene:
    """The services of one test.

    `app` sends tasks. `close` ends all services except the broker.
    """

    testbed: Testbed
    broker: Redis | VirtualHost
    flower: Flower
    workers: list[Worker]
    app: Celery
    others: list[Service] = field(default_factory=list)

    @property
    def worker(self) -> Worker:
        """The first worker."""
        return self.workers[0]

    @property
    def is_rabbitmq(self) -> bool:
        """Whether the broker is a RabbitMQ."""
        return isinstance(self.broker, VirtualHost)

    @property
    def virtual_host(self) -> VirtualHost:
        """The broker of a scene on RabbitMQ."""
        assert isinstance(self.broker, VirtualHost)
        return self.broker

    def know_pools(self) -> None:
        """Wait until Flower knows the pools.

        Flower asks the workers at its own start, possibly before they have started.
        """
        url = f"{self.flower.url}/api/workers?refresh=1"
        wait_for(
            "Flower to know the pools",
            lambda: {worker.node for worker in self.workers} <= set(self.flower.client.get_json(url)),
            20,
        )

    def send(self, name: str, *args: Any, **options: Any) -> str:
        """Send a task and return its id."""
        return str(self.app.send_task(name, args, **options).id)

    def wait(self, state: str, *tasks: str) -> None:
        """Return once Flower shows these tasks in this state."""
        for task in tasks:
            self.flower.wait_for_task(task, state, 30)

    def run(self, name: str, count: int, *args: Any, state: str = "SUCCESS") -> None:
        """Send `count` tasks and return once Flower shows them in this state."""
        self.wait(state, *[self.send(name, *args) for _ in range(count)])

    def events(self, worker: str, task_id: str, name: str, **ago: float) -> None:
        """Send events of a task, each with its age in seconds.

        `received=5` is a task-received event with a time stamp 5 seconds ago.
        """
        now = time.time()
        with TaskEvents(self.broker.url) as events:
            for event, seconds in ago.items():
                fields: dict[str, Any] = {"name": name} if event in ("received", "sent") else {}
                if event == "succeeded":
                    fields = {"runtime": 0.1, "result": "1"}
                events.send(f"task-{event}", uuid=task_id, timestamp=now - seconds, hostname=worker, **fields)

    def add_worker(
        self, name: str, *, pool: str = "prefork", concurrency: int = 2, queue: str = "celery", **conf: Any
    ) -> Worker:
        """Start another worker and return once Flower sees it."""
        worker = start_worker(self.testbed, self.broker, name, pool, concurrency, queue, conf)
        self.workers.append(worker)
        self.flower.wait_for_worker(worker.node)
        return worker

    def explain(self) -> Diagnosis:
        """Return the diagnosis and assert that its text fits on a screen."""
        [diagnosis] = diagnose(Settings((Endpoint(self.flower.url),), GATEWAY), lambda _flower, _count: None)
        text = as_text([diagnosis], in_unicode=True)
        print(text)
        assert len(text.splitlines()) <= 23
        return diagnosis

    def until(self, *kinds: str, timeout: float = 20) -> list[Finding]:
        """Return the findings of these kinds, once they are the only ones of level WRONG.

        Raises:
            ServiceError: they are not within `timeout` seconds.
        """
        found: list[Finding] = []

        def are_found() -> bool:
            found[:] = self.explain().findings
            wrong = {finding.kind for finding in found if finding.level is Level.WRONG}
            return set(kinds) <= {finding.kind for finding in found} and wrong <= set(kinds)

        wait_for(f"the findings {kinds}", are_found, timeout, every=0.5)
        return [finding for finding in found if finding.kind in kinds]

    def orphaned(self) -> dict[str, float]:
        """Return the orphaned tasks of each queue, as the extra `by-queue` pushes them."""
        shown = run_push_job("show", "--flower", self.flower.url, "--with", "by-queue", "--format", "prometheus")
        return {
            sample.labels["queue"]: sample.value
            for family in text_string_to_metric_families(shown.stdout)
            for sample in family.samples
            if sample.name == "celery_queue_orphaned_tasks"
        }

    def close(self) -> None:
        """End all services except the broker."""
        self.app.close()
        for service in (self.flower, *self.workers, *self.others):
            service.kill()


def start_worker(
    testbed: Testbed,
    broker: Broker,
    name: str,
    pool: str = "prefork",
    concurrency: int = 2,
    queue: str = "celery",
    conf: dict[str, Any] | None = None,
    clock: float = 0.0,
) -> Worker:
    """Start a worker of testbed/troubles.py; `conf` has further settings of Celery."""
    options = ["--pool", pool, "-Q", queue, "--without-mingle", "--without-gossip", "--heartbeat-interval", "1"]
    env = {"TROUBLES_CONF": json.dumps(conf or {})}
    return testbed.worker(broker, name, concurrency, options, "testbed.troubles", env, clock)


def open_scene(
    testbed: Testbed,
    broker: Redis | VirtualHost,
    *,
    workers: Iterable[str] = ("worker-1",),
    flower_options: list[str] | None = None,
    pool: str = "prefork",
    conf: dict[str, Any] | None = None,
    sends: dict[str, Any] | None = None,
    clock: float = 0.0,
    results: bool = False,
) -> Scene:
    """Start a Flower and workers at the same time.

    `sends` has settings of the app that sends; `results` is whether the workers have a result backend.
    """
    if results:
        backend = {"result_backend": (broker if isinstance(broker, Redis) else testbed.redis()).url}
        conf = {**(conf or {}), **backend}
    options = broker.flower_options if isinstance(broker, VirtualHost) and flower_options is None else flower_options
    names = list(workers)
    with ThreadPoolExecutor() as threads:
        flower = threads.submit(testbed.flower, broker, options or ())
        started = [
            threads.submit(start_worker, testbed, broker, name, pool, 2, "celery", conf, clock) for name in names
        ]
        scene = Scene(
            testbed,
            broker,
            flower.result(),
            [one.result() for one in started],
            troubles_app(broker.url, **(sends or {})),
        )
    for worker in scene.workers:
        scene.flower.wait_for_worker(worker.node)
    return scene
