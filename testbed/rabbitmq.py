"""A RabbitMQ server with its management plugin.

It is isolated from other servers on this machine.
"""

import contextlib
import json
import os
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from testbed.process import Service, find_program, free_port, wait_for

#: Debian's wrappers in /usr/sbin switch to the user `rabbitmq`. These scripts run as the current user.
SCRIPTS = Path("/usr/lib/rabbitmq/bin")

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
# Update the statistics of queues every 200 ms instead of every 5 s.
collect_statistics_interval = 200
log.console = true
log.console.level = warning
"""


@dataclass(frozen=True)
class VirtualHost:
    """A virtual host of a RabbitMQ server.

    Celery and Flower use it like a separate broker.
    """

    server: "RabbitMQ"
    name: str

    @property
    def url(self) -> str:
        """The broker URL."""
        return f"amqp://guest:guest@127.0.0.1:{self.server.port}/{quote(self.name, '')}"

    @property
    def flower_options(self) -> list[str]:
        """Flower's options for access to the management API."""
        return [f"--broker_api={self.server.api}"]

    def wait_for_queue(self, name: str, messages: int = 0) -> None:
        """Return when the management API reports this number of ready messages in a queue.

        In the first seconds of a queue it reports no number.

        Raises:
            ServiceError: it does not report this number within 30 seconds.
        """
        path = f"queues/{quote(self.name, '')}/{quote(name, '')}"
        wait_for(
            f"{name} to have {messages} messages", lambda: self.server.ask(path).get("messages_ready") == messages, 30
        )

    def subscriber_ports(self) -> set[int]:
        """Return the client ports of connections that consume an event queue."""
        consumers = self.server.ask(f"consumers/{quote(self.name, '')}")
        return {
            consumer["channel_details"]["peer_port"]
            for consumer in consumers
            if consumer["queue"]["name"].startswith("celeryev") and consumer["channel_details"]
        }


class RabbitMQ(Service):
    """A RabbitMQ server with its own node name, ports, cookie, data and logs."""

    def __init__(self, folder: Path, name: str) -> None:
        """See Service."""
        super().__init__(folder, name)
        self.management = free_port()
        self._ports = {"ERL_EPMD_PORT": str(free_port()), "RABBITMQ_DIST_PORT": str(free_port())}
        self._home = folder / f"{name}-home"

    @property
    def api(self) -> str:
        """The management API's URL, with user and password."""
        return f"http://guest:guest@127.0.0.1:{self.management}/api/"

    def command(self) -> list[str]:
        """See Service."""
        find_program("rabbitmq-server", "rabbitmq-server")
        self._home.mkdir(exist_ok=True)
        text = CONFIGURATION.format(port=self.port, management=self.management)
        (self._home / "rabbitmq.conf").write_text(text)
        (self._home / "plugins").write_text("[rabbitmq_management].\n")
        return [str(SCRIPTS / "rabbitmq-server")]

    def environment(self) -> dict[str, str]:
        """See Service."""
        home = self._home
        return {
            "HOME": str(home),
            "RABBITMQ_NODENAME": f"testbed-{self.port}@localhost",
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # One Erlang scheduler without busy waiting leaves more CPU time for the tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            **self._ports,
        }

    def is_ready(self) -> bool:
        """See Service."""
        try:
            return bool(self.ask("health/checks/local-alarms", timeout=2))
        except (OSError, ValueError):
            return False

    def virtual_host(self, name: str) -> VirtualHost:
        """Create and return a virtual host to which `guest` has access."""
        path = quote(name, "")
        if name != "/":
            self.ask(f"vhosts/{path}", "PUT", {})
            self.ask(f"permissions/{path}/guest", "PUT", {"configure": ".*", "write": ".*", "read": ".*"})
        return VirtualHost(self, name)

    def control(self, *arguments: str) -> None:
        """Run rabbitmqctl, which takes some seconds.

        Raises:
            subprocess.CalledProcessError: the command failed.
        """
        environment = {**os.environ, **self.environment()}
        subprocess.run(
            [str(SCRIPTS / "rabbitmqctl"), *arguments], env=environment, check=True, capture_output=True, timeout=60
        )

    @contextlib.contextmanager
    def alarm(self, kind: str) -> Iterator[None]:
        """Raise the `memory` or `disk` alarm, and clear it at the end.

        The alarm blocks all publishers.
        """
        command, on, off = {
            "memory": ("set_vm_memory_high_watermark", "0", "0.9"),
            "disk": ("set_disk_free_limit", "100000GB", "50MB"),
        }[kind]
        self.control(command, on)
        try:
            self._wait_for_alarm(kind, is_on=True)
            yield
        finally:
            self.control(command, off)
            self._wait_for_alarm(kind, is_on=False)

    def _wait_for_alarm(self, kind: str, *, is_on: bool) -> None:
        key = {"memory": "mem_alarm", "disk": "disk_free_alarm"}[kind]
        wait_for(f"the {kind} alarm", lambda: any(node.get(key) for node in self.ask("nodes")) is is_on, 20)

    @contextlib.contextmanager
    def without_clients(self) -> Iterator[None]:
        """Close the AMQP port and all connections; open the port at the end.

        The management API still answers.
        """
        listener = f"{{acceptor,{{127,0,0,1}},{self.port}}}"
        self.control("eval", f"ranch:suspend_listener({listener}).")
        try:
            self.control("close_all_connections", "--global", "test")
            yield
        finally:
            self.control("eval", f"ranch:resume_listener({listener}).")

    @contextlib.contextmanager
    def consumer_timeout(self, milliseconds: int) -> Iterator[None]:
        """Set consumer_timeout for channels that are opened in the block.

        RabbitMQ checks it each second.
        """
        set_env = (
            "application:set_env(rabbit, consumer_timeout, {}), application:set_env(rabbit, channel_tick_interval, {})."
        )
        self.control("eval", set_env.format(milliseconds, 1000))
        try:
            yield
        finally:
            self.control("eval", set_env.format(1_800_000, 60_000))

    def ask(self, path: str, method: str = "GET", body: Mapping[str, Any] | None = None, timeout: float = 30) -> Any:
        """Return the decoded response of the management API, or None if it is empty.

        Raises:
            OSError: there was no response, or the status is an error.
        """
        request = urllib.request.Request(f"http://127.0.0.1:{self.management}/api/{path}", method=method)
        request.add_header("Authorization", f"Basic {b64encode(b'guest:guest').decode()}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=timeout) as response:
            answer = response.read()
        return json.loads(answer) if answer else None
