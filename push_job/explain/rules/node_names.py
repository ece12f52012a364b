"""Rule: workers that share one node name."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.terminal.formatting import format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "shared-node-name": "two processes send heartbeats under the same node name",
}


def shared_names(facts: Facts) -> Iterator[Finding]:
    """Report node names under which more than one process sends heartbeats."""
    for worker in facts.live:
        if len(worker.pids) > 1:
            yield Finding(
                Level.WRONG,
                "shared-node-name",
                f"More than one worker runs under the name {format_name(worker.name)} (process ids"
                f" {', '.join(map(str, sorted(worker.pids)))})",
                "Flower and Celery treat them as one worker: its numbers alternate, and remote control reaches both",
                "give each worker a unique node name: -n NAME@%h",
                worker.name,
            )
