"""Queues that nobody consumes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from push_job.explain.facts import ConsumedQueue, Facts, Task
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import oldest, types, when
from push_job.terminal.formatting import count_words, name_words


def without_consumer(facts: Facts) -> Iterator[Finding]:
    """Messages in a queue, or tasks with a routing key, that nobody consumes."""
    if not facts.live:
        return  # reported as such
    without_queue = unrouted(facts)
    counts = {queue.name: queue.ready for queue in facts.waiting_queues if facts.consumers(queue.name) == 0}
    for name in sorted({*counts, *without_queue}, key=lambda name: (-counts.get(name, 0), name)):
        tasks = without_queue.get(name, [])
        first = oldest(tasks, facts.now)
        since = f", the oldest since {when(facts, first.since)}" if first and first.since else ""
        what = (
            f"{count_words(counts[name], 'message')} in it"
            if name in counts
            else f"{count_words(len(tasks), 'task')} PENDING with that routing key"
        )
        yield Finding(
            Level.WRONG,
            "no-consumer",
            f"No live worker consumes {name_words(name)}: {what}{since}",
            "likely its name is mistyped in task_routes or apply_async, its worker is down or was started with another"
            " -Q, or cancel_consumer took it",
            f"start a worker with -Q {name_words(name)}, or correct the name where the task is sent",
            name,
            facts.link(first),
            explains=types(tasks),
        )


def unrouted(facts: Facts) -> dict[str, list[Task]]:
    """The PENDING tasks that no queue of a live worker gets, by routing key."""
    if facts.consumed_queues is None:
        return {}
    found: dict[str, list[Task]] = defaultdict(list)
    for task in facts.tasks_in("PENDING"):
        if task.routing_key and not any(gets(queue, task) for queue in facts.all_consumed):
            found[task.routing_key].append(task)
    return found


def gets(queue: ConsumedQueue, task: Task) -> bool:
    """Whether a queue gets a task, by the task's exchange and routing key."""
    if task.routing_key == queue.name:
        return True
    if task.exchange and task.exchange != queue.exchange:
        return False
    if queue.exchange_type == "direct":
        return task.routing_key == queue.routing_key
    # Of an exchange of any other type than topic, the routing key alone says nothing.
    return queue.exchange_type != "topic" or _topic(queue.routing_key).fullmatch(task.routing_key) is not None


def _topic(key: str) -> re.Pattern[str]:
    """AMQP's pattern: words between dots, ``*`` for one, ``#`` for any number of them."""
    pattern = ""
    for place, word in enumerate(key.split(".")):
        dot = r"\." if place else ""
        if word == "#":
            pattern += rf"(?:{dot}[^.]+)*" if place else r"(?:[^.]+(?:\.[^.]+)*)?"
        else:
            pattern += dot + ("[^.]*" if word == "*" else re.escape(word))
    return re.compile(pattern.replace(r"(?:[^.]+(?:\.[^.]+)*)?\.", r"(?:[^.]+\.)*"))
