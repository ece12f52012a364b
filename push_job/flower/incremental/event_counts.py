"""How many events of tasks a Flower has taken in, from each source: what its ``/metrics`` tells.

Flower counts each event in the moment in which it changes the task (``flower_events_total``, Flower 1.0 and later), and
tells when its process was started and how much it has worked (``process_start_time_seconds`` and
``process_cpu_seconds_total``, on Linux).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")

#: The counters, and when each of them was begun.
_COUNTERS, _BEGUN = "flower_events_total{", "flower_events_created{"

#: What follows this is the kind of a task's event.
_TASK = "task-"


class Sender(NamedTuple):
    """Who sends events in the order of its own clock: a worker, or a client, which only says what it has sent."""

    name: str
    is_client: bool


@dataclass(frozen=True)
class EventCounts:
    """A reading of the counters.

    `started` is the Unix time at which Flower's process was, 0.0 if it does not say; `received` is how many of the
    events told that a worker received a task; `digest` is that of all counters and of when each was begun, empty if
    that is not told; `worked` is how many seconds of CPU the process has had.
    """

    started: float
    by_sender: Counter[Sender]
    received: int
    digest: str = field(default="", compare=False)
    worked: float = field(default=0.0, compare=False)

    def follow(self, earlier: EventCounts) -> bool:
        """Whether these may be of the same process at a later time."""
        kept = all(self.by_sender[source] >= count for source, count in earlier.by_sender.items())
        return self.started == earlier.started and self.received >= earlier.received and kept

    def show_no_event_since(self, earlier: EventCounts) -> bool:
        """Whether there was none for certain.

        A counter may be removed and begun again, and come to the number that it had. An answer that a proxy has kept
        looks like a new one, but its Flower has not worked since.
        """
        is_same = self.started == earlier.started and bool(self.digest) and self.digest == earlier.digest
        return is_same and self.worked > earlier.worked

    def since(self, earlier: EventCounts) -> Counter[Sender]:
        """How many events came since then, from those that sent any."""
        return self.by_sender - earlier.by_sender


def count_events(lines: Iterable[str]) -> EventCounts | None:
    """Read the exposition of Flower's ``/metrics``; None if it does not count events."""
    by_sender: Counter[Sender] = Counter()
    received, started, worked, counts, is_told = 0, 0.0, 0.0, False, False
    digest = hashlib.sha256()
    try:
        for line in lines:
            if line.startswith((_COUNTERS, _BEGUN)):
                digest.update(line.encode() + b"\n")
                is_told = is_told or line.startswith(_BEGUN)
            if line.startswith(_COUNTERS):
                labels, _, value = line.rpartition(" ")
                label = dict(_LABEL.findall(labels))
                kind = label.get("type", "")
                if kind.startswith(_TASK):
                    by_sender[Sender(_unescaped(label.get("worker", "")), kind == "task-sent")] += int(float(value))
                    received += int(float(value)) if kind == "task-received" else 0
            elif line.startswith("process_start_time_seconds "):
                started = float(line.split()[1])
            elif line.startswith("process_cpu_seconds_total "):
                worked = float(line.split()[1])
            counts = counts or line.startswith("# TYPE flower_events_total counter")
    except (ValueError, OverflowError):
        return None
    if not counts:
        return None
    return EventCounts(started, by_sender, received, digest.hexdigest() if is_told else "", worked)


def _unescaped(value: str) -> str:
    """A label's value without the backslashes of the text format."""
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], value)
