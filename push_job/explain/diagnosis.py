"""Gather the facts of each Flower and apply the rules, within the deadline."""

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

#: Grace period after the deadline in seconds, so that a request that has just timed out can report its error.
_GRACE = 0.25


@dataclass(frozen=True)
class Diagnosis:
    """The findings about one Flower.

    Attributes:
        flower: the Flower.
        facts: its facts, or None if it could not be scraped.
        findings: the findings, worst first.
    """

    flower: Endpoint
    facts: Facts | None
    findings: list[Finding]

    @property
    def wrong(self) -> int:
        """The number of findings of level WRONG."""
        return sum(finding.level is Level.WRONG for finding in self.findings)


def diagnose(settings: Settings, progress: Callable[[Endpoint, int], None]) -> list[Diagnosis]:
    """Return a diagnosis of each Flower, in the order of the settings.

    It returns at the deadline or shortly after it, even if a Flower does not answer.

    Args:
        settings: the settings of the run.
        progress: called with a Flower and the number of tasks read so far.
    """
    until = time.monotonic() + settings.deadline
    # The time that is reserved for a push is used for the requests after the scrape.
    scraped_by = until - settings.push_reserve

    def judge(flower: Endpoint) -> Diagnosis:
        try:
            with contextlib.closing(open_client(flower, settings)) as client:
                facts = gather(client, settings, until, scraped_by, functools.partial(progress, flower))
            return Diagnosis(flower, facts, findings_of(facts))
        except TransportError as error:
            return _down(flower, str(error))
        except Exception as bug:  # noqa: BLE001 - one unexpected answer must not hide the findings about other Flowers
            return _down(flower, log.bug_text(bug, flower=flower.address))

    judged = FanOut(settings.flowers, judge)
    judged.wait(until + 2 * _GRACE)
    late = "it did not answer by the deadline"
    return [judged.results.get(flower) or _down(flower, late) for flower in settings.flowers]


def _down(flower: Endpoint, error: str) -> Diagnosis:
    finding = Finding(
        Level.WRONG,
        "flower-down",
        f"Flower cannot be scraped: {error}",
        "the state of its workers and tasks is not known; they may work normally",
        "run push-job check, which shows the step that fails and how to fix it",
    )
    return Diagnosis(flower, None, [finding])
