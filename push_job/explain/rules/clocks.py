"""Rule: workers whose clocks are wrong."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.terminal.formatting import format_duration, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "clock-skew": (
        "the event times of a live worker are wrong by a minute or more; the ages of its tasks are not evaluated"
    ),
}


def wrong_clocks(facts: Facts) -> Iterator[Finding]:
    """Report live workers whose events have impossible time stamps.

    Other rules ignore the ages of their tasks.
    """
    for name, skew in sorted(facts.skews.items(), key=lambda one: (-abs(one[1]), one[0])):
        yield Finding(
            Level.WRONG,
            "clock-skew",
            f"The clock of worker {format_name(name)} is at least {format_duration(abs(skew))}"
            f" {'fast' if skew > 0 else 'slow'}, according to its events",
            "the ages of its tasks are wrong, here and in the panels and alerts",
            "synchronize the clock of its machine with NTP (check with chronyc tracking)",
            name,
            unknown="the ages of the tasks of a worker with a wrong clock",
        )
