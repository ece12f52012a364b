"""Redis, Flower and Celery workers of a test bed."""

import fcntl
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from testbed.process import Service, ServiceError, find_program, wait_for
from testbed.web import Client

ROOT = Path(__file__).resolve().parent.parent
BROKER_VARIABLE = "SHOP_BROKER_URL"


class Broker(Protocol):
    """A broker for Celery and Flower."""

    @property
    def url(self) -> str:
        """The broker URL."""

    def subscriber_ports(self) -> set[int]:
        """The client ports of the connections that receive events."""


class Redis(Service):
    """A Redis server without persistence."""

    @property
    def url(self) -> str:
        """Return the broker URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """See Service."""
        return [
            find_program("redis-server", "redis-server"),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"),
            # A changed process title would overwrite the environment, which contains the guard's variable.
            *("--set-proc-title", "no"),
            # Do not disconnect a Flower that is paused or busy, because it would miss events.
            *("--client-output-buffer-limit", "pubsub", "0", "0", "0"),
        ]

    def is_ready(self) -> bool:
        """See Service."""
        try:
            with self._connect() as connection:
                return bool(connection.ping())
        except redis.RedisError:
            return False

    def configure(self, setting: str, value: str) -> None:
        """Change a setting while it runs."""
        with self._connect() as connection:
            connection.config_set(setting, value)

    def subscriber_ports(self) -> set[int]:
        """Return the client ports of all connections with a subscription."""
        try:
            with self._connect() as connection:
                clients: Any = connection.client_list()
        except redis.RedisError:
            return set()
        return {
            int(client["addr"].rpartition(":")[2]) for client in clients if int(client["sub"]) + int(client["psub"]) > 0
        }

    def _connect(self) -> redis.Redis:
        # No retries by redis-py, because the callers retry.
        return redis.Redis(port=self.port, socket_timeout=2, retry=Retry(NoBackoff(), 0))


class Flower(Service):
    """A Flower server, which is ready when it receives Celery's events.

    Attributes:
        client: HTTP client of the test bed, with the user of the option `--basic_auth`.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        broker: Broker,
        python: Path,
        options: list[str],
        env: dict[str, str],
        address: str,
    ) -> None:
        """Use the Flower in the virtual environment of the interpreter `python`."""
        super().__init__(folder, name)
        self.broker = broker
        self.python = python
        self.options = options
        self.env = env
        self.address = address
        self.prefix = ""
        self.scheme = "http"
        self.client = Client()
        for option in options:
            key, _, value = option.partition("=")
            match key.lstrip("-").replace("-", "_"):
                case "url_prefix":
                    self.prefix = "/" + value.strip("/")
                case "certfile":
                    self.scheme = "https"
                case "basic_auth":
                    user, _, password = value.split(",")[0].partition(":")
                    self.client = Client(user=(user, password))

    @property
    def url(self) -> str:
        """Return the base URL with the prefix, without credentials and trailing slash."""
        return f"{self.scheme}://127.0.0.1:{self.port}{self.prefix}"

    def command(self) -> list[str]:
        """See Service."""
        return [
            *(str(self.python), "-m", "celery", "-b", self.broker.url, "flower"),
            *(f"--port={self.port}", f"--address={self.address}", *self.options),
        ]

    def environment(self) -> dict[str, str]:
        """See Service."""
        return self.env

    def is_ready(self) -> bool:
        """See Service."""
        return self.client.status(f"{self.url}/healthcheck") is not None and self._receives_events()

    def _receives_events(self) -> bool:
        try:
            connections = psutil.Process(self.pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            return False
        own_ports = {connection.laddr.port for connection in connections}
        return not own_ports.isdisjoint(self.broker.subscriber_ports())

    def wait_for_tasks(self, count: int, timeout: float = 300) -> None:
        """Wait until Flower lists at least `count` tasks in any state.

        Raises:
            ServiceError: It does not within `timeout` seconds.
        """
        url = f"{self.url}/api/tasks?limit=1&offset={count - 1}"
        wait_for(f"{self.name} to know {count} tasks", lambda: bool(self.client.get_json(url)), timeout)

    def wait_for_task(self, uuid: str, state: str, timeout: float = 60) -> None:
        """Wait until Flower shows a task in a state.

        Events of one sender arrive in order, so all earlier events have arrived too.

        Raises:
            ServiceError: It does not within `timeout` seconds.
        """

        def arrived() -> bool:
            url = f"{self.url}/api/task/info/{uuid}"
            return self.client.status(url) == 200 and self.client.get_json(url)["state"] == state

        wait_for(f"{self.name} to show task {uuid} as {state}", arrived, timeout)

    def wait_for_worker(self, node: str, alive: bool = True, timeout: float = 60) -> None:
        """Wait until Flower lists a worker as alive, or as offline with `alive=False`.

        Raises:
            ServiceError: It does not within `timeout` seconds.
        """
        url = f"{self.url}/api/workers?status=1"
        wait_for(
            f"{self.name} to see {node} as {'alive' if alive else 'offline'}",
            lambda: self.client.get_json(url).get(node) is alive,
            timeout,
        )


#: Celery with a clock that is fast by the first argument, in seconds.
WRONG_CLOCK = """
import sys, time
real, fast = time.time, float(sys.argv.pop(1))
time.time = lambda: real() + fast
from celery.__main__ import main
main()
"""


class Worker(Service):
    """A Celery worker (prefork) of an application in testbed/ that sends events.

    Attributes:
        node: Celery node name, e.g. `shop-1@myhost`.
        app: module with the application.
        env: more variables.
        clock: seconds by which its clock is fast.
        is_quiet: whether it sends task events only if its configuration says so.
    """

    listens = False

    def __init__(
        self, folder: Path, name: str, broker: Broker, node: str, concurrency: int, options: list[str]
    ) -> None:
        """Create a worker; `node` is the node name or its part before the @."""
        super().__init__(folder, name)
        self.app = "testbed.shop"
        self.env: Mapping[str, str] = {}
        self.clock = 0.0
        self.is_quiet = False
        self.broker = broker
        self.node = node if "@" in node else f"{node}@{socket.gethostname()}"
        self.concurrency = concurrency
        self.options = options

    def command(self) -> list[str]:
        """See Service."""
        return [
            *(
                *(sys.executable, *(("-c", WRONG_CLOCK, str(self.clock)) if self.clock else ("-m", "celery"))),
                "-A",
                self.app,
                "worker",
                *(() if self.is_quiet else ("-E",)),
                "-l",
                "INFO",
                "-n",
                self.node,
            ),
            *("-c", str(self.concurrency), *self.options),
        ]

    def environment(self) -> dict[str, str]:
        """See Service."""
        return {BROKER_VARIABLE: self.broker.url, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.env}

    def is_ready(self) -> bool:
        """See Service."""
        return f"{self.node} ready." in self.log_text(this_start=True)


def python_with_flower(version: str | None) -> Path:
    """Return the interpreter with a version of Flower; None is the current one.

    The virtual environment of a version is built once, from testbed/flower-VERSION.txt, in .venvs/.

    Raises:
        ServiceError: The file is missing, or pip fails; contains pip's output.
    """
    if version is None:
        return Path(sys.executable)
    requirements = ROOT / "testbed" / f"flower-{version}.txt"
    if not requirements.exists():
        raise ServiceError(f"no pinned requirements for Flower {version}: {requirements} is missing")
    venv = ROOT / ".venvs" / f"flower-{version}"
    venv.parent.mkdir(exist_ok=True)
    built_from = venv / "built-from.txt"
    with (venv.parent / f"flower-{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built_from.exists() or built_from.read_text() != requirements.read_text():
            _build_venv(venv, requirements)
            shutil.copyfile(requirements, built_from)
    return venv / "bin" / "python"


def _build_venv(venv: Path, requirements: Path) -> None:
    python = str(venv / "bin" / "python")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [python, "-m", "pip", "--disable-pip-version-check", "-q", "install", "-r", str(requirements)],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"`{' '.join(command)}` failed:\n{done.stdout}")
