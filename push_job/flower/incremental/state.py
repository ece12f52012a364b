"""What is remembered of a Flower from one reading to the next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from push_job.flower.incremental.event_counts import EventCounts, Sender
from push_job.flower.table import TaskTable
from push_job.flower.task import Column, clock_of, received_of

#: The least that is read of the list's front, and of its end.
SMALLEST_FRONT = 500
SMALLEST_END = 500

#: What is remembered of each task beside what is counted.
COLUMNS: tuple[Column, ...] = (received_of, clock_of)


class NotProvenError(Exception):
    """What has changed could not be told for certain; the message says why."""


@dataclass
class Memory:
    """What is known of a Flower from one reading to the next.

    `counts` were read before `tasks` were, None if they were not; `whole_at` is the Unix time here when all was read
    last; `front` is how many tasks of the list's front had to be read last time, and `end` how many of its end are to
    be read; `latecomers` are the sources of new tasks that were left to the next reading; `spare` is how many
    receptions were seen beyond those that were counted; `sent_at` is when a client, by its own clock, is known to have
    sent a task before `tasks` were read, and `noted` what was learnt of that since; `kept` is what extras keep of tasks
    that Flower may forget, numbers by a name of theirs and task type; `by_events_alone` is whether nothing but an event
    changes the list; `unplaced` are tasks of which it is not known where in the list they stand.
    """

    tasks: TaskTable
    counts: EventCounts | None
    by_stamp: bool
    whole_at: float
    front: int = SMALLEST_FRONT
    latecomers: set[Sender] = field(default_factory=set)
    spare: int = 0
    end: int = SMALLEST_END
    sent_at: dict[str, float] = field(default_factory=dict)
    noted: dict[str, float] = field(default_factory=dict)
    kept: dict[str, dict[str, float]] = field(default_factory=dict)
    by_events_alone: bool = False
    unplaced: set[str] = field(default_factory=set)


def new_state(tasks: TaskTable, counts: EventCounts | None, former: Memory | None) -> Memory:
    """The memory of a whole reading, before which the counters were read; `former` is what was known before."""
    by_stamp = tasks.are_by_stamp()
    tasks.close_ranks()
    memory = Memory(tasks, counts, by_stamp, time.time())
    if former:
        memory.kept = former.kept
    if former and is_same_process(former, counts):
        memory.sent_at = {**former.sent_at, **former.noted}
    return memory


def is_same_process(memory: Memory, counts: EventCounts | None) -> bool:
    """Whether the counters are of the Flower process whose tasks are remembered."""
    return memory.counts is not None and counts is not None and memory.counts.started == counts.started
