"""An invalid line in Flower's /metrics is an error of its own."""

import time
from collections.abc import Iterator
from typing import cast

import pytest

from push_job.flower.api import Flower, FlowerError
from push_job.metrics.extras.own_metrics import read_own_metrics


class Page:
    """Stands in for a Flower that answers with these lines."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines

    def metrics_lines(self, _until: float, _limit: int) -> Iterator[str]:
        return iter(self._lines)


@pytest.mark.parametrize("line", ['flower_a{="x"} 1', 'flower_a{task="x} 1', "flower_a one", "<html>"])
def test_an_invalid_line_is_an_error(line: str) -> None:
    page = cast(Flower, Page("# TYPE flower_a gauge", line))
    with pytest.raises(FlowerError, match="not in Prometheus' text format"):
        read_own_metrics(page, time.monotonic() + 60, lambda _: True)
