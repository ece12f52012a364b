"""The values that a table of tasks holds of one task."""

from __future__ import annotations

import math
from typing import NamedTuple


class Content(NamedTuple):
    """The values that are held of a task.

    Attributes:
        stamp: its stamp (Unix time).
        labels: its type and state.
        seconds: its seconds, or the start of its age; see `seconds_of`.
    """

    stamp: float
    labels: tuple[str, str]
    seconds: float

    def counts_like(self, other: Content) -> bool:
        """Return whether both result in the same samples."""
        both = self.seconds, other.seconds
        return self.labels == other.labels and (both[0] == both[1] or all(map(math.isnan, both)))


class Change(NamedTuple):
    """A task that is new or has changed.

    Attributes:
        task_id: its id.
        kind: its type and state.
        stamp: Unix time of its newest event.
        seconds: the result of `seconds_of`.
        text: its text in the watched text column; empty if it has none.
        values: its values in the watched columns.
        former: its former values; None if the task is new.
    """

    task_id: str
    kind: tuple[str, str]
    stamp: float
    seconds: float
    text: str
    values: tuple[float, ...]
    former: tuple[float, ...] | None
