"""Rule: tasks that expire before a worker starts them."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import when
from push_job.terminal.formatting import format_count, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "expired": "at least three tasks of a type expired before a worker started them, and none has succeeded since",
}

#: Number of tasks of a type that have expired since its last success, and seconds within which they have.
EXPIRED_OF_A_TYPE = 3
RECENTLY = 3600


def expired(facts: Facts) -> Iterator[Finding]:
    """Report types of which all recent tasks have expired."""
    for name in sorted({task.name for task in facts.revoked}):
        kind = facts.types.get(name)
        last_success = (kind.last_success if kind else None) or 0.0
        tasks = [
            task
            for task in facts.revoked
            if task.name == name and task.has_expired and (task.stamp or 0.0) > last_success
        ]
        recent = [task for task in tasks if facts.age(task.stamp) <= RECENTLY]
        if len(recent) >= EXPIRED_OF_A_TYPE:
            newest = max(recent, key=lambda task: (task.stamp or 0.0, task.id))
            yield Finding(
                Level.WRONG,
                "expired",
                f"{format_name(name)}: {format_count(len(tasks), 'task')} expired before a worker started them, the"
                f" last one at {when(facts, newest.stamp or facts.now)}; none has succeeded since the first of them",
                "likely they wait longer than their expires allows: too few workers, a long task before them, or"
                " different clocks of sender and worker",
                "compare expires in apply_async or beat_schedule with the usual wait; add workers or raise expires",
                name,
                facts.link(newest),
                explains=frozenset({name}),
            )
