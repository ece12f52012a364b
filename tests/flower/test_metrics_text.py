"""The parser of Prometheus' text format agrees with that of prometheus_client.

It takes linear time.
"""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from push_job.flower.metrics_text import LINE_LIMIT, parse_families, parse_sample

ODD_LABELS = ("", "a b", 'quote " and \\ backslash', "two\nlines", "日本", "}", ",", "=", "{x}")


def exposition() -> str:
    registry = CollectorRegistry()
    counter = Counter("flower_events", "Events \\ with\nodd help.", ["worker", "type"], registry=registry)
    for label in ODD_LABELS:
        counter.labels(label, "task-sent").inc(3)
    Gauge("flower_gauge", "", registry=registry).set(-1.5e300)
    Histogram("flower_seconds", "Seconds.", ["task"], registry=registry).labels("t").observe(0.3)
    Summary("flower_summary", "Summary.", registry=registry).observe(2)
    Gauge("flower_empty", "No sample.", ["x"], registry=registry)
    return generate_latest(registry).decode() + 'loose_sample{a="b"} 5 1700000000000\n'


def test_families_are_those_of_prometheus_client() -> None:
    text = exposition()
    ours = list(parse_families(text.split("\n")))
    theirs = list(text_string_to_metric_families(text))
    assert [(f.name, f.type, f.documentation) for f in ours] == [(f.name, f.type, f.documentation) for f in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert [(s.name, s.labels, s.value) for s in our.samples] == [
            (s.name, s.labels, s.value) for s in their.samples
        ]


@pytest.mark.parametrize(
    "line",
    [
        "name",
        "name{",
        'name{a="b" 1',
        'name{a="b"',
        'name{a="b"}',
        'name{="b"} 1',
        "name{a=b} 1",
        "name one",
        "name 1 2 3",
        "<html>",
        '{a="b"} 1',
        "",
    ],
)
def test_anything_else_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"not a sample|invalid labels|could not convert"):
        parse_sample(line)


def test_a_quoted_name_and_a_quoted_label_are_read() -> None:
    sample = parse_sample('{"my.name","my label"="x",b="y"} 7')
    assert (sample.name, sample.labels, sample.value) == ("my.name", {"my label": "x", "b": "y"}, 7.0)


@pytest.mark.parametrize("piece", ['a="', 'a="b",', '"', "\\", "{", "a=", " "])
def test_a_hostile_line_of_the_largest_size_is_read_once(piece: str) -> None:
    # A parser that takes quadratic time would need minutes for these.
    for _ in range(20):
        line = "flower_events_total{" + piece * (LINE_LIMIT // len(piece))
        with pytest.raises(ValueError, match=r".*"):
            parse_sample(line)
