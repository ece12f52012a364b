"""Read the messages and samples of a push with the real protobuf runtime.

The messages are those of https://github.com/prometheus/client_model, as far as a push has them.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "io.prometheus.client"

#: Fields by message: name, number, and a scalar type, `enum`, or the name of a message; `*` is a repeated one.
MESSAGES = {
    "LabelPair": [("name", 1, "string"), ("value", 2, "string")],
    "Counter": [("value", 1, "double")],
    "Gauge": [("value", 1, "double")],
    "Untyped": [("value", 1, "double")],
    "Quantile": [("quantile", 1, "double"), ("value", 2, "double")],
    "Summary": [("sample_count", 1, "uint64"), ("sample_sum", 2, "double"), ("quantile", 3, "Quantile*")],
    "Bucket": [("cumulative_count", 1, "uint64"), ("upper_bound", 2, "double")],
    "Histogram": [("sample_count", 1, "uint64"), ("sample_sum", 2, "double"), ("bucket", 3, "Bucket*")],
    "Metric": [
        ("label", 1, "LabelPair*"),
        ("gauge", 2, "Gauge"),
        ("counter", 3, "Counter"),
        ("summary", 4, "Summary"),
        ("untyped", 5, "Untyped"),
        ("histogram", 7, "Histogram"),
    ],
    "MetricFamily": [("name", 1, "string"), ("help", 2, "string"), ("type", 3, "enum"), ("metric", 4, "Metric*")],
}
TYPES = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM")

Labels = frozenset[tuple[str, str]]
Sample = tuple[str, Labels, float]


def _family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package=PACKAGE, syntax="proto2")
    file.enum_type.add(name="MetricType").value.extend(
        descriptor_pb2.EnumValueDescriptorProto(name=name, number=number) for number, name in enumerate(TYPES)
    )
    field = descriptor_pb2.FieldDescriptorProto
    scalars = {"string": field.TYPE_STRING, "double": field.TYPE_DOUBLE, "uint64": field.TYPE_UINT64}
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            added = described.field.add(name=name, number=number, label=field.LABEL_OPTIONAL)
            if kind.endswith("*"):
                added.label = field.LABEL_REPEATED
            if kind in scalars:
                added.type = scalars[kind]
            else:
                added.type = field.TYPE_ENUM if kind == "enum" else field.TYPE_MESSAGE
                added.type_name = f".{PACKAGE}.{'MetricType' if kind == 'enum' else kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.MetricFamily"))


MetricFamily = _family_class()


def ends(body: bytes) -> list[int]:
    """Return the end position of each message in a delimited body.

    Raises:
        IndexError: a message is cut.
    """
    found: list[int] = []
    at = 0
    while at < len(body):
        length = shift = 0
        while True:
            byte = body[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        at += length
        found.append(at)
    if found and found[-1] != len(body):
        raise IndexError("the last message is cut")
    return found


def families(body: bytes) -> list[Any]:
    """Return the MetricFamily messages of a delimited body."""
    found = []
    start = 0
    for end in ends(body):
        while body[start] >= 0x80:
            start += 1
        found.append(MetricFamily.FromString(body[start + 1 : end]))
        start = end
    return found


def unlabelled(body: bytes) -> dict[str, float]:
    """Return the samples of a delimited body that have no labels, by name."""
    return {name: value for family in families(body) for name, labels, value in samples(family) if not labels}


def samples(family: Any) -> Iterator[Sample]:
    """Return a family's samples as the text format names them.

    A bound of infinity is `inf`.
    """
    kind = TYPES[family.type].lower()
    for metric in family.metric:
        labels = frozenset((label.name, label.value) for label in metric.label)
        assert [field.name for field, _ in metric.ListFields() if field.name != "label"] == [kind]
        value = getattr(metric, kind)
        if kind in ("counter", "gauge", "untyped"):
            yield family.name, labels, value.value
            continue
        if value.HasField("sample_count"):
            yield f"{family.name}_count", labels, value.sample_count
        if value.HasField("sample_sum"):
            yield f"{family.name}_sum", labels, value.sample_sum
        if kind == "histogram":
            for bucket in value.bucket:
                yield f"{family.name}_bucket", labels | {("le", repr(bucket.upper_bound))}, bucket.cumulative_count
        else:
            for quantile in value.quantile:
                yield family.name, labels | {("quantile", repr(quantile.quantile))}, quantile.value
