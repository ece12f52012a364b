"""Flower's own families come out as prometheus_client reads them, though it is spared most of the text."""

import time
from collections.abc import Iterator
from typing import Any, TextIO, cast

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_fd_to_metric_families

from push_job.flower.api import Flower, FlowerError
from push_job.metrics.extras.numbers import float_or_nan
from push_job.metrics.extras.own_metrics import Skimmed, read_own_metrics
from testbed import services
from testbed.services import Worker

FIRST = "# TYPE flower_first gauge"

names = st.sampled_from(["flower_a", "flower_a_total", "flower_a_bucket", "flower_a_count", "flower:b", "ü", "", "7"])
texts = st.one_of(
    st.sampled_from(["", "x", "a b", "{", "}", ",", "=", " # ", "\\\\", '\\"', "\\n", "\\", '"', "ü", "\r", "\x85"]),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=4),
)
labels = st.builds(
    "{}{}{}".format,
    st.sampled_from(["le", "task", "A_1", "_x", "__x", "__name__", '"t"', "ü", ""]),
    st.sampled_from(["=", "=", "=", " = ", ""]),
    st.one_of(texts.map('"{}"'.format), texts.map('"{}"'.format), texts),
)
blocks = st.builds(
    "{}{}{}".format,
    st.sampled_from(["{", "{", "{", " {", ""]),
    st.builds(
        str.join, st.sampled_from([",", ",", ",", ", ", ",,", ""]), st.lists(labels, max_size=3).map(cast(Any, list))
    ),
    st.sampled_from(["}", "}", "}", ",}", ""]),
)
numbers = [
    "0.0",
    "1.0",
    "17",
    "1.79557710699e+09",
    "1e+400",
    "0.1e-7",
    "-1.0",
    "-0",
    "NaN",
    "+Inf",
    "9" * 16,
    "9" * 5000,
]
values = st.sampled_from([*numbers, "0." + "1" * 30, "1_0", "", "x", "1.0 123", "\u0661"])
samples = st.builds("{}{}{}{}".format, names, blocks, st.sampled_from([" ", " ", "  ", "\t", ""]), values)
comments = st.builds(
    "# {} {} {}".format,
    st.sampled_from(["TYPE", "HELP"]),
    st.one_of(names, st.just('""')),
    st.sampled_from(["counter", "gauge", "histogram", "untyped", "two words", ""]),
)
lines = st.one_of(samples, samples, samples, comments, st.sampled_from(["", " ", "#", " # x", "# EOF"]))
usual_lines = st.builds(
    '{}{{le="{}",task="{}"}} {}'.format,
    st.sampled_from(["flower_a", "flower_a_total", "flower_a_bucket"]),
    st.sampled_from(["1.0", "+Inf"]),
    st.sampled_from(["shop.buy", "a,b} c", "ü"]),
    st.sampled_from(["3.0", "1.79557710699e+09"]),
)


class Page:
    """Takes the place of a Flower that answers with these lines."""

    def __init__(self, page: list[str]) -> None:
        self._page = page

    def lines(self, _path: str, _until: float, _limit: int) -> Iterator[str]:
        return iter(self._page)


def told(family: Metric) -> tuple[Any, ...]:
    """What is pushed of a family, a NaN as a text that equals itself."""
    samples = [(sample.name, sample.labels, repr(float_or_nan(sample.value) + 0.0)) for sample in family.samples]
    return family.name, family.type, family.documentation, samples


def ours(page: list[str]) -> list[tuple[Any, ...]]:
    return [*map(told, read_own_metrics(cast(Flower, Page(page)), time.monotonic() + 60, lambda _: True))]


def the_librarys(page: list[str]) -> list[tuple[Any, ...]]:
    return [*map(told, text_fd_to_metric_families(cast(TextIO, iter(page))))]


@given(st.one_of(st.lists(lines, max_size=6), st.lists(st.one_of(usual_lines, usual_lines, comments), max_size=12)))
@settings(deadline=None, max_examples=400)
def test_a_page_is_read_as_the_library_reads_it_or_refused(some: list[str]) -> None:
    page = [FIRST, *some]
    try:
        expected = the_librarys(page)
    except (ValueError, IndexError):
        event("refused")
        with pytest.raises(FlowerError, match="not in Prometheus' text format"):
            ours(page)
        return
    assume(
        sum(len(samples) for *_, samples in expected)
        == sum(bool(line) for line in map(str.strip, some) if line[:1] != "#")
    )
    event(f"{sum(line.endswith('{} 0') for line in Skimmed(page))} lines spared")

    assert ours(page) == expected


def test_what_the_library_swallows_makes_the_page_none() -> None:
    page = [FIRST, '# TYPE "" gauge', '{"",a="b"} 1', "# TYPE flower_b gauge", 'flower_b{a="x"} 3']
    assert [name for name, *_ in the_librarys(page)] == ["flower_first", "flower_b"]

    with pytest.raises(FlowerError, match="not in Prometheus' text format"):
        ours(page)


def test_the_library_is_spared_every_label_that_flower_writes(flower: services.Flower, worker: Worker) -> None:
    page = flower.client.get(f"{flower.url}/metrics").split("\n")
    labelled = [line for line in page if not line.startswith("#") and "{" in line]
    assert any(worker.node in line for line in labelled)

    assert [line for line in Skimmed(labelled) if not line.endswith("{} 0")] == []
