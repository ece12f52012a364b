"""Encode metric families in the protobuf format that every Pushgateway reads.

In Prometheus' text format, a Pushgateway up to 1.5.1 takes a body that is cut
off at the end of a line for complete. In this format each family is a message
preceded by its length, so every reader notices a body that is cut off.

The messages: https://github.com/prometheus/client_model (io/prometheus/client/metrics.proto).
The bytes: https://protobuf.dev/programming-guides/encoding/.

The Pushgateway ends up with the families and samples that the text of
prometheus_client's ``generate_latest`` would have given it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from struct import Struct

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

#: MetricType, and the number of the field of a Metric that holds a value of that type.
_COUNTER, _GAUGE, _SUMMARY, _UNTYPED, _HISTOGRAM = (0, 3), (1, 2), (2, 4), (3, 5), (4, 7)

#: For each type that a Pushgateway knows: suffix of the family's name, MetricType, and suffixes of its samples' names.
#: `flower-metrics` leaves out other types, and our own families have none.
_TYPES = {
    "counter": ("_total", _COUNTER, ("",)),
    "gauge": ("", _GAUGE, ("",)),
    "summary": ("", _SUMMARY, ("", "_count", "_sum")),
    "unknown": ("", _UNTYPED, ("",)),
    "histogram": ("", _HISTOGRAM, ("", "_bucket", "_count", "_sum")),
}

#: The label that distinguishes the samples of one metric.
_BOUNDS = {_HISTOGRAM: "le", _SUMMARY: "quantile"}

_double = Struct("<d").pack


def encode(families: Iterable[Metric]) -> bytes:
    """Return the families as delimited MetricFamily messages.

    Families without samples are left out. So are timestamps, which a
    Pushgateway rejects, and exemplars, which it ignores.

    Raises:
        ValueError: if two families have the same name, or a sample's name does not belong to its family.
    """
    written: list[bytes] = []
    names: set[str] = set()
    labels = _Labels()
    for family in families:
        for name, kind, samples in _split(family):
            if name in names:
                raise ValueError(f"two families are called {name}")
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
    """Yield the families that the text format makes of one: name, type and samples.

    The times at which the parts of a family were created become a gauge.
    """
    ending, kind, suffixes = _TYPES[family.type]
    name = family.name + ending
    own = {name + suffix for suffix in suffixes}
    samples = [sample for sample in family.samples if sample.name in own]
    if samples:
        yield name, kind, samples
    others = [sample for sample in family.samples if sample.name not in own]
    for sample in others:
        if sample.name != f"{family.name}_created":
            raise ValueError(f"{sample.name} is not a sample of the {family.type} {family.name}")
    if others:
        yield f"{family.name}_created", _GAUGE, others


def _metrics(name: str, kind: tuple[int, int], samples: list[Sample], labels: _Labels) -> Iterator[bytes]:
    if kind in _BOUNDS:
        yield from _distributions(name, kind, samples, labels)
        return
    # The value is a message of one double, nine bytes long.
    head = bytes((kind[1] << 3 | 2, 9, 1 << 3 | 1))
    for sample in samples:
        yield b"".join([*map(labels.__getitem__, sample.labels.items()), head, _double(sample.value)])


def _distributions(name: str, kind: tuple[int, int], samples: list[Sample], labels: _Labels) -> Iterator[bytes]:
    """Yield one metric per set of labels of a histogram or summary.

    The samples may be in any order.
    """
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
    """Caches the encoding of labels, because most labels occur in many metrics."""

    def __missing__(self, label: tuple[str, str]) -> bytes:
        name, value = label
        written = self[label] = _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        return written


def _whole(count: float) -> int:
    """Return a count as an unsigned 64-bit integer.

    A Pushgateway converts the numbers of the text format in the same way.
    """
    return int(count) % 2**64 if -(2**63) <= count < 2**64 else 2**63


def _field(number: int, payload: bytes | bytearray) -> bytes:
    return b"".join((bytes((number << 3 | 2,)), _varint(len(payload)), payload))


def _varint(number: int) -> bytes:
    """Encode a number with seven bits per byte, lowest first.

    The eighth bit marks that more bytes follow.
    """
    if number < 0x80:
        return _ONE_BYTE[number]
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


_ONE_BYTE = [bytes((number,)) for number in range(0x80)]
