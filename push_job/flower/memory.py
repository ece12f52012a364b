"""What is remembered of a Flower from one reading to the next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from push_job.flower.event_counts import EventCounts, Source
from push_job.flower.task import Column, received_of
from push_job.flower.tasks import Tasks

#: The least that is read of the list's front, and of its end.
SMALLEST_FRONT = 500
SMALLEST_END = 500

#: What is remembered of each task beside what is counted.
COLUMNS: tuple[Column, ...] = (received_of,)


@dataclass
class Memory:
    """What is known of a Flower from one reading to the next.

    `counts` were read before `tasks` were; `whole_at` is the Unix time here when all was read last; `front` is how many
    tasks of the list's front had to be read last time; `latecomers` are the sources of new tasks that
    were left to the next reading; `spare` is how many receptions were seen beyond those that were counted;
    `end` is how many tasks of the list's end are to be read; `sent_at` is when a client, by its own clock, is known to
    have sent a task before `tasks` were read, and `noted` what was learnt of that since.
    """

    tasks: Tasks
    counts: EventCounts
    by_stamp: bool
    whole_at: float
    front: int = SMALLEST_FRONT
    latecomers: set[Source] = field(default_factory=set)
    spare: int = 0
    end: int = SMALLEST_END
    sent_at: dict[str, float] = field(default_factory=dict)
    noted: dict[str, float] = field(default_factory=dict)


def begin_memory(tasks: Tasks, counts: EventCounts, former: Memory | None = None) -> Memory:
    """The memory of a whole reading, before which the counters were read; `former` is that of the same process."""
    by_stamp = tasks.are_by_stamp()
    tasks.close_ranks()
    sent_at = {**former.sent_at, **former.noted} if former else {}
    return Memory(tasks, counts, by_stamp, time.time(), sent_at=sent_at)
