"""The rules: functions that derive findings from facts, most important first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pkgutil import resolve_name

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding

Rule = Callable[[Facts], Iterator[Finding]]

#: The rules, each by its module in this folder and its function.
_ORDER = (
    "broker:refuses",
    "workers:none_alive",
    "queues:without_consumer",
    "workers:lost_workers",
    "ended_unheard:ended_unheard",
    "capacity:full",
    "capacity:held_back",
    "stuck:stuck",
    "repeats:repeated",
    "redelivered:redelivered",
    "lost_messages:lost_messages",
    "waiting:waiting",
    "capacity:idle",
    "failing:failing",
    "expired:expired",
    "consumer_timeout:held_for_long",
    "clocks:wrong_clocks",
    "node_names:shared_names",
    "overdue:overdue",
    "workers:shut_down_cleanly",
    "unknown:no_events",
    "unknown:unanswered",
    "unknown:silent_workers",
    "unknown:queues_unknown",
    "unknown:sending_unknown",
    "unknown:without_tasks",
    "unknown:flower_full",
    "full_scrapes:full_scrapes",
)

RULES: tuple[Rule, ...] = tuple(resolve_name(f"{__name__}.{rule}") for rule in _ORDER)

#: When each kind of finding is found, in Markdown; docs/trouble.md shows it. The names are stable.
KINDS: dict[str, str] = {
    "flower-down": "a Flower could not be scraped",
    **{kind: text for rule in RULES for kind, text in sys.modules[rule.__module__].KINDS.items()},
}


def findings_of(facts: Facts) -> list[Finding]:
    """Return all findings, worst first.

    A type is not reported as overdue if another finding explains why it has not succeeded.
    """
    findings = [finding for rule in RULES for finding in rule(facts)]
    explained = frozenset().union(*(finding.explains for finding in findings))
    return [finding for finding in findings if finding.kind != "overdue" or finding.subject not in explained]
