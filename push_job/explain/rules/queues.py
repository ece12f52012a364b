"""Rule: queues without a consumer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import Task
from push_job.explain.phrases import oldest, types, when
from push_job.terminal.formatting import format_count, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "no-consumer": "messages wait in a queue, or tasks are PENDING with a routing key, that no live worker consumes",
}


def without_consumer(facts: Facts) -> Iterator[Finding]:
    """Report queues with messages that no live worker consumes.

    Routing keys of PENDING tasks that no live worker consumes are reported too.
    """
    if not facts.live:
        return  # the rules on workers report this
    without_queue = unrouted(facts)
    counts = {queue.name: queue.ready for queue in facts.waiting_queues if facts.consumers(queue.name) == 0}
    for name in sorted({*counts, *without_queue}, key=lambda name: (-counts.get(name, 0), name)):
        tasks = without_queue.get(name, [])
        first = oldest(tasks, facts.now)
        since = f", the oldest since {when(facts, first.sent or first.since or facts.now)}" if first else ""
        what = (
            f"{format_count(counts[name], 'message')} in the queue"
            if name in counts
            else f"{format_count(len(tasks), 'task')} PENDING with that routing key"
        )
        yield Finding(
            Level.WRONG,
            "no-consumer",
            f"No live worker consumes {format_name(name)}: {what}{since}",
            "likely the name is misspelled in task_routes or apply_async, its worker is down or was started with"
            " another -Q, or cancel_consumer was called",
            f"start a worker with -Q {format_name(name)}, or correct the name where the task is sent",
            name,
            facts.link(first),
            explains=types(tasks),
        )


def unrouted(facts: Facts) -> dict[str, list[Task]]:
    """Return PENDING tasks not routed to a queue of a live worker, by routing key."""
    if facts.consumed_queues is None:
        return {}
    found: dict[str, list[Task]] = defaultdict(list)
    for task in facts.tasks_in("PENDING"):
        if task.route.routing_key and not any(queue.receives(task.route) for queue in facts.all_consumed):
            found[task.route.routing_key].append(task)
    return found
