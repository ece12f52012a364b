"""Parse the text of options into values of Settings.

Every function raises SettingsError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from push_job.metrics.extras import EXTRAS, SAMPLE_LABELS
from push_job.options.usage import blanks_around, quotes_around
from push_job.settings import Endpoint, SettingsError, Tls
from push_job.text import is_utf8

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


def parse_flowers(urls: Sequence[str], sign_in: Mapping[str, str | None], tls: Tls) -> tuple[Endpoint, ...]:
    """Parse the list of Flowers; an invalid or repeated URL is an error."""
    if any(map(_has_several_urls, urls)):
        raise SettingsError(
            "--flower: separate several URLs by spaces, not by commas; write a comma in a password as %2C"
        )
    flowers = tuple(Endpoint.parse(url, "--flower", sign_in, tls) for url in urls)
    seen: set[str] = set()
    for flower in flowers:
        if flower.address in seen:
            raise SettingsError(f"--flower: {flower.address} is given twice; each Flower is one group")
        seen.add(flower.address)
    return flowers


def _has_several_urls(text: str) -> bool:
    """Return whether the text is several URLs, joined by commas."""
    host = text.rpartition("@")[2].rpartition("://")[2].partition("/")[0]
    return "," in host or re.search(r",\w+://|@.*,.*@", text) is not None


def parse_grouping(pairs: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Parse ``KEY=VALUE`` pairs of the grouping key; return them sorted by key.

    The list was separated at blanks. A word without ``=`` belongs to the value before it.
    """
    grouping: dict[str, str] = {}
    for pair in _joined(pairs):
        key, equals, value = pair.partition("=")
        if not equals or not _LABEL_NAME.fullmatch(key) or key.startswith("__"):
            raise SettingsError(f"--grouping: {pair!r} is not KEY=VALUE with a Prometheus label name as KEY")
        if key in ("job", "instance"):
            raise SettingsError(f"--grouping: {key} is set by push-job itself (--job, --flower)")
        if key in SAMPLE_LABELS:
            raise SettingsError(f"--grouping: {key} would overwrite a label of the metrics; choose another name")
        if key in grouping:
            raise SettingsError(f"--grouping: {key} is given twice")
        grouping[key] = _label(value, "--grouping")
    return tuple(sorted(grouping.items()))


def _joined(words: Iterable[str]) -> list[str]:
    pairs: list[str] = []
    for word in words:
        if "=" in word or not pairs:
            pairs.append(word)
        else:
            pairs[-1] += f" {word}"
    return pairs


def parse_job(name: str) -> str:
    """Check the ``job`` label; the Pushgateway rejects an empty one."""
    if not name:
        raise SettingsError("--job: the name must not be empty")
    return _label(name, "--job")


def parse_shard(text: str) -> tuple[int, int]:
    """Parse ``I/N``, shard I of N, counted from 0 like an Indexed Job of Kubernetes."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if index >= count:
        raise SettingsError(f"--shard: {text!r} is not I/N with I from 0 to N-1, e.g. 0/4")
    return index, count


def parse_extras(names: Iterable[str]) -> tuple[str, ...]:
    """Parse the names given to ``--with``.

    Each may be several names joined by commas, or ``all``.
    """
    wanted = {part.strip() for name in names for part in name.split(",") if part.strip()}
    if unknown := sorted(wanted - {*EXTRAS, "all"}):
        raise SettingsError(f"--with: no extra is called {unknown[0]!r}; choose from {', '.join(EXTRAS)} or all")
    return tuple(extra for extra in EXTRAS if extra in wanted or "all" in wanted)


def parse_buckets(text: str) -> tuple[float, ...]:
    """Parse bucket bounds in seconds, as ``0.1,1,10``: positive and rising."""
    try:
        bounds = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        bounds = ()
    rising = all(low < high for low, high in zip((0.0, *bounds), bounds, strict=False))
    if not bounds or not rising or bounds[-1] == float("inf"):
        raise SettingsError(f"--buckets: {text!r} is not a rising list of seconds such as 0.1,1,10,60")
    return bounds


def urls_of(given: Sequence[str]) -> list[str]:
    """Return the URLs, with each ``@FILE`` replaced by the URLs in that file.

    In the file, ``#`` begins a comment.
    """
    urls: list[str] = []
    for url in given:
        if url.startswith("@"):
            lines = _read(url[1:], "--flower").splitlines()
            urls += [word for line in lines for word in re.sub(r"(^|\s)#.*", "", line).split()]
        else:
            urls.append(url)
    if given and not urls:
        raise SettingsError(f"--flower: no URL is in {' '.join(given)}")
    return urls


def read_secret(path: str | None, option: str) -> str | None:
    """Read a secret's file without a line end or a byte order mark.

    Editors and ``echo`` add them.
    """
    if path is None:
        return None
    secret = _read(path, option).rstrip("\r\n")
    if not secret:
        raise SettingsError(f"{option}: {path} is empty")
    return secret


def _read(path: str, option: str) -> str:
    """Return a file's text without a byte order mark."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{option}: cannot read {path}: {reason}") from None


def _label(text: str, option: str) -> str:
    """Check a value of the grouping key."""
    if problem := quotes_around(text) or blanks_around(text):
        raise SettingsError(f"{option}: {problem}")
    if not is_utf8(text):
        raise SettingsError(f"{option}: {text!r} is not valid UTF-8")
    if text in (".", ".."):
        raise SettingsError(f"{option}: {text!r} cannot be part of a Pushgateway's path")
    return text
