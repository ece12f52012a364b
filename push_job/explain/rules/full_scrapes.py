"""Rule: push-job's own scrapes of Flower cost more than they should."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "full-scrapes": (
        "a note: with `--state-file`, at least three attempts of push-job in a row to read only what changed have "
        "failed ([state.md](state.md)); shows the last reason"
    ),
}

#: Failed attempts in a row. Fewer are normal.
_FAILURES = 3


def full_scrapes(facts: Facts) -> Iterator[Finding]:
    """Report that push-job reads all tasks of this Flower again and again."""
    if facts.failed_incremental_scrapes >= _FAILURES:
        yield Finding(
            Level.NOTE,
            "full-scrapes",
            f"The last {facts.failed_incremental_scrapes} attempts of push-job to read only what changed have failed:"
            f" {facts.incremental_scrape_error}",
            "the numbers are exact, but push-job reads all tasks of this Flower, which takes more of its CPU time",
            "look up the reason in docs/state.md; if Flower has enough CPU, nothing is to be done",
        )
