"""Parser for Prometheus' text format.

Flower's ``/metrics`` and that of a Pushgateway have this format.

prometheus_client has a parser too, but it takes four times as long per sample,
and its time for one hostile line grows with the square of the line's length.
This one reads each character once. The format:
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

#: Bytes that a line may have; a reader rejects longer ones before they are parsed.
LINE_LIMIT = 16 * 1024

#: Characters of a series that is cached.
_SHORT = 400

_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*", re.ASCII)
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_LABEL = re.compile(rf"\s*(?:([a-zA-Z_][a-zA-Z0-9_]*)|{_TEXT})\s*=\s*{_TEXT}\s*(?:,|(?=\}}))", re.ASCII)
_QUOTED_NAME = re.compile(rf"\s*{_TEXT}\s*(?:,|(?=\}}))", re.ASCII)
_TYPE = re.compile(rf"#\s*(TYPE|HELP)\s+(?:{_TEXT}|(\S+))(?:\s+(.*))?", re.ASCII)
_ESCAPE = re.compile(r"\\(.)")

#: Suffixes of the sample names of each type.
_SUFFIXES = {
    "counter": ("_total", "_created"),
    "summary": ("", "_count", "_sum", "_created"),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
}


def parse_sample(line: str) -> Sample:
    """Parse one sample line, such as ``name{label="value"} 1.0``.

    A timestamp is ignored. A quoted name stands first between the braces: ``{"my.name",label="value"} 1.0``. Samples of
    the same series may share their labels, which must not be changed.

    Raises:
        ValueError: if the line is not a sample.
    """
    end = line.rfind("}") + 1
    series, numbers = line[:end], line[end:].split()
    if not end and numbers:
        series = numbers.pop(0)
    if not 1 <= len(numbers) <= 2:
        raise ValueError(f"not a sample: {line[:80]!r}")
    name, labels = _cached_series(series) if len(series) <= _SHORT else _parse_series(series)
    return Sample(name, labels, float(numbers[0]))


def _parse_series(series: str) -> tuple[str, dict[str, str]]:
    """Parse the name and the labels of a sample.

    Raises:
        ValueError: if they are invalid.
    """
    start = _NAME.match(series)
    name, at = (start[1], start.end()) if start else (None, 0)
    labels: dict[str, str] = {}
    if series[at : at + 1] == "{":
        at += 1
        if name is None and (quoted := _QUOTED_NAME.match(series, at)):
            name, at = _unescape(quoted[1]), quoted.end()
        while label := _LABEL.match(series, at):
            # Most names and values occur in many series: sys.intern keeps one of each.
            labels[sys.intern(label[1] or _unescape(label[2]))] = sys.intern(_unescape(label[3]))
            at = label.end()
        if series[at:].strip() != "}":
            raise ValueError(f"invalid labels: {series[:80]!r}")
    elif at < len(series):
        raise ValueError(f"not a sample: {series[:80]!r}")
    if not name:
        raise ValueError(f"not a sample: {series[:80]!r}")
    return sys.intern(name), labels


# Most series are the same in every reading.
_cached_series = lru_cache(maxsize=10_000)(_parse_series)


def parse_families(lines: Iterable[str]) -> Iterator[Metric]:
    """Yield the families of an exposition, each with its samples.

    As in prometheus_client, a counter's family is named without ``_total``. A
    sample that belongs to no announced family is one of type unknown.

    Raises:
        ValueError: if a line is neither a comment nor a sample.
    """
    helps: dict[str, str] = {}
    family, names = Metric("none", "", "unknown"), frozenset[str]()
    for line in lines:
        if line.startswith("#"):
            comment = _TYPE.match(line)
            if comment is None:
                continue
            name, text = comment[3] or _unescape(comment[2]), comment[4] or ""
            if comment[1] == "HELP":
                helps[name] = _unescape(text)
            else:
                if names:
                    yield family
                family, names = _family(name, text.strip(), helps.get(name, ""))
        elif line.strip():
            sample = parse_sample(line)
            if sample.name not in names:
                if names:
                    yield family
                family, names = _family(sample.name, "unknown", helps.get(sample.name, ""))
            family.samples.append(sample)
    if names:
        yield family


def _family(name: str, kind: str, help_text: str) -> tuple[Metric, frozenset[str]]:
    """Return an empty family and the names that its samples may have."""
    kind = "unknown" if kind == "untyped" else kind
    base = name.removesuffix("_total") if kind == "counter" else name
    family = Metric(base, help_text, kind)
    return family, frozenset({name, *(base + suffix for suffix in _SUFFIXES.get(kind, ("",)))})


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], text)
