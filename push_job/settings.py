"""What a run was told, checked once and never changed afterwards."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from urllib3.util import parse_url

#: Bucket bounds in seconds, for tasks from 10 ms to an hour.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

#: Tasks in one request where nobody says how many: a full Flower's 100,000 in eight pages that overlap by 100; and,
#: from the second page on, in four where Flower (2.2) sorts all its tasks for each. Measured (bench/RESULTS.md, "Page
#: size"): larger pages stall any Flower for longer at a time, and spare the one that sorts much of its work.
PAGE_SIZE, SORTED_PAGE_SIZE = 12_600, 29_300

_DEFAULT_PORTS = {"http": 80, "https": 443}

#: A host, its colon, and then something that is no port.
_NO_PORT = re.compile(r"^((?:[^:/]*://)?[^:/\[\]]*:)(?!//|\d*(?:/|$)).*", re.DOTALL)

_PORT = re.compile(r":(\d{1,9})(?:/|$)")
_BARE_IPV6 = re.compile(r"(?=.*:.*:)[0-9a-fA-F:]+$")


class SettingsError(Exception):
    """A setting is wrong; the message says which one and what it should be."""


@dataclass(frozen=True)
class Credentials:
    """How to sign in to one kind of server: a user name and password, or a bearer token, or nothing.

    Every way to sign in stands here. A field without a repr is a secret: it is never shown, and comes from a file, a
    variable or a URL, for every process on the machine can read a command line.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # An HTTP header could not carry it, and the library's complaint would show it.
        if self.token is not None and not re.fullmatch(r"[\x21-\x7e]+", self.token):
            raise SettingsError("the bearer token must be printable ASCII without spaces")
        if not all(is_utf8(text) for text in (self.username, self.password) if text is not None):
            raise SettingsError("the user name and the password must be UTF-8 text")
        if self.username is not None and self.token is not None:
            raise SettingsError("a user name and a token are both set; use one of them")

    @classmethod
    def names(cls, *, secret: bool) -> list[str]:
        """The names of the fields that are secrets, or of those that are not."""
        return [part.name for part in fields(cls) if part.repr is not secret]

    def headers(self) -> dict[str, str]:
        """What a request carries to be signed in."""
        if self.username is not None:
            return {"Authorization": f"Basic {self._basic}"}
        return {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}

    @property
    def refused(self) -> str:
        """What a server that answers 401 says of them; nothing if there are none."""
        if self.username is not None:
            return ": its user name or password is not the one that is set here"
        return "" if self.token is None else ": the token that is set here is not one of its"

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown: the secret fields, and what they become in a header."""
        kept = [getattr(self, name) for name in self.names(secret=True)]
        return tuple(secret for secret in (*kept, self._basic) if secret)

    @property
    def _basic(self) -> str | None:
        """User name and password as HTTP's basic scheme sends them, in UTF-8 (RFC 7617)."""
        if self.username is None:
            return None
        return b64encode(f"{self.username}:{self.password or ''}".encode()).decode()


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files: a private CA to trust, a client certificate and its key."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """A server's base URL, free of credentials and without a slash at its end, and how to talk to it."""

    url: str
    credentials: Credentials = Credentials()
    tls: Tls = Tls()

    @property
    def address(self) -> str:
        """``host:port`` and the URL prefix if there is one: the ``instance`` label of a Flower."""
        parts = urlsplit(self.url)
        return f"{parts.netloc}{parts.path}"

    @classmethod
    def parse(cls, text: str, option: str, credentials: Credentials, tls: Tls) -> Endpoint:
        """Read a URL such as ``https://user:password@host:5555/prefix``; the scheme defaults to http.

        Userinfo in the URL (percent-decoded) goes before `credentials`, which hold for all of an option's
        URLs; a user name alone takes their password. Raises SettingsError, whose message never repeats the userinfo.
        """
        # What stands before an @ may be a password, also where the text is no URL. So may what is no port, in a list
        # that was split at a space in a password.
        shown = _NO_PORT.sub(r"\1***", text.rpartition("@")[2])
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            default_port = _DEFAULT_PORTS[parts.scheme]
            port = default_port if parts.port is None else parts.port
            host = parts.hostname or ""
        except (KeyError, ValueError):
            host = ""
        # A scheme that is taken for the host is one that is misspelt or stands there twice.
        if host in _DEFAULT_PORTS and (parts.netloc.endswith(":") or parts.path.startswith("//")):
            host = ""
        # An @ in a path is the end of a password with a / in it.
        if not host or not port or "@" in parts.path or re.search(r"[\s\x00-\x1f]", text) or not is_utf8(text):
            raise SettingsError(f"{option}: {shown!r} is not a URL like http://host:port{_cure(text, shown)}")
        if parts.query or parts.fragment:
            raise SettingsError(f"{option}: {shown!r} must end before its '?' or '#'")
        if ":" in host:
            host = f"[{host}]"
        if parts.username is not None:
            password = credentials.password if parts.password is None else unquote(parts.password)
            credentials = Credentials(unquote(parts.username), password)
        if credentials.password is not None and credentials.username is None:
            raise SettingsError(f"{option}: a password is set, but no user name: set {option}-username too")
        url = f"{parts.scheme}://{host}:{port}{parts.path}"
        # Requests go to the path without its dots, so the group is named by that too.
        if "/." in parts.path:
            url = parse_url(url).url
        return cls(url.rstrip("/"), credentials, tls)


