"""Workers whose clocks are wrong."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.terminal.formatting import name_words, time_words


def wrong_clocks(facts: Facts) -> Iterator[Finding]:
    """Live workers whose events carry times that cannot be.

    The ages of their tasks are not judged.
    """
    for name, skew in sorted(facts.skews.items(), key=lambda one: (-abs(one[1]), one[0])):
        yield Finding(
            Level.WRONG,
            "clock-skew",
            f"The clock of worker {name_words(name)} is {time_words(abs(skew))} {'fast' if skew > 0 else 'slow'} or"
            " more, by the times of its events",
            "ages of its tasks cannot be judged, neither here nor in the panels and alerts",
            "set the clock of its machine by NTP (chronyc tracking)",
            name,
            unknown="how old the tasks of a worker with a wrong clock are",
        )
