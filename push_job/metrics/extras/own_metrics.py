"""What Flower says of itself at ``/metrics``, which more than one extra reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, cast

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_fd_to_metric_families
from prometheus_client.samples import Sample

from push_job.flower.api import Flower, FlowerError

#: The most bytes and lines of a page. What is kept of it and pushed takes many times the room, and has to fit into the
#: memory that the container is given, 128 MiB, beside a hundred thousand tasks.
PAGE_LIMIT = 4 * 2**20
LINES_LIMIT = 60_000


def read_own_metrics(flower: Flower, until: float, wanted: Callable[[str], bool]) -> list[Metric]:
    """The families that are `wanted`, by their name, of what Flower answers to ``/metrics``; raises FlowerError."""
    lines = _bounded(flower.lines("/metrics", until, PAGE_LIMIT), until)
    texts: dict[str, str] = {}
    families: list[Metric] = []
    is_flower = False
    try:
        for family in text_fd_to_metric_families(cast(TextIO, lines)):  # it only iterates over them
            is_flower = is_flower or family.name.startswith("flower_")
            if wanted(family.name):
                _share(family.samples, texts)
                families.append(family)
    except (ValueError, IndexError) as error:  # the parser stumbles over a label without a name
        raise FlowerError("its /metrics is not in Prometheus' text format") from error
    if not is_flower:
        raise FlowerError("its /metrics has no families of Flower (it has them from 1.0 on)")
    return families


def _share(samples: list[Sample], texts: dict[str, str]) -> None:
    """Hold each text once: the parser makes new ones for each sample, and they are alike."""
    for place, sample in enumerate(samples):
        labels = {texts.setdefault(name, name): texts.setdefault(text, text) for name, text in sample.labels.items()}
        samples[place] = Sample(texts.setdefault(sample.name, sample.name), labels, sample.value)


def _bounded(lines: Iterable[str], until: float) -> Iterator[str]:
    """The lines, as long as there is time and memory: a megabyte takes the parser a third of a second."""
    for number, line in enumerate(lines):
        if time.monotonic() > until:
            raise FlowerError("its /metrics was too long to be read before the deadline")
        if number > LINES_LIMIT:
            raise FlowerError(f"its /metrics has more than {LINES_LIMIT:,} lines, which would take too much memory")
        yield line
