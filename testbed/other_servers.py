"""Servers around a Pushgateway: nginx in front, VictoriaMetrics as a replacement."""

import getpass
from pathlib import Path

from testbed.process import Service, find_program
from testbed.web import Client

_NGINX = """
user {user}; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-fastcgi; uwsgi_temp_path {folder}/{name}-uwsgi; scgi_temp_path {folder}/{name}-scgi;
  proxy_cache_path {folder}/{name}-cache keys_zone=cache:1m;
  server {{ listen 127.0.0.1:{port}; {server} }}
}}
"""


class Nginx(Service):
    """An nginx with one server.

    Args:
        server: the directives of its `server` block.
    """

    def __init__(self, folder: Path, name: str, server: str) -> None:
        super().__init__(folder, name)
        self.server = server

    @property
    def url(self) -> str:
        """Return its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """See Service."""
        path = self.folder / f"{self.name}.conf"
        # Without a user, workers of an nginx that root started run as nobody and could not write the cache.
        values = {"folder": self.folder, "name": self.name, "port": self.port, "server": self.server}
        path.write_text(_NGINX.format(user=getpass.getuser(), **values))
        return [find_program("nginx", "nginx"), "-c", str(path), "-e", str(self.folder / f"{self.name}.err")]

    def is_ready(self) -> bool:
        """See Service."""
        return Client().status(f"{self.url}/") is not None


class VictoriaMetrics(Service):
    """A single-node VictoriaMetrics with an empty store."""

    @property
    def url(self) -> str:
        """Return its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """See Service."""
        return [
            find_program("victoria-metrics", "victoria-metrics"),
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-storageDataPath={self.folder / self.name}-data",
        ]

    def is_ready(self) -> bool:
        """See Service."""
        return Client().status(f"{self.url}/health") == 200


class VictoriaMetricsAgent(VictoriaMetrics):
    """A vmagent: it accepts pushes like a VictoriaMetrics and sends them to one.

    `make test-newest` builds it.
    """

    def __init__(self, folder: Path, name: str, target: VictoriaMetrics) -> None:
        super().__init__(folder, name)
        self.target = target

    def command(self) -> list[str]:
        """See Service."""
        return [
            find_program("vmagent", "victoria-metrics"),
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-remoteWrite.url={self.target.url}/api/v1/write",
            f"-remoteWrite.tmpDataPath={self.folder / self.name}-queue",
        ]
