"""What a run was told, checked once and never changed afterwards."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Labels that the pushed samples carry themselves. A Pushgateway overwrites a sample's label with the
#: grouping key's label of the same name, so none of these may be in the grouping key.
SAMPLE_LABELS = frozenset(
    {"app", "extra", "le", "name", "period", "quantile", "queue", "state", "task", "task_type", "type"}
    | {"version", "worker"}
)

EXTRAS = ("queues", "runtimes", "waits", "activity", "flower-metrics")

#: Bucket bounds in seconds, for tasks from 10 ms to an hour.
DEFAULT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

#: Tasks in one request: a full Flower's 100,000 in eight pages that overlap by 100. Measured (bench/RESULTS.md, "Page
#: size"): the newest Flower sorts all its tasks for each page, so that more and smaller pages take longer in all, and
#: larger ones stall Flower for longer at a time.
DEFAULT_PAGE_SIZE = 12_600

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}

#: A host, its colon, and then something that is no port.
_NO_PORT = re.compile(r"^((?:[^:/]*://)?[^:/\[\]]*:)(?!//|\d*(?:/|$)).*", re.DOTALL)


class SettingsError(Exception):
    """A setting is wrong; the message says which one and what it should be."""


@dataclass(frozen=True)
class Credentials:
    """How to sign in to one kind of server: a user name and password, or a bearer token, or nothing."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # An HTTP header could not carry it, and the library's complaint would show it.
        if self.token is not None and not re.fullmatch(r"[\x21-\x7e]+", self.token):
            raise SettingsError("the bearer token must be printable ASCII without spaces")
        if not all(_is_utf8(text) for text in (self.username, self.password) if text is not None):
            raise SettingsError("the user name and the password must be UTF-8 text")

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown: the parts, and what they become in a header."""
        return tuple(secret for secret in (self.password, self.token, self.basic) if secret)

    @property
    def basic(self) -> str | None:
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
        URLs. Raises SettingsError, whose message never repeats the userinfo.
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
        # An @ in a path is the end of a password with a / in it.
        if not host or not port or "@" in parts.path or re.search(r"[\s\x00-\x1f]", text) or not _is_utf8(text):
            signs_in = "@" in text or shown.endswith("***")
            cure = "; write signs other than letters and digits in its user name or password as %XX" if signs_in else ""
            raise SettingsError(f"{option}: {shown!r} is not a URL like http://host:port{cure}")
        if parts.query or parts.fragment:
            raise SettingsError(f"{option}: {shown!r} must end before its '?' or '#'")
        if ":" in host:
            host = f"[{host}]"
        if parts.username is not None:
            credentials = Credentials(unquote(parts.username), unquote(parts.password or ""))
        return cls(f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}", credentials, tls)


@dataclass(frozen=True)
class Settings:
    """Everything that one run of the job needs to know. Times are in seconds."""

    flowers: tuple[Endpoint, ...]
    pushgateway: Endpoint
    job: str = "flower"
    grouping: tuple[tuple[str, str], ...] = ()
    timeout: float = 15.0
    deadline: float = 50.0
    page_size: int = DEFAULT_PAGE_SIZE
    max_task_types: int = 1000
    extras: tuple[str, ...] = ()
    buckets: tuple[float, ...] = DEFAULT_BUCKETS

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

    def secrets(self) -> tuple[str, ...]:
        """All that must never appear in a log line or an error."""
        return tuple({s for end in (*self.flowers, self.pushgateway) for s in end.credentials.secrets()})


def parse_flowers(urls: Sequence[str], credentials: Credentials, tls: Tls) -> tuple[Endpoint, ...]:
    """Read the list of Flowers; raises SettingsError when one is no URL or is given twice."""
    flowers = tuple(Endpoint.parse(url, "--flower", credentials, tls) for url in urls)
    seen: set[str] = set()
    for flower in flowers:
        if flower.address in seen:
            raise SettingsError(f"--flower: {flower.address} is given twice; each Flower is one group")
        seen.add(flower.address)
    return flowers


def parse_grouping(pairs: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Read ``KEY=VALUE`` pairs of the grouping key; raises SettingsError when one cannot be in it."""
    grouping: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not _LABEL_NAME.fullmatch(key) or key.startswith("__"):
            raise SettingsError(f"--grouping: {pair!r} is not KEY=VALUE with a Prometheus label name as its KEY")
        if key in ("job", "instance"):
            raise SettingsError(f"--grouping: {key} is set by the job itself (--job, --flower)")
        if key in SAMPLE_LABELS:
            raise SettingsError(f"--grouping: {key} would overwrite a label of the metrics; choose another name")
        if key in grouping:
            raise SettingsError(f"--grouping: {key} is given twice")
        grouping[key] = _label(value, "--grouping")
    return tuple(sorted(grouping.items()))


def parse_job(name: str) -> str:
    """Check the ``job`` label, which the Pushgateway refuses when it is empty."""
    if not name:
        raise SettingsError("--job: the name must not be empty")
    return _label(name, "--job")


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``I/N``, shard I of N, counted from 0 as an Indexed Job of Kubernetes counts."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if index >= count:
        raise SettingsError(f"--shard: {text!r} is not I/N with I from 0 to N-1, e.g. 0/4")
    return index, count


def parse_extras(names: Iterable[str]) -> tuple[str, ...]:
    """Read the names given to ``--with``, each possibly several joined by commas."""
    asked = {part.strip() for name in names for part in name.split(",") if part.strip()}
    if unknown := sorted(asked - set(EXTRAS)):
        raise SettingsError(f"--with: no extra is called {unknown[0]!r}; there are {', '.join(EXTRAS)}")
    return tuple(extra for extra in EXTRAS if extra in asked)


def parse_buckets(text: str) -> tuple[float, ...]:
    """Read bucket bounds in seconds, e.g. ``0.1,1,10``: above 0 and rising."""
    try:
        bounds = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        bounds = ()
    rising = all(low < high for low, high in zip((0.0, *bounds), bounds, strict=False))
    if not bounds or not rising or bounds[-1] == float("inf"):
        raise SettingsError(f"--buckets: {text!r} is not a rising list of seconds such as 0.1,1,10,60")
    return bounds


def read_secret(path: str | None, option: str) -> str | None:
    """The text of a secret's file without the line end that editors and ``echo`` add."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{option}: cannot read {path}: {reason}") from None


def _label(text: str, option: str) -> str:
    """A value of the grouping key."""
    if not _is_utf8(text):
        raise SettingsError(f"{option}: {text!r} is not valid UTF-8")
    if text in (".", ".."):
        raise SettingsError(f"{option}: {text!r} cannot be part of a Pushgateway's path")
    return text


def _is_utf8(text: str) -> bool:
    """Whether it can be written in UTF-8: what an environment or a command line holds may be other bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
