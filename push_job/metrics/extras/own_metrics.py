"""What Flower says of itself at ``/metrics``, which more than one extra reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import StringIO
from typing import TextIO, cast

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_fd_to_metric_families

from push_job.flower.api import Flower, FlowerError


def read_own_metrics(flower: Flower, until: float) -> list[Metric]:
    """What Flower answers to ``/metrics``; raises FlowerError."""
    text = flower.get_text("/metrics", until)
    try:
        families = list(text_fd_to_metric_families(cast(TextIO, _lines(text, until))))  # it only iterates over them
    except ValueError as error:
        raise FlowerError("its /metrics is not in Prometheus' text format") from error
    if not any(family.name.startswith("flower_") for family in families):
        raise FlowerError("its /metrics has no families of Flower (it has them from 1.0 on)")
    return families


def _lines(text: str, until: float) -> Iterator[str]:
    """The lines of a text, as long as there is time: a megabyte takes the parser a third of a second."""
    for line in StringIO(text):
        if time.monotonic() > until:
            raise FlowerError("its /metrics was too long to be read before the deadline")
        yield line
