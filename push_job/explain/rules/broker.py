"""Rule: the broker refuses Flower's requests but delivers events of workers."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "broker-refuses": "workers are alive, but the broker refuses Flower's request for its queues (HTTP 500)",
}


def refuses(facts: Facts) -> Iterator[Finding]:
    """Report a broker that delivers events to Flower but refuses to list its queues."""
    if not (facts.queues.refused and facts.live):
        return
    yield Finding(
        Level.WRONG,
        "broker-refuses",
        f"Workers are alive, but Flower cannot read the queues from its broker: {facts.queues.error}",
        "likely the broker refuses commands: Redis has reached maxmemory (noeviction), is loading or is read-only, or"
        " Flower's user has no permission to read",
        "run redis-cli INFO memory on the broker (used_memory, maxmemory) and read the error in Flower's log. If the"
        " broker has only just stopped, run this again in ten seconds",
        unknown="how many messages wait in the queues",
    )
