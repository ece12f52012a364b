"""The broker refuses what Flower asks, although workers are heard."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level


def refuses(facts: Facts) -> Iterator[Finding]:
    """Flower hears workers through its broker, which refuses to say its queues."""
    if not (facts.queues.refused and facts.live):
        return
    yield Finding(
        Level.WRONG,
        "broker-refuses",
        f"Workers are alive, but Flower cannot ask its broker for the queues: {facts.queues.error}",
        "likely the broker refuses commands: a Redis at its maxmemory (noeviction), one that is loading or read-only,"
        " or a user without the right to read",
        "run redis-cli INFO memory on the broker (used_memory, maxmemory); Flower's log has the error. If the broker"
        " has just gone away, asking again in ten seconds says so",
        unknown="how many messages wait in the queues",
    )
