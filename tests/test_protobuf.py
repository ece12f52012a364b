"""A push has the content that the text format would have.

The protobuf runtime and a Pushgateway read that content.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from push_job.metrics.registry import registry_of
from push_job.pushgateway.protobuf import CONTENT_TYPE, encode
from testbed.services import Pushgateway
from tests import metric_messages

PROPERTY = settings(deadline=None, max_examples=150)
ON_A_SERVER = settings(
    PROPERTY, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

TYPES = ("counter", "gauge", "summary", "unknown", "histogram")

#: Any text that UTF-8 can hold.
texts = st.one_of(
    st.sampled_from(["", "a", 'q"\\', "a\nb", "{}", "é\U0001f600", "\x00", "x" * 300]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
#: Help texts. Every parser of the text format drops blanks at the beginning of a help text, so no family that Flower
#: exports begins with one, and ours do not.
helps = texts.filter(lambda text: text == text.lstrip(" \t"))
labels = st.dictionaries(st.sampled_from(["a", "b", "state", "_c"]), texts, max_size=3)
values = st.one_of(st.floats(), st.sampled_from([0, 1, -1, 2**53, 10**30, math.nan, math.inf, -math.inf]))
whole = st.integers(min_value=0, max_value=2**53)
bounds = st.one_of(
    st.sampled_from(["0.1", "1", "1.0", "5", "+Inf", "1e3"]), st.floats(allow_nan=False).map(repr), st.just("-Inf")
)


def family(name: str, kind: str, samples: Iterable[tuple[str, dict[str, str], float]], text: str = "help") -> Metric:
    """Return a family with any samples."""
    made = Metric(name, text, kind)
    made.samples = [Sample(f"{name}{suffix}", own, value) for suffix, own, value in samples]
    return made


def suffixes(kind: str) -> list[str]:
    """Return the suffixes that samples of a type may have."""
    return {
        "counter": ["_total", "_created"],
        "summary": ["", "_count", "_sum", "_created"],
        "histogram": ["_bucket", "_bucket", "_count", "_sum", "_created"],
    }.get(kind, [""])


@st.composite
def odd_families(draw: st.DrawFn) -> list[Metric]:
    """Families of every type with odd samples.

    The samples are in any order, with any value. Some are there twice, some are missing.
    """
    made = []
    for number, kind in enumerate(draw(st.lists(st.sampled_from(TYPES), max_size=5))):
        rows = []
        for suffix in draw(st.lists(st.sampled_from(suffixes(kind)), max_size=8)):
            own = draw(labels)
            if kind == "histogram" and draw(st.booleans()):
                own["le"] = draw(bounds)
            if kind == "summary" and draw(st.booleans()):
                own["quantile"] = draw(bounds)
            rows.append((suffix, own, draw(st.one_of(values, whole))))
        made.append(family(f"family_{number}", kind, rows, draw(helps)))
    return made


@st.composite
def good_families(draw: st.DrawFn) -> list[Metric]:
    """Families of every type as a client library makes them.

    Only the samples are in any order.
    """
    made = []
    for number, kind in enumerate(draw(st.lists(st.sampled_from(TYPES), max_size=5))):
        rows: list[tuple[str, dict[str, str], float]] = []
        for own in draw(st.lists(labels, max_size=4, unique_by=lambda own: tuple(sorted(own.items())))):
            for suffix in sorted(set(suffixes(kind))):
                if suffix == "_bucket" or (suffix == "" and kind == "summary"):
                    name, value = ("quantile", values) if kind == "summary" else ("le", whole)
                    rows += [
                        (suffix, {**own, name: bound}, draw(value))
                        for bound in draw(st.lists(bounds, max_size=4, unique_by=float))
                    ]
                else:
                    rows.append((suffix, own, draw(whole if suffix == "_count" else values)))
        made.append(family(f"family_{number}", kind, draw(st.permutations(rows)), draw(helps)))
    return made


def as_text(families: Iterable[Metric]) -> bytes:
    """Return the text of prometheus_client."""
    return generate_latest(registry_of(families))


def bits(value: float) -> bytes:
    """Return bytes that are equal for two NaN too."""
    return struct.pack("<d", math.nan if math.isnan(value) else value)


def comparable(samples: Iterable[tuple[str, Iterable[tuple[str, str]], float]]) -> Counter[Any]:
    """Return samples in a form that can be compared, with bounds as numbers."""
    return Counter(
        (
            name,
            frozenset((key, repr(float(text)) if key in ("le", "quantile") else text) for key, text in own),
            bits(value),
        )
        for name, own, value in samples
    )


@PROPERTY
@given(good_families())
def test_the_protobuf_runtime_reads_what_the_text_says(families: list[Metric]) -> None:
    messages = metric_messages.families(encode(families))
    text = [*text_string_to_metric_families(as_text(families).decode())]
    expected = [(sample.name, sample.labels.items(), sample.value) for read in text for sample in read.samples]
    assert comparable(sample for message in messages for sample in metric_messages.samples(message)) == comparable(
        expected
    )
    wanted = {}
    for read in text:
        if read.samples:
            name = f"{read.name}_total" if read.type == "counter" else read.name
            wanted[name] = "untyped" if read.type == "unknown" else read.type
    assert {message.name: metric_messages.TYPES[message.type].lower() for message in messages} == wanted
    helps = {made.name: made.documentation for made in families}
    assert all(message.help == helps[message.name[: len("family_0")]] for message in messages)


def result_of_push(pushgateway: Pushgateway, body: bytes, content_type: str) -> tuple[int, list[str]]:
    """Push to a new group; return the status, and the lines of its samples."""
    url = f"{pushgateway.url}/metrics/job/protobuf"
    urlopen(Request(url, method="DELETE")).close()
    try:
        with urlopen(Request(url, body, {"Content-Type": content_type}, method="PUT")) as answer:
            status = answer.status
    except HTTPError as error:
        with error:
            status = error.code
    text = pushgateway.client.get(f"{pushgateway.url}/metrics")
    lines = [line for line in text.split("\n") if 'job="protobuf"' in line or line.startswith(("# HELP f", "# TYPE f"))]
    return status, [line for line in lines if not line.startswith(("push_time", "push_failure"))]


def assert_same_on_a_pushgateway(pushgateway: Pushgateway, families: list[Metric]) -> tuple[int, list[str]]:
    """Push families in both formats, check that the result is the same, and return it."""
    by_text = result_of_push(pushgateway, as_text(families), CONTENT_TYPE_LATEST)
    by_protobuf = result_of_push(pushgateway, encode(families), CONTENT_TYPE)
    assert by_protobuf == by_text
    return by_protobuf


@ON_A_SERVER
@given(st.one_of(odd_families(), good_families()))
def test_a_real_pushgateway_has_what_it_had_by_text(pushgateway: Pushgateway, families: list[Metric]) -> None:
    status, _ = assert_same_on_a_pushgateway(pushgateway, families)
    event(f"status {status}")


@pytest.mark.parametrize("first", range(6))
def test_a_missing_label_and_an_empty_one_are_two_series_of_a_summary(pushgateway: Pushgateway, first: int) -> None:
    # Prometheus treats an empty label as missing, but a Pushgateway keeps both series, in either format.
    rows: list[tuple[str, dict[str, str], float]] = [
        *(("_count", {}, 1), ("_count", {"a": ""}, 2), ("_sum", {}, 3.0), ("_sum", {"a": ""}, 4.0)),
        *(("", {"quantile": "0.1"}, 5.0), ("", {"quantile": "1", "a": ""}, 6.0)),
    ]
    mixed = [rows[(first + 5 * place) % 6] for place in range(6)]
    status, lines = assert_same_on_a_pushgateway(pushgateway, [family("family_0", "summary", mixed)])
    assert status == 200
    assert sum(line.startswith("family_0_count{") for line in lines) == 2


ODD: dict[str, list[tuple[str, dict[str, str], float]]] = {
    "no bucket of infinity": [("_bucket", {"le": "1"}, 1), ("_count", {}, 3), ("_sum", {}, 9.5)],
    "nothing but buckets": [("_bucket", {"le": "1"}, 1), ("_bucket", {"le": "+Inf"}, 2)],
    "nothing but a count": [("_count", {}, 3)],
    "nothing but a sum": [("_sum", {}, math.nan)],
    "a bucket without a bound": [("_bucket", {}, 3), ("_count", {}, 3)],
    "a bound at the count": [("_count", {"le": "1"}, 3), ("_sum", {"le": "2"}, 4)],
    "a bucket twice": [("_bucket", {"le": "1"}, 1), ("_bucket", {"le": "1.0"}, 2), ("_count", {}, 2)],
    "a count twice": [("_count", {}, 1), ("_count", {}, 2)],
    "buckets out of order": [("_bucket", {"le": "5"}, 4), ("_bucket", {"le": "1"}, 1), ("_count", {}, 4)],
    "two interleaved": [
        ("_sum", {"a": "1"}, 2),
        ("_bucket", {"le": "1", "a": "2"}, 1),
        ("_bucket", {"le": "1", "a": "1"}, 3),
        ("_count", {"a": "2"}, 1),
        ("_bucket", {"le": "+Inf", "a": "1"}, 4),
        ("_count", {"a": "1"}, 4),
    ],
    **{
        f"a count of {value}": [("_bucket", {"le": "1"}, value), ("_count", {}, value), ("_sum", {}, value)]
        for value in (1.5, -0.5, -1.0, math.nan, math.inf, -math.inf, 2.0**63, 2.0**64, 1e300, -1e300)
    },
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_histogram_is_on_a_pushgateway_what_it_was_by_text(pushgateway: Pushgateway, odd: str) -> None:
    status, lines = assert_same_on_a_pushgateway(pushgateway, [family("family_0", "histogram", ODD[odd])])
    assert status == 200
    assert lines


def test_a_family_without_samples_is_not_there(pushgateway: Pushgateway) -> None:
    families = [family("family_0", "gauge", []), family("family_1", "gauge", [("", {}, 1.0)])]
    assert [message.name for message in metric_messages.families(encode(families))] == ["family_1"]
    assert_same_on_a_pushgateway(pushgateway, families)


def numbered(count: int, name: str = "family_0") -> Iterator[Metric]:
    """A family of so many samples."""
    yield family(
        name, "gauge", [("", {"number": str(number), "text": "x" * number}, number) for number in range(count)]
    )


def test_lengths_of_one_two_and_three_bytes_are_read() -> None:
    (message,) = metric_messages.families(encode(numbered(400)))
    assert len(message.metric) == 400
    assert message.ByteSize() > 2**14


@pytest.mark.parametrize("second", [*numbered(1), family("family", "gauge", [("_1", {}, 1.0)])])
def test_what_would_replace_another_family_unseen_is_an_error(second: Metric) -> None:
    # A Pushgateway takes the last of two messages with one name for the family; in text it refuses them.
    with pytest.raises(ValueError, match=r"family_0|family_1"):
        encode([*numbered(1), second])
