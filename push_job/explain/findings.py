"""Findings: what ``push-job explain`` reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """The severity of a finding, worst first. The value is its name in JSON."""

    WRONG = "wrong"
    UNSURE = "unsure"  # a possible problem, or important information is missing
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One problem, possible problem, gap in the data or note.

    Attributes:
        level: the severity.
        kind: one of the kinds that `rules.KINDS` describes.
        fact: what is known, with times in UTC and ages.
        likely: the likely cause.
        do: the next step: a command, a log line to look for or a setting.
        subject: the worker, queue or task type, as Flower names it; empty if there is not exactly one.
        link: URL of Flower's page of the task to look at.
        unknown: the missing information, for the headline.
        explains: task types that have not succeeded because of this finding.
    """

    level: Level
    kind: str
    fact: str
    likely: str
    do: str
    subject: str = ""
    link: str | None = None
    unknown: str = ""
    explains: frozenset[str] = frozenset()
