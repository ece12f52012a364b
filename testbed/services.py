"""Redis, RabbitMQ, Flower, Celery workers, Pushgateway and Prometheus: real ones, on free ports, gone afterwards.

    with Testbed() as bed:
        redis = bed.redis()
        flower = bed.flower(redis)
        worker = bed.worker(redis, name="shop-1")
        pushgateway = bed.pushgateway()
        prometheus = bed.prometheus(pushgateway)

Every service is ready when its method returns, and can be stopped, killed, paused and started again on its
port (testbed/process.py). At the end of the block, and when the owner dies within it, every process is ended
and the temporary folder removed (testbed/guard.py).
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from testbed import guard
from testbed.celery_parts import Broker, Flower, Redis, Worker, python_with_flower
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
    """A context manager; its methods start services that live until it ends.

    Attributes:
        folder: a temporary one: logs, configurations, data; the services' working directory.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self) -> None:
        """Nothing exists before the block is entered."""
        self.folder = Path()
        self._services: list[Service] = []
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Testbed":
        """Make the folder and set the guard."""
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
        """End every process, remove the folder."""
        if self._guard is None or self._guard.stdin is None:
            return
        for service in reversed(self._services):
            service.kill()
        self._guard.stdin.close()
        self._guard.wait()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a process that someone else starts and that must end with this test bed."""
        return {guard.MARK: str(self.folder)}

    def redis(self) -> Redis:
        """A Redis, empty."""
        return self._started(Redis(self.folder, self._name("redis")))

    def rabbitmq(self) -> RabbitMQ:
        """A RabbitMQ with its management plugin; each test takes a virtual host of its own."""
        return self._started(RabbitMQ(self.folder, self._name("rabbitmq")))

    def flower(
        self,
        redis: Broker,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        version: str | None = None,
        address: str = "127.0.0.1",
    ) -> Flower:
        """A Flower on this broker.

        Args:
            redis: the broker, a Redis or a virtual host of a RabbitMQ.
            options: Flower's own, each as one string: `--basic_auth=user:password`.
            env: further variables; the default is FLOWER_UNAUTHENTICATED_API=true, which opens the API.
            version: `1.2.0` or `2.0.1`, from an environment built on first use; None is the installed one.
            address: what it listens on; `url` says 127.0.0.1 for 0.0.0.0 too.
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
        """A worker of testbed/shop.py or of another `app`; `name` is its node name, or the part before the @.

        `clock` is by how many seconds its clock is fast.
        """
        worker = Worker(self.folder, self._name("worker"), redis, name, concurrency, list(options))
        worker.app, worker.env, worker.clock, worker.is_quiet = app, env or {}, clock, app != "testbed.shop"
        return self._started(worker)

    def pushgateway(self, options: Sequence[str] = (), client: Client | None = None) -> Pushgateway:
        """A Pushgateway, empty; give a `client` if the options make it ask for a user or a certificate."""
        name = self._name("pushgateway")
        return self._started(Pushgateway(self.folder, name, list(options), client or Client()))

    def prometheus(
        self,
        pushgateway: Target,
        rule_files: Sequence[Path] = (),
        scrape_interval: str = "1s",
        *,
        honor_labels: bool = True,
    ) -> Prometheus:
        """A Prometheus that scrapes this Pushgateway."""
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
