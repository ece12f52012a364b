"""A RabbitMQ with its management plugin, apart from any other on this machine."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from testbed.process import Service, find_program, free_port, wait_for

#: Debian's wrapper in /usr/sbin switches to the user `rabbitmq`; these scripts run as whoever calls them.
SCRIPTS = Path("/usr/lib/rabbitmq/bin")

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
# Numbers of queues are a fifth of a second old, not five seconds.
collect_statistics_interval = 200
log.console = true
log.console.level = warning
"""


@dataclass(frozen=True)
class VirtualHost:
    """A virtual host of a RabbitMQ: a broker of its own for Celery and Flower."""

    server: "RabbitMQ"
    name: str

    @property
    def url(self) -> str:
        """The broker URL."""
        return f"amqp://guest:guest@127.0.0.1:{self.server.port}/{quote(self.name, '')}"

    @property
    def flower_options(self) -> list[str]:
        """Flower's options that let it ask the management API."""
        return [f"--broker_api={self.server.api}"]

    def wait_for_queue(self, name: str, messages: int = 0) -> None:
        """Return once the management API says that so many of its messages are ready.

        It has no number in the first seconds.

        Raises:
            ServiceError: it does not within half a minute.
        """
        path = f"queues/{quote(self.name, '')}/{quote(name, '')}"
        wait_for(
            f"{name} to have {messages} messages", lambda: self.server.ask(path).get("messages_ready") == messages, 30
        )

    def subscriber_ports(self) -> set[int]:
        """The client ports of connections that consume a queue of events."""
        consumers = self.server.ask(f"consumers/{quote(self.name, '')}")
        return {
            consumer["channel_details"]["peer_port"]
            for consumer in consumers
            if consumer["queue"]["name"].startswith("celeryev") and consumer["channel_details"]
        }


class RabbitMQ(Service):
    """A RabbitMQ with node name, ports, cookie, data and logs of its own."""

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
            # One scheduler of Erlang's is enough, and leaves the processor to the tests.
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
        """A new virtual host that `guest` may use."""
        path = quote(name, "")
        if name != "/":
            self.ask(f"vhosts/{path}", "PUT", {})
            self.ask(f"permissions/{path}/guest", "PUT", {"configure": ".*", "write": ".*", "read": ".*"})
        return VirtualHost(self, name)

    def control(self, *arguments: str) -> None:
        """Run rabbitmqctl, which takes some seconds.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        environment = {**os.environ, **self.environment()}
        subprocess.run(
            [str(SCRIPTS / "rabbitmqctl"), *arguments], env=environment, check=True, capture_output=True, timeout=60
        )

    def set_memory_alarm(self, *, on: bool) -> None:
        """Raise or end the memory alarm, which blocks all that publish, and wait for it."""
        self.control("set_vm_memory_high_watermark", "0" if on else "0.9")
        wait_for("the memory alarm to change", lambda: self._has_alarm() is on, 20)

    def _has_alarm(self) -> bool:
        return any(node.get("mem_alarm") for node in self.ask("nodes"))

    def ask(self, path: str, method: str = "GET", body: Mapping[str, Any] | None = None, timeout: float = 30) -> Any:
        """The answer of the management API, None if it is empty.

        Raises:
            OSError: no answer, or an error.
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
