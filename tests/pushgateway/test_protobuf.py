"""The encoder's messages, read by the protobuf runtime."""

import math

import pytest
from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.samples import Sample

from push_job.pushgateway.protobuf import encode
from tests import metric_messages


@pytest.mark.parametrize(
    ("count", "encoded"),
    [
        (0, 0),
        (1.0, 1),
        (127, 127),
        (128, 128),
        (2**53, 2**53),
        (-1.0, 2**64 - 1),
        (2.0**64, 2**63),
        (-(2.0**70), 2**63),
    ],
)
def test_counts_are_unsigned_as_in_a_pushgateway(count: float, encoded: int) -> None:
    family = Metric("h", "Help.", "histogram")
    family.samples = [Sample("h_count", {}, count)]
    (message,) = metric_messages.families(encode([family]))
    assert message.metric[0].histogram.sample_count == encoded


@pytest.mark.parametrize("value", [0.0, -1.5, 1e300, math.inf, -math.inf])
def test_a_family_has_its_name_help_labels_and_values(value: float) -> None:
    family = GaugeMetricFamily("g", "Help \u00e4.", labels=["a", "b"])
    family.add_metric(["1", "x" * 300], value)
    family.add_metric(["", "2"], 5)
    (message,) = metric_messages.families(encode([family]))
    assert (message.name, message.help) == ("g", "Help \u00e4.")
    found = [({label.name: label.value for label in metric.label}, metric.gauge.value) for metric in message.metric]
    assert found == [({"a": "1", "b": "x" * 300}, value), ({"a": "", "b": "2"}, 5)]


def test_a_histogram_is_one_metric_per_set_of_labels() -> None:
    family = HistogramMetricFamily("h", "", labels=["name"])
    for name in ("a", "b"):
        family.add_metric([name], buckets=[("0.5", 1), ("+Inf", 3)], sum_value=4.5)
    (message,) = metric_messages.families(encode([family]))
    assert message.help == ""
    for metric, name in zip(message.metric, "ab", strict=True):
        assert metric.label[0].value == name
        assert (metric.histogram.sample_count, metric.histogram.sample_sum) == (3, 4.5)
        assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in metric.histogram.bucket] == [
            (0.5, 1),
            (math.inf, 3),
        ]


def test_families_without_samples_are_left_out_and_names_must_differ() -> None:
    assert encode([GaugeMetricFamily("g", "Help.")]) == b""
    one = GaugeMetricFamily("g", "Help.", value=1)
    with pytest.raises(ValueError, match="g"):
        encode([one, one])
    stray = Metric("g", "Help.", "gauge")
    stray.samples = [Sample("other", {}, 1)]
    with pytest.raises(ValueError, match="other"):
        encode([stray])
