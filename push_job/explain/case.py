"""One Flower's case, and what a finding in it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import quote

from push_job.explain.asking import Asking, FoundTask, Worker
from push_job.explain.facts import Facts

_LONGEST_ID = 200

#: Seconds by which two tellings of a moment may differ: the time between two questions, and rounding.
SAME = 60


class Level(Enum):
    """How much a finding matters; the value is how it is called in JSON."""

    WRONG = "wrong"
    UNSURE = "unsure"  # something keeps Flower from knowing
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing.

    Attributes:
        kind: one word for each rule, for programs.
        fact: what is known.
        likely: what it likely means.
        do: what to do.
        subject: the worker, queue or task type that it is about, as Flower has it.
        link: Flower's page of the task to look at.
    """

    level: Level
    kind: str
    fact: str
    likely: str
    do: str
    subject: str = ""
    link: str | None = None


@dataclass
class Case:
    """One Flower: its facts, whom to ask for more, and what was found so far.

    Attributes:
        now: Flower's Unix time.
        scanned: the same when the scrape of the facts began.
        told: task types whose trouble has been told.
        held_up: task types whose next success is held up by what has been told.
        explained: those workers, and the routing keys of those queues: which task waits for them is no news.
    """

    url: str
    facts: Facts
    ask: Asking
    listed: dict[str, Worker]
    now: float
    scanned: float
    started_at: float | None
    told: set[str] = field(default_factory=set)
    held_up: set[str] = field(default_factory=set)
    explained: set[str] = field(default_factory=set)

    def holds_up(self, name: str, since: float | None) -> None:
        """Note that what was told of a task of this type, `since` a Unix time, holds up the type's next success.

        What is older than the last success does not: others succeeded meanwhile.
        """
        if since is None or since > self.facts.last_success.get(name, 0.0):
            self.held_up.add(name)

    def link(self, task: FoundTask | None) -> str | None:
        """Flower's page of the task."""
        return f"{self.url}/task/{quote(task.id, safe='')}" if task and len(task.id) <= _LONGEST_ID else None

    @property
    def flowers_age(self) -> float | None:
        """Seconds since Flower's start, where it is known."""
        return None if self.started_at is None else max(0.0, self.now - self.started_at)
