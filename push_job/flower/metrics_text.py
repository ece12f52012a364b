"""Parser for Prometheus' text format.

Flower's ``/metrics`` and that of a Pushgateway have this format.

prometheus_client has a parser too, but it takes four times as long per sample,
and its time for one hostile line grows with the square of the line's length.
This one reads each character once. The format:
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

#: Bytes that a line may have; a reader rejects longer ones before they are parsed.
LINE_LIMIT = 16 * 1024

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

    A timestamp is ignored. A quoted name stands first between the braces: ``{"my.name",label="value"} 1.0``.

    Raises:
        ValueError: if the line is not a sample.
    """
    start = _NAME.match(line)
    name, at = (start[1], start.end()) if start else (None, 0)
    labels: dict[str, str] = {}
    if line[at : at + 1] == "{":
        at += 1
        if name is None and (quoted := _QUOTED_NAME.match(line, at)):
            name, at = _unescape(quoted[1]), quoted.end()
        while label := _LABEL.match(line, at):
            labels[label[1] or _unescape(label[2])] = _unescape(label[3])
            at = label.end()
        rest = line[at:].lstrip()
        if not rest.startswith("}"):
            raise ValueError(f"invalid labels: {line[:80]!r}")
        value = rest[1:].split()
    else:
        value = line[at:].split()
    if not name or not 1 <= len(value) <= 2:
        raise ValueError(f"not a sample: {line[:80]!r}")
    return Sample(name, labels, float(value[0]))


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
