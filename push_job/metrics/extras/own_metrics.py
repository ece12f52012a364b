"""Families of Flower's own ``/metrics``, which several extras use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.metrics_core import Metric

from push_job.flower.api import Flower, FlowerError
from push_job.flower.metrics_text import parse_families

#: Limits of the text in bytes and lines. What is kept and pushed of it takes many times its size, and must fit into 128
#: MiB, less than the container's memory limit, together with a hundred thousand tasks.
PAGE_LIMIT = 4 * 2**20
LINES_LIMIT = 60_000


def read_own_metrics(flower: Flower, until: float, wanted: Callable[[str], bool]) -> list[Metric]:
    """Return the families of Flower's ``/metrics`` whose names are `wanted`.

    Raises:
        FlowerError: if ``/metrics`` cannot be read, is too long, or is not Flower's.
    """
    lines = _bounded(flower.metrics_lines(until, PAGE_LIMIT), until)
    families: list[Metric] = []
    is_flower = False
    try:
        for family in parse_families(lines):
            is_flower = is_flower or family.name.startswith("flower_")
            if wanted(family.name):
                families.append(family)
    except ValueError as error:
        raise FlowerError("its /metrics is not in Prometheus' text format") from error
    if not is_flower:
        raise FlowerError("its /metrics has no families of Flower (Flower has them since 1.0)")
    return families


def _bounded(lines: Iterable[str], until: float) -> Iterator[str]:
    """Yield the lines as long as the limits of time and memory allow.

    Raises FlowerError if a limit is exceeded.
    """
    for number, line in enumerate(lines):
        if time.monotonic() > until:
            raise FlowerError("its /metrics was too long to be read before the deadline")
        if number > LINES_LIMIT:
            raise FlowerError(f"its /metrics has more than {LINES_LIMIT:,} lines, which would take too much memory")
        yield line
