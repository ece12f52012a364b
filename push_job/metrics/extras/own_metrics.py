"""What Flower says of itself at ``/metrics``, which more than one extra reads."""

from __future__ import annotations

import re
import time
from collections import deque
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

#: A sample as Flower writes it: its name, its labels without any escape, and its value.
_LABEL = r'[a-zA-Z][a-zA-Z0-9_]*="[^"\\\n]*"'
_VALUE = r"[0-9]{1,15}(?:\.[0-9]{1,20})?(?:e\+[0-9]{1,2})?"
_SAMPLE = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)\{{({_LABEL}(?:,{_LABEL})*)\}} ({_VALUE})", re.ASCII)
_PAIR = re.compile(r'(\w+)="([^"]*)"', re.ASCII)


def read_own_metrics(flower: Flower, until: float, wanted: Callable[[str], bool]) -> list[Metric]:
    """The families that are `wanted`, by their name, of what Flower answers to ``/metrics``; raises FlowerError."""
    lines = Skimmed(_bounded(flower.lines("/metrics", until, PAGE_LIMIT), until))
    families: list[Metric] = []
    is_flower = False
    try:
        for family in text_fd_to_metric_families(cast(TextIO, lines)):  # it only iterates over them
            is_flower = is_flower or family.name.startswith("flower_")
            lines.fill(family.samples)
            if wanted(family.name):
                families.append(family)
        lines.check_all_filled()
    except (ValueError, IndexError) as error:  # the parser stumbles over a label without a name
        raise FlowerError("its /metrics is not in Prometheus' text format") from error
    if not is_flower:
        raise FlowerError("its /metrics has no families of Flower (it has them from 1.0 on)")
    return families


class Skimmed:
    """Lines of the text format for prometheus_client's parser, without what it takes long for.

    The parser looks at every character of a sample's labels, in Python. Labels and values as Flower writes them are
    read here, by a regular expression, and put back into the parser's samples by `fill`; it makes one of each line, in
    their order. What is written otherwise is the parser's to read or to refuse.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self._read: deque[tuple[dict[str, str], float] | None] = deque()
        self._texts: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            usual = _SAMPLE.fullmatch(line)
            pairs = _PAIR.findall(usual[2]) if usual else []
            labels = {self._once(name): self._once(text) for name, text in pairs}
            if usual and len(labels) == len(pairs):
                self._read.append((labels, float(usual[3])))
                yield f"{usual[1]}{{}} 0"
            else:
                if not line.lstrip().startswith("#") and line.strip():
                    self._read.append(None)
                yield line

    def fill(self, samples: list[Sample]) -> None:
        """Put back the labels and values of these samples, which follow those of the call before."""
        for place, sample in enumerate(samples):
            labels, value = self._read.popleft() or (sample.labels, sample.value)
            samples[place] = Sample(self._once(sample.name), labels, value)

    def check_all_filled(self) -> None:
        """Raise ValueError if the parser swallowed a sample, so that what follows it was given another one's labels."""
        if self._read:
            raise ValueError

    def _once(self, text: str) -> str:
        """Each text is held once, for they are alike."""
        return self._texts.setdefault(text, text)


def _bounded(lines: Iterable[str], until: float) -> Iterator[str]:
    """The lines, as long as there is time and memory: a megabyte takes the parser a tenth of a second."""
    for number, line in enumerate(lines):
        if time.monotonic() > until:
            raise FlowerError("its /metrics was too long to be read before the deadline")
        if number > LINES_LIMIT:
            raise FlowerError(f"its /metrics has more than {LINES_LIMIT:,} lines, which would take too much memory")
        yield line
