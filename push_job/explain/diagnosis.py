"""Scrapes each Flower once, asks what is left to ask, and judges."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from push_job import log
from push_job.explain.asking import Asking
from push_job.explain.case import Case, Finding, Level
from push_job.explain.facts import EXTRAS, Facts
from push_job.explain.findings import findings_of
from push_job.fan_out import FanOut
from push_job.flower.api import Flower
from push_job.http.client import Client
from push_job.job import Job
from push_job.settings import Endpoint, Settings

#: Seconds after the deadline in which what ends at it may still say so itself.
_GRACE = 0.25


@dataclass(frozen=True)
class Diagnosis:
    """What was found with one Flower, worst first; `facts` is None if it could not be scraped."""

    flower: Endpoint
    facts: Facts | None
    findings: list[Finding]

    @property
    def wrong(self) -> int:
        """How many things are wrong."""
        return sum(finding.level is Level.WRONG for finding in self.findings)


def diagnose(settings: Settings, progress: Callable[[Endpoint, int], None]) -> list[Diagnosis]:
    """A diagnosis of each Flower, in their order; over soon after the deadline, come what may."""
    until = time.monotonic() + settings.deadline
    # What is kept back for a push is there for the questions.
    scraped_by = until - settings.push_reserve

    def judge(flower: Endpoint) -> Diagnosis:
        # Scraped by itself: one that hangs must not take the time to ask the others.
        began = time.monotonic()
        alone = replace(settings, flowers=(flower,), extras=EXTRAS, deadline=max(0.0, scraped_by - began))
        scrape = Job(alone, progress).scrape()[flower]
        if scrape.snapshot is None:
            return _down(flower, scrape.error or "")
        try:
            return _judged(flower, Facts.of(scrape.snapshot), settings.timeout, began, until)
        except Exception as bug:  # noqa: BLE001 - one odd Flower must not keep the others from being told of
            log.event(logging.DEBUG, "traceback", flower=flower.address, traceback=traceback.format_exc())
            return _down(flower, f"a mistake in push-job: {type(bug).__name__}: {bug}; please report it")

    judged = FanOut(settings.flowers, judge)
    judged.wait(until + 2 * _GRACE)
    late = "it fell silent before all was asked"
    return [judged.results.get(flower) or _down(flower, late) for flower in settings.flowers]


def _judged(flower: Endpoint, facts: Facts, timeout: float, began: float, until: float) -> Diagnosis:
    with contextlib.closing(Client(flower, timeout)) as client:
        ask = Asking(Flower(client), until)
        listed, now = ask.workers()
        scanned = now - (time.monotonic() - began)
        return Diagnosis(
            flower, facts, findings_of(Case(flower.url, facts, ask, listed, now, scanned, ask.started_at()))
        )


def _down(flower: Endpoint, error: str) -> Diagnosis:
    finding = Finding(
        Level.WRONG,
        "flower-down",
        f"Flower cannot be read: {error}",
        "nothing is known of its workers and tasks, which may be well",
        "try push-job check, which tells the step that fails, and the cure",
    )
    return Diagnosis(flower, None, [finding])
