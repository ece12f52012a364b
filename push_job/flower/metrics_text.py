"""Parser for Prometheus' text format, as Flower's ``/metrics`` and a Pushgateway's have it.

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

_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*", re.ASCII)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|(?=\}))', re.ASCII)
_ESCAPE = re.compile(r"\\(.)")

#: Suffixes of the sample names of each type.
_SUFFIXES = {
    "counter": ("_total", "_created"),
    "summary": ("", "_count", "_sum", "_created"),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
}


def parse_sample(line: str) -> Sample:
    """Parse one sample line, such as ``name{label="value"} 1.0``; a timestamp is ignored.

    Raises:
        ValueError: if the line is not a sample.
    """
    name = _NAME.match(line)
    if name is None:
        raise ValueError(f"not a sample: {line[:80]!r}")
    at = name.end()
    labels: dict[str, str] = {}
    if line[at : at + 1] == "{":
        at += 1
        while label := _LABEL.match(line, at):
            labels[label[1]] = _unescape(label[2])
            at = label.end()
        rest = line[at:].lstrip()
        if not rest.startswith("}"):
            raise ValueError(f"invalid labels: {line[:80]!r}")
        value = rest[1:].split()
    else:
        value = line[at:].split()
    if not 1 <= len(value) <= 2:
        raise ValueError(f"no value: {line[:80]!r}")
    return Sample(name[1], labels, float(value[0]))


def parse_families(lines: Iterable[str]) -> Iterator[Metric]:
    """Yield the families of an exposition, each with its samples.

    As in prometheus_client, a counter's family is named without ``_total``. A
    sample that belongs to no announced family is one of type unknown.

    Raises:
        ValueError: if a line is neither a comment nor a sample.
    """
    helps: dict[str, str] = {}
    family: Metric | None = None
    names: frozenset[str] = frozenset()
    for line in lines:
        if line.startswith("#"):
            words = line.split(None, 3)
            if words[1:2] == ["HELP"] and len(words) > 2:
                helps[words[2]] = _unescape(words[3]) if len(words) > 3 else ""
            elif words[1:2] == ["TYPE"] and len(words) == 4:
                if family is not None:
                    yield family
                family, names = _family(words[2], words[3].strip(), helps.get(words[2], ""))
        elif line.strip():
            sample = parse_sample(line)
            if family is None or sample.name not in names:
                if family is not None:
                    yield family
                family, names = _family(sample.name, "unknown", helps.get(sample.name, ""))
            family.samples.append(sample)
    if family is not None:
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
