"""Validated, immutable settings of one run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from urllib3.util import parse_url

from push_job.auth import Anonymous, SignIn, SignInError, sign_in_with
from push_job.text import is_utf8

#: Upper bounds of the histogram buckets in seconds, for tasks from 10 ms to an hour.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

#: Default number of tasks per request. A full Flower's 100,000 tasks fit into eight pages, or into four on Flower 2.2,
#: which sorts all its tasks for every page. Larger pages stall Flower for longer at a time (bench/RESULTS.md).
PAGE_SIZE, SORTED_PAGE_SIZE = 12_600, 29_300

_DEFAULT_PORTS = {"http": 80, "https": 443}

#: A host and a colon, followed by something that is not a port.
_INVALID_PORT = re.compile(r"^((?:[^:/]*://)?[^:/\[\]]*:)(?!//|\d*(?:/|$)).*", re.DOTALL)

_PORT = re.compile(r":(\d{1,9})(?:/|$)")
_BARE_IPV6 = re.compile(r"(?=.*:.*:)[0-9a-fA-F:]+$")


class SettingsError(Exception):
    """A setting is wrong; the message names it and says what is expected."""


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files: a private CA to trust, a client certificate and its key."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """One server.

    Attributes:
        url: base URL without credentials and without a trailing slash.
        sign_in: how requests are signed.
        tls: certificates to use.
    """

    url: str
    sign_in: SignIn = field(default_factory=Anonymous)
    tls: Tls = Tls()

    @property
    def address(self) -> str:
        """``host:port`` plus the URL prefix; for a Flower, its ``instance`` label."""
        parts = urlsplit(self.url)
        return f"{parts.netloc}{parts.path}"

    @classmethod
    def parse(
        cls, text: str, option: str, sign_in: Mapping[str, str | None] | None = None, tls: Tls = Tls()
    ) -> Endpoint:
        """Parse a URL such as ``https://user:password@host:5555/prefix``.

        Args:
            text: the URL; the scheme defaults to http. Userinfo is percent-decoded.
            option: the option's name, for error messages.
            sign_in: parts of a sign-in by name (see `auth`). Userinfo in the URL replaces them; a user name without
                a password takes theirs.
            tls: certificates to use.

        Raises:
            SettingsError: if the URL or the sign-in is invalid. The message contains no secret.
        """
        shown = _without_secrets(text)
        host, port = _host_and_port(text)
        if not host or not port or re.search(r"[\s\x00-\x1f]", text) or not is_utf8(text):
            raise SettingsError(f"{option}: {shown!r} is not a URL like http://host:port{_hint(text, shown)}")
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.query or parts.fragment:
            raise SettingsError(f"{option}: {shown!r} must end before its '?' or '#'")
        given = dict(sign_in or {})
        if parts.username is not None:
            password = given.get("password") if parts.password is None else unquote(parts.password)
            given = {"username": unquote(parts.username), "password": password}
        try:
            method = sign_in_with(given)
        except SignInError as error:
            raise SettingsError(f"{option}: {error}") from None
        host = f"[{host}]" if ":" in host else host
        url = f"{parts.scheme}://{host}:{port}{parts.path}"
        # The group gets the name of the path that requests go to, which has no dot segments.
        if "/." in parts.path:
            url = parse_url(url).url
        return cls(url.rstrip("/"), method, tls)


@dataclass(frozen=True)
class Settings:
    """Everything that one run needs, with the defaults. Times are in seconds.

    Attributes:
        flowers: the Flowers to scrape.
        pushgateway: where to push.
        job: the ``job`` label of the groups.
        grouping: further labels of the grouping key, sorted by name.
        timeout: limit for one request.
        deadline: limit for one cycle.
        page_size: tasks per request; None chooses a size that suits Flower.
        max_task_types: task types that keep their names.
        forget_workers_after: seconds since a worker's last heartbeat after which it is left out.
        extras: names given to ``--with``, in the order in which they are read.
        buckets: upper bounds of the histogram buckets in seconds.
        prometheus: for ``check``.
        grafana: for ``check``.
        state_file: where state is kept between runs.
        full_every: interval between full scrapes when state is kept; 0 disables incremental scrapes.
        push_format: format of pushes, ``protobuf`` or ``text``.
        sharded: whether `flowers` is a part of a longer list.
        proxy_secrets: secrets in the URLs of the environment's proxies.
    """

    flowers: tuple[Endpoint, ...]
    pushgateway: Endpoint
    job: str = "flower"
    grouping: tuple[tuple[str, str], ...] = ()
    timeout: float = 15.0
    deadline: float = 50.0
    page_size: int | None = None
    max_task_types: int = 1000
    forget_workers_after: float = 3600.0
    extras: tuple[str, ...] = ()
    buckets: tuple[float, ...] = _BUCKETS
    prometheus: Endpoint | None = None
    grafana: Endpoint | None = None
    state_file: str | None = None
    full_every: float = 600.0
    push_format: str = "protobuf"
    sharded: bool = False
    proxy_secrets: tuple[str, ...] = ()

    def state_path(self, flower: Endpoint) -> Path | None:
        """Return the state file of `flower`.

        With several Flowers, also if they are in different shards, each has a file of its own.
        """
        if self.state_file is None:
            return None
        if len(self.flowers) == 1 and not self.sharded:
            return Path(self.state_file)
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", flower.address)[:100]
        return Path(f"{self.state_file}.{name}-{sha256(flower.url.encode()).hexdigest()[:8]}")

    def grouping_key(self, flower: Endpoint) -> dict[str, str]:
        """Return the whole grouping key of `flower`, with ``job``."""
        return {"job": self.job, "instance": flower.address, **dict(self.grouping)}

    @property
    def push_reserve(self) -> float:
        """Seconds of the deadline that are reserved for the push."""
        return min(5.0, self.deadline / 5)

    def secrets(self) -> tuple[str, ...]:
        """Return all secrets of the run, for redaction."""
        servers = (*self.flowers, self.pushgateway, *filter(None, (self.prometheus, self.grafana)))
        return tuple({*self.proxy_secrets, *(secret for server in servers for secret in server.sign_in.secrets())})


def _host_and_port(text: str) -> tuple[str, int]:
    """Return the host and port of a URL; an empty host or port 0 if it is invalid."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        default = _DEFAULT_PORTS[parts.scheme]
        host, port = parts.hostname or "", default if parts.port is None else parts.port
    except (KeyError, ValueError):
        return "", 0
    # A misspelt or repeated scheme would pass for the host.
    scheme_as_host = host in _DEFAULT_PORTS and (parts.netloc.endswith(":") or parts.path.startswith("//"))
    # An @ in the path ends a password that contains a slash.
    return ("", 0) if scheme_as_host or "@" in parts.path else (host, port)


def _without_secrets(text: str) -> str:
    """Return the part of a URL that cannot be a secret.

    Text before an @ may be a password. So may an invalid port: a list of URLs
    is split at spaces, and a password may contain one.
    """
    return _INVALID_PORT.sub(r"\1***", text.rpartition("@")[2])


def _hint(text: str, shown: str) -> str:
    """Return what to change in an invalid URL, or nothing if that is obvious."""
    if "://" in text and not text.lower().startswith(("http://", "https://")):
        return "; it must begin with http:// or https://"
    if _BARE_IPV6.match(text.rpartition("@")[2].rpartition("://")[2]):
        return "; write an IPv6 address in brackets, as http://[::1]:5555"
    if shown.endswith("***"):
        return (
            "; the text after the colon is not a port (hidden: it may be a password; encode special characters as %XX)"
        )
    if "@" in text:
        return "; encode special characters in the user name or password as %XX"
    port = _PORT.search(shown)
    return "" if port is None or 0 < int(port[1]) < 65_536 else "; a port is a number from 1 to 65535"
