"""How many events of tasks a Flower has taken in, from each source: what its ``/metrics`` tells.

Flower counts each event in the moment in which it changes the task (``flower_events_total``, Flower 1.0 and later), and
tells when its process was started (``process_start_time_seconds``, on Linux).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")

#: What follows this is the kind of a task's event.
_TASK = "task-"


class Source(NamedTuple):
    """Who sends events in the order of its own clock: a worker, or a client, which only says what it has sent."""

    name: str
    is_client: bool


@dataclass(frozen=True)
class EventCounts:
    """A reading of the counters.

    `started` is the Unix time at which Flower's process was, 0.0 if it does not say; `received` is how many of the
    events told that a worker received a task.
    """

    started: float
    by_source: Counter[Source]
    received: int

    def follow(self, earlier: EventCounts) -> bool:
        """Whether these may be of the same process at a later time."""
        kept = all(self.by_source[source] >= count for source, count in earlier.by_source.items())
        return self.started == earlier.started and self.received >= earlier.received and kept

    def since(self, earlier: EventCounts) -> Counter[Source]:
        """How many events came since then, from those that sent any."""
        return self.by_source - earlier.by_source


def count_events(lines: Iterable[str]) -> EventCounts | None:
    """Read the exposition of Flower's ``/metrics``; None if it does not count events."""
    by_source: Counter[Source] = Counter()
    received, started, counts = 0, 0.0, False
    try:
        for line in lines:
            if line.startswith("flower_events_total{"):
                labels, _, value = line.rpartition(" ")
                label = dict(_LABEL.findall(labels))
                kind = label.get("type", "")
                if kind.startswith(_TASK):
                    by_source[Source(_unescaped(label.get("worker", "")), kind == "task-sent")] += int(float(value))
                    received += int(float(value)) if kind == "task-received" else 0
            elif line.startswith("process_start_time_seconds "):
                started = float(line.split()[1])
            counts = counts or line.startswith("# TYPE flower_events_total counter")
    except (ValueError, OverflowError):
        return None
    return EventCounts(started, by_source, received) if counts else None


def _unescaped(value: str) -> str:
    """A label's value without the backslashes of the text format."""
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], value)
