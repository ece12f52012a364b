"""Rule: messages that a worker does not acknowledge before RabbitMQ's consumer_timeout."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import Task
from push_job.explain.phrases import names, when
from push_job.explain.rules.workers import CONSUMER_TIMEOUT
from push_job.terminal.formatting import format_count

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "consumer-timeout": (
        "a worker on RabbitMQ has held a message for 20 minutes, for an ETA or with `acks_late` (after 30 minutes "
        "RabbitMQ closes its channel); or a worker stopped that had held a message for 30 minutes"
    ),
}

#: Seconds that a message may be unacknowledged before it is reported.
WARN_AFTER = 1200


def held_for_long(facts: Facts) -> Iterator[Finding]:
    """Report tasks with a far ETA or acks_late that have not been acknowledged for 20 minutes."""
    if not facts.is_rabbitmq:
        return
    live = {worker.name for worker in facts.live}
    tasks = [task for task in (*facts.tasks_in("RECEIVED"), *facts.running) if task.worker in live]
    late = sorted((task for task in tasks if _is_held(facts, task)), key=lambda task: (task.received or 0.0, task.id))
    if not late:
        return
    yield Finding(
        Level.WRONG,
        "consumer-timeout",
        f"{names(task.worker for task in late)} has held {format_count(len(late), 'task')} of"
        f" {names(task.name for task in late)} unacknowledged since {when(facts, late[0].received or facts.now)}",
        "a task with an ETA or acks_late is acknowledged late. After 30 minutes (consumer_timeout) RabbitMQ closes the"
        " worker's channel, which stops the worker",
        "raise consumer_timeout in rabbitmq.conf, or use shorter ETAs and shorter tasks",
        late[0].worker,
        facts.link(late[0]),
    )


def _is_held(facts: Facts, task: Task) -> bool:
    if facts.age(task.received) <= WARN_AFTER or task.received is None:
        return False
    if task.state == "RECEIVED":
        return task.eta is not None and task.eta - task.received > CONSUMER_TIMEOUT
    worker = facts.workers[task.worker]
    return worker.answer is not None and task.id in worker.answer.unacknowledged
