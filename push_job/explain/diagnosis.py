"""Gather the facts of each Flower and judge them, within the deadline."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

from push_job import log
from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.gather import gather
from push_job.explain.rules import findings_of
from push_job.fan_out import FanOut
from push_job.http.client import open_client
from push_job.http.errors import TransportError
from push_job.settings import Endpoint, Settings

#: Seconds after the deadline in which what ends at it can still report itself.
_GRACE = 0.25


@dataclass(frozen=True)
class Diagnosis:
    """The findings about one Flower, worst first.

    `facts` is None if it could not be scraped.
    """

    flower: Endpoint
    facts: Facts | None
    findings: list[Finding]

    @property
    def wrong(self) -> int:
        """How many things are wrong."""
        return sum(finding.level is Level.WRONG for finding in self.findings)


def diagnose(settings: Settings, progress: Callable[[Endpoint, int], None]) -> list[Diagnosis]:
    """A diagnosis of each Flower, in their order; always over soon after the deadline."""
    until = time.monotonic() + settings.deadline
    # What a push would need is there for the questions.
    scraped_by = until - settings.push_reserve

    def judge(flower: Endpoint) -> Diagnosis:
        try:
            with contextlib.closing(open_client(flower, settings)) as client:
                facts = gather(client, settings, until, scraped_by, functools.partial(progress, flower))
            return Diagnosis(flower, facts, findings_of(facts))
        except TransportError as error:
            return _down(flower, str(error))
        except Exception as bug:  # noqa: BLE001 - one odd Flower must not hide the others
            return _down(flower, log.bug_text(bug, flower=flower.address))

    judged = FanOut(settings.flowers, judge)
    judged.wait(until + 2 * _GRACE)
    late = "it did not answer by the deadline"
    return [judged.results.get(flower) or _down(flower, late) for flower in settings.flowers]


def _down(flower: Endpoint, error: str) -> Diagnosis:
    finding = Finding(
        Level.WRONG,
        "flower-down",
        f"Flower cannot be read: {error}",
        "nothing is known of its workers and tasks, which may be well",
        "run push-job check, which says which step fails and how to fix it",
    )
    return Diagnosis(flower, None, [finding])
