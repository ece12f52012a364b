"""Test bed of real services on free ports.

    with Testbed() as bed:
        redis = bed.redis()
        flower = bed.flower(redis)
        worker = bed.worker(redis, name="shop-1")
        pushgateway = bed.pushgateway()
        prometheus = bed.prometheus(pushgateway)

A service is ready when its method returns. It can be stopped, killed, paused and restarted on its port
(testbed/process.py). At the end of the block, or if the owner dies, all processes are ended and the temporary folder is
removed (testbed/guard.py).
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from testbed import guard
from testbed.celery_services import Broker, Flower, Redis, Worker, python_with_flower
from testbed.other_servers import Nginx, VictoriaMetrics, VictoriaMetricsAgent
from testbed.process import Service, ServiceError
from testbed.prometheus import Prometheus, Pushgateway, Target
from testbed.rabbitmq import RabbitMQ, VirtualHost
from testbed.web import Client

__all__ = [
    "Broker",
    "Client",
    "Flower",
    "Prometheus",
    "Pushgateway",
    "RabbitMQ",
    "Redis",
    "Service",
    "ServiceError",
    "Testbed",
    "VirtualHost",
    "Worker",
]

AnyService = TypeVar("AnyService", bound=Service)


class Testbed:
    """Context manager whose methods start services that run until its end.

    Attributes:
        folder: temporary folder for logs, configurations and data; the services' working directory.
    """

    __test__ = False  # not a test class for pytest

    def __init__(self) -> None:
        """Create a test bed; nothing is started before the block is entered."""
        self.folder = Path()
        self._services: list[Service] = []
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Testbed":
        """Create the folder and start the guard."""
        self.folder = Path(tempfile.mkdtemp(prefix="testbed-"))
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes and remove the folder."""
        if self._guard is None or self._guard.stdin is None:
            return
        for service in reversed(self._services):
            service.kill()
        self._guard.stdin.close()
        self._guard.wait()

    @property
    def environment(self) -> dict[str, str]:
        """Return variables for other processes that must end with this test bed."""
        return {guard.MARK: str(self.folder)}

    def redis(self) -> Redis:
        """Start an empty Redis."""
        return self._started(Redis(self.folder, self._name("redis")))

    def rabbitmq(self) -> RabbitMQ:
        """Start a RabbitMQ with its management plugin.

        Each test takes a virtual host of its own.
        """
        return self._started(RabbitMQ(self.folder, self._name("rabbitmq")))

    def flower(
        self,
        redis: Broker,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        version: str | None = None,
        address: str = "127.0.0.1",
    ) -> Flower:
        """Start a Flower on this broker.

        Args:
            redis: broker, a Redis or a virtual host of a RabbitMQ.
            options: options of Flower, each as one string: `--basic_auth=user:password`.
            env: more variables; the default is FLOWER_UNAUTHENTICATED_API=true, which opens the API.
            version: `1.2.0` or `2.0.1`, in an environment that is built on first use; None for the installed one.
            address: address to listen on; `url` contains 127.0.0.1 for 0.0.0.0 too.
        """
        variables = {"FLOWER_UNAUTHENTICATED_API": "true"} if env is None else dict(env)
        python = python_with_flower(version)
        name = self._name("flower")
        return self._started(Flower(self.folder, name, redis, python, list(options), variables, address))

    def worker(
        self,
        redis: Broker,
        name: str = "shop-1",
        concurrency: int = 2,
        options: Sequence[str] = (),
        app: str = "testbed.shop",
        env: Mapping[str, str] | None = None,
        clock: float = 0.0,
    ) -> Worker:
        """Start a worker of testbed/shop.py or of another application.

        Args:
            redis: broker.
            name: node name, or its part before the @.
            concurrency: number of pool processes.
            options: more options.
            app: module with the application.
            env: more variables.
            clock: seconds by which its clock is fast.
        """
        worker = Worker(self.folder, self._name("worker"), redis, name, concurrency, list(options))
        worker.app, worker.env, worker.clock, worker.is_quiet = app, env or {}, clock, app != "testbed.shop"
        return self._started(worker)

    def pushgateway(self, options: Sequence[str] = (), client: Client | None = None) -> Pushgateway:
        """Start an empty Pushgateway; `client` has its user or certificate."""
        name = self._name("pushgateway")
        return self._started(Pushgateway(self.folder, name, list(options), client or Client()))

    def nginx(self, server: str) -> Nginx:
        """Start an nginx with these directives in its `server` block."""
        return self._started(Nginx(self.folder, self._name("nginx"), server))

    def victoriametrics(self) -> VictoriaMetrics:
        """Start an empty VictoriaMetrics."""
        return self._started(VictoriaMetrics(self.folder, self._name("victoriametrics")))

    def vmagent(self, victoriametrics: VictoriaMetrics) -> VictoriaMetricsAgent:
        """Start a vmagent that sends to this VictoriaMetrics."""
        return self._started(VictoriaMetricsAgent(self.folder, self._name("vmagent"), victoriametrics))

    def prometheus(
        self,
        pushgateway: Target,
        rule_files: Sequence[Path] = (),
        scrape_interval: str = "1s",
        *,
        honor_labels: bool = True,
    ) -> Prometheus:
        """Start a Prometheus that scrapes this Pushgateway."""
        name, rules = self._name("prometheus"), list(rule_files)
        return self._started(
            Prometheus(self.folder, name, pushgateway, rules, scrape_interval, honor_labels=honor_labels)
        )

    def _name(self, kind: str) -> str:
        return f"{kind}-{sum(service.name.startswith(kind) for service in self._services) + 1}"

    def _started(self, service: AnyService) -> AnyService:
        self._services.append(service)
        service.start()
        return service
