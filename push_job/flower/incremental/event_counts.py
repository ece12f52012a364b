"""Flower's own counters of task events, from its ``/metrics``.

Flower increments ``flower_events_total{worker,type,task}`` when an event changes
a task (Flower 1.0 and later). On Linux it also exports the start time of its
process and the CPU time that the process has used.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from push_job.flower.api import Flower, FlowerError, optional_deadline
from push_job.flower.metrics_text import parse_sample

_COUNTERS, _CREATED = "flower_events_total{", "flower_events_created{"
_STARTED, _CPU = "process_start_time_seconds ", "process_cpu_seconds_total "
_TASK_PREFIX = "task-"

#: Characters of a series whose labels are cached. Most series are the same in every reading.
_SHORT = 400


class Sender(NamedTuple):
    """A sender of events, which sends them in the order of its own clock.

    Attributes:
        name: node name of a worker, or name of a client.
        is_client: whether it is a client, which only sends ``task-sent``.
    """

    name: str
    is_client: bool


class EventKind(NamedTuple):
    """A kind of event.

    Attributes:
        type: type of the event, such as ``succeeded``.
        task_type: the task type as Flower knew it; empty if Flower did not know it.
    """

    type: str
    task_type: str


@dataclass(frozen=True)
class EventCounts:
    """One reading of the counters.

    Attributes:
        started: Unix time at which Flower's process started; 0.0 if it is not exported.
        cpu: CPU seconds that the process has used; 0.0 if they are not exported.
        by_sender: number of task events by sender.
        by_kind: number of task events by kind.
        digest: digest of all counters and their start times; empty if the start times are not exported.
        first_event: Unix time at which the process received its first event; 0.0 if the start times are not exported.
    """

    started: float
    cpu: float
    by_sender: Counter[Sender]
    by_kind: Counter[EventKind]
    digest: str = field(default="", compare=False)
    first_event: float = field(default=0.0, compare=False)

    def follows(self, earlier: EventCounts) -> bool:
        """Return whether these are later counters of the same process.

        Without a start time, a Flower that restarted from an older saved state could not be recognized. Counters of a
        process that has not used CPU since are an old answer out of a cache.
        """
        same_process = self.started == earlier.started != 0.0
        no_decrease = all(self.by_kind[kind] >= count for kind, count in earlier.by_kind.items())
        return same_process and no_decrease and self.cpu > earlier.cpu

    def is_unchanged_since(self, earlier: EventCounts) -> bool:
        """Return whether no event was counted since `earlier`, which these follow.

        The digest has the counters' start times: a counter may be removed, start again and reach its former value.
        """
        return bool(self.digest) and self.digest == earlier.digest

    def senders_since(self, earlier: EventCounts) -> Counter[Sender]:
        """Return the number of events since `earlier`, by sender.

        Senders that sent none are left out.
        """
        return self.by_sender - earlier.by_sender

    def kinds_since(self, earlier: EventCounts) -> Counter[EventKind]:
        """Return the number of events since `earlier`, by kind.

        Kinds that did not occur are left out.
        """
        return self.by_kind - earlier.by_kind


def read_event_counts(flower: Flower, until: float) -> EventCounts | None:
    """Read the counters; return None if Flower does not export them.

    A failed connection is tried again. A request that hangs is not, because everything else still has to be read.

    Raises:
        FlowerError: if they cannot be read in the time of an optional answer.
    """
    soon = optional_deadline(until)
    try:
        return flower.client.retrying(lambda: parse_event_counts(flower.metrics_lines(soon)), soon)
    except FlowerError as error:
        if not soon <= time.monotonic() < until:
            raise
        reason = "its /metrics did not answer in the part of the time that was reserved for it"
        raise FlowerError(reason, transient=True, overloaded=True) from error


def parse_event_counts(lines: Iterable[str]) -> EventCounts | None:
    """Parse the event counters in Flower's ``/metrics``.

    Return None if the text has no event counters or is invalid.
    """
    by_sender: Counter[Sender] = Counter()
    by_kind: Counter[EventKind] = Counter()
    started, cpu, has_counters, first_event = 0.0, 0.0, False, math.inf
    digest = hashlib.sha256()
    try:
        for line in lines:
            if line.startswith(_CREATED):
                digest.update(line.encode() + b"\n")
                first_event = min(first_event, float(line.rpartition(" ")[2]))
            elif line.startswith(_COUNTERS):
                digest.update(line.encode() + b"\n")
                series, _, value = line.rpartition(" ")
                identity = _identity_of(series) if len(series) < _SHORT else _parse_identity(series)
                if identity is not None:
                    by_sender[identity[0]] += int(float(value))
                    by_kind[identity[1]] += int(float(value))
            elif line.startswith(_STARTED):
                started = float(line.split()[1])
            elif line.startswith(_CPU):
                cpu = float(line.split()[1])
            has_counters = has_counters or line.startswith("# TYPE flower_events_total counter")
    except (ValueError, OverflowError):
        return None
    if not has_counters:
        return None
    if first_event == math.inf:
        return EventCounts(started, cpu, by_sender, by_kind)
    return EventCounts(started, cpu, by_sender, by_kind, digest.hexdigest(), first_event)


def _parse_identity(series: str) -> tuple[Sender, EventKind] | None:
    """Return sender and kind of a series ``flower_events_total{...}``, or None.

    Return None if the series does not count task events.
    """
    labels = parse_sample(f"{series} 0").labels
    event_type = labels.get("type", "")
    if not event_type.startswith(_TASK_PREFIX):
        return None
    sender = Sender(labels.get("worker", ""), event_type == "task-sent")
    return sender, EventKind(event_type.removeprefix(_TASK_PREFIX), labels.get("task", ""))


_identity_of = lru_cache(maxsize=10_000)(_parse_identity)
