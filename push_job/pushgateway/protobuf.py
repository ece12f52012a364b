"""Metric families are written in the protobuf format that every Pushgateway reads; no I/O.

In Prometheus' text format a body that ends early at the end of a line is a whole body to a Pushgateway up to 1.5.1.
Here each family is a message after its length, and the end of a body that its Content-Length did not announce is an
error to every reader. The messages: https://github.com/prometheus/client_model (io/prometheus/client/metrics.proto).
The bytes: https://protobuf.dev/programming-guides/encoding/. The families and samples that arrive are those that
prometheus_client's ``generate_latest`` would have made of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from struct import Struct

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

#: MetricType, and the field of a Metric that holds a value of that type.
_COUNTER, _GAUGE, _SUMMARY, _UNTYPED, _HISTOGRAM = (0, 3), (1, 2), (2, 4), (3, 5), (4, 7)

#: For each type of prometheus_client: what the family's name ends in, its MetricType, and what its samples' names may
#: have after it. What OpenMetrics alone has becomes what is closest to it.
_TYPES = {
    "counter": ("_total", _COUNTER, ("",)),
    "gauge": ("", _GAUGE, ("",)),
    "summary": ("", _SUMMARY, ("", "_count", "_sum")),
    "unknown": ("", _UNTYPED, ("",)),
    "histogram": ("", _HISTOGRAM, ("", "_bucket", "_count", "_sum")),
    "info": ("_info", _GAUGE, ("",)),
    "stateset": ("", _GAUGE, ("",)),
    "gaugehistogram": ("", _HISTOGRAM, ("", "_bucket")),
}

#: Samples of OpenMetrics, each of which becomes a gauge of its own.
_APART = ("_created", "_gcount", "_gsum")

#: The label that tells the samples of one metric apart.
_BOUNDS = {_HISTOGRAM: "le", _SUMMARY: "quantile"}

_double = Struct("<d").pack


def encode(families: Iterable[Metric]) -> bytes:
    """The families as delimited MetricFamily messages; those without samples are left out.

    Timestamps and exemplars are left out too: a Pushgateway refuses the ones and forgets the others.
    Raises ValueError when two families have one name, or a sample's name is not one of its family's.
    """
    written: list[bytes] = []
    names: set[str] = set()
    labels = _Labels()
    for family in families:
        for name, kind, samples in _split(family):
            if name in names:
                raise ValueError(f"there are two families called {name}")
            names.add(name)
            message = bytearray(_field(1, name.encode()))
            if family.documentation:
                message += _field(2, family.documentation.encode())
            message += b"\x18" + _varint(kind[0])
            for metric in _metrics(name, kind, samples, labels):
                message += b"\x22"
                message += _varint(len(metric))
                message += metric
            written.append(_varint(len(message)))
            written.append(bytes(message))
    return b"".join(written)


def _split(family: Metric) -> Iterator[tuple[str, tuple[int, int], list[Sample]]]:
    """The families that the text format makes of one: name, type and samples of each."""
    ending, kind, suffixes = _TYPES[family.type]
    name = family.name + ending
    own = {name + suffix for suffix in suffixes}
    samples = [sample for sample in family.samples if sample.name in own]
    if samples:
        yield name, kind, samples
    if len(samples) == len(family.samples):
        return
    apart = {family.name + suffix: list[Sample]() for suffix in _APART}
    for sample in family.samples:
        if sample.name in own:
            continue
        if sample.name not in apart:
            raise ValueError(f"{sample.name} is no sample of the {family.type} {family.name}")
        apart[sample.name].append(sample)
    for name, samples in apart.items():
        if samples:
            yield name, _GAUGE, samples


def _metrics(name: str, kind: tuple[int, int], samples: list[Sample], labels: _Labels) -> Iterator[bytes]:
    if kind in _BOUNDS:
        yield from _distributions(name, kind, samples, labels)
        return
    # The value is a message of one double, nine bytes long.
    head = bytes((kind[1] << 3 | 2, 9, 1 << 3 | 1))
    for sample in samples:
        yield b"".join([*map(labels.__getitem__, sample.labels.items()), head, _double(sample.value)])


def _distributions(name: str, kind: tuple[int, int], samples: list[Sample], labels: _Labels) -> Iterator[bytes]:
    """Histograms or summaries: one metric a set of labels, whose samples may come in any order."""
    values: dict[frozenset[tuple[str, str]], bytearray] = {}
    for sample in samples:
        own = dict(sample.labels)
        bound = float(own.pop(_BOUNDS[kind], "nan"))
        value = values.setdefault(frozenset(own.items()), bytearray())
        if sample.name == f"{name}_count":
            value += b"\x08" + _varint(_whole(sample.value))
        elif sample.name == f"{name}_sum":
            value += b"\x11" + _double(sample.value)
        elif math.isnan(bound):
            continue
        elif kind is _HISTOGRAM:
            value += _field(3, b"\x08" + _varint(_whole(sample.value)) + b"\x11" + _double(bound))
        else:
            value += _field(3, b"\x09" + _double(bound) + b"\x11" + _double(sample.value))
    for key, value in values.items():
        yield b"".join([*map(labels.__getitem__, key), _field(kind[1], value)])


class _Labels(dict[tuple[str, str], bytes]):
    """What each label of a Metric becomes; most are those of many."""

    def __missing__(self, label: tuple[str, str]) -> bytes:
        name, value = label
        written = self[label] = _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        return written


def _whole(count: float) -> int:
    """The count as 64 bits without a sign; of what is none, the same that a Pushgateway makes of it in text."""
    return int(count) % 2**64 if -(2**63) <= count < 2**64 else 2**63


def _field(number: int, payload: bytes | bytearray) -> bytes:
    return b"".join((bytes((number << 3 | 2,)), _varint(len(payload)), payload))


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last byte have the eighth set."""
    if number < 0x80:
        return _ONE_BYTE[number]
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


_ONE_BYTE = [bytes((number,)) for number in range(0x80)]