@dataclass(frozen=True)
class Settings:
    """Everything that one run of the job needs to know, and each default. Times are in seconds.

    `several` is whether more Flowers than one were named, also where `flowers` are a shard of them.
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
    several: bool = False

    def state_path(self, flower: Endpoint) -> Path | None:
        """The file for what is remembered of `flower`: with several Flowers, in any shards, each has one of its own."""
        if self.state_file is None:
            return None
        if len(self.flowers) == 1 and not self.several:
            return Path(self.state_file)
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", flower.address)[:100]
        return Path(f"{self.state_file}.{name}-{sha256(flower.url.encode()).hexdigest()[:8]}")

    def grouping_key(self, flower: Endpoint) -> dict[str, str]:
        """The labels beside ``job`` that name the group of `flower` on the Pushgateway."""
        return {"instance": flower.address, **dict(self.grouping)}

    def group_labels(self, flower: Endpoint) -> dict[str, str]:
        """All the labels of the group of `flower`, ``job`` too."""
        return {"job": self.job, **self.grouping_key(flower)}

    @property
    def push_reserve(self) -> float:
        """Seconds of the deadline that are kept back for the push."""
        return min(5.0, self.deadline / 5)

    @property
    def servers(self) -> tuple[Endpoint, ...]:
        """Every server that the run may talk to."""
        behind = (server for server in (self.prometheus, self.grafana) if server)
        return (*self.flowers, self.pushgateway, *behind)

    def secrets(self) -> tuple[str, ...]:
        """All that must never appear in a log line or an error."""
        return tuple({secret for server in self.servers for secret in server.credentials.secrets()})


def _cure(text: str, shown: str) -> str:
    """What to do about a text that is no URL and of which `shown` may be shown; nothing where that is plain."""
    if "://" in text and not text.lower().startswith(("http://", "https://")):
        return "; it must begin with http:// or https://"
    if _BARE_IPV6.match(text.rpartition("@")[2].rpartition("://")[2]):
        return "; write an IPv6 address in brackets, as http://[::1]:5555"
    if shown.endswith("***"):
        return (
            "; what follows the colon is no port number"
            " (hidden, for in a password signs other than letters and digits are written as %XX)"
        )
    if "@" in text:
        return "; write signs other than letters and digits in its user name or password as %XX"
    port = _PORT.search(shown)
    return "" if port is None or 0 < int(port[1]) < 65_536 else "; a port is a number from 1 to 65535"


def is_utf8(text: str) -> bool:
    """Whether it can be written in UTF-8: what an environment or a command line holds may be other bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
