"""Rule: messages not acknowledged by a worker before RabbitMQ's consumer_timeout."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import Task, Worker
from push_job.explain.phrases import held, names, to_look_at, types, when
from push_job.terminal.formatting import format_count, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "consumer-timeout": (
        "a worker on RabbitMQ has held a message for 20 minutes, for an ETA or with `acks_late` (after 30 minutes "
        "RabbitMQ closes its channel); or a worker stopped that had held a message for 30 minutes"
    ),
}

#: Seconds after which RabbitMQ closes the channel of a consumer that has not acknowledged a message.
CONSUMER_TIMEOUT = 1800

#: Seconds that a message may be unacknowledged before it is reported.
WARN_AFTER = 1200


def held_for_long(facts: Facts) -> Iterator[Finding]:
    """Report tasks that have not been acknowledged for 20 minutes.

    They have a far ETA or acks_late.
    """
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


def timed_out(facts: Facts) -> Iterator[Finding]:
    """Report workers that RabbitMQ stopped because they held a message for too long."""
    for worker in facts.gone:
        if has_timed_out(facts, worker):
            tasks = facts.held_by(worker.name)
            yield Finding(
                Level.WRONG,
                "consumer-timeout",
                f"Worker {format_name(worker.name)} stopped; it held {held(tasks)}, one fetched at"
                f" {when(facts, min(task.received or facts.now for task in tasks))}",
                "likely RabbitMQ's consumer_timeout (30 minutes) closed its channel, because a message with an ETA or"
                " acks_late was not acknowledged in time",
                "look for PRECONDITION_FAILED in its log; shorten the ETA, or raise consumer_timeout in rabbitmq.conf;"
                " then start the worker again",
                worker.name,
                facts.link(to_look_at(tasks, facts.now)),
                explains=types(tasks),
            )


def has_timed_out(facts: Facts, worker: Worker) -> bool:
    """Return whether RabbitMQ likely stopped a worker that held a message too long."""
    return (
        facts.is_rabbitmq
        and worker.shut_down_cleanly
        and any(facts.age(task.received) > CONSUMER_TIMEOUT for task in facts.held_by(worker.name))
    )


def _is_held(facts: Facts, task: Task) -> bool:
    if facts.age(task.received) <= WARN_AFTER or task.received is None:
        return False
    if task.state == "RECEIVED":
        return task.eta is not None and task.eta - task.received > CONSUMER_TIMEOUT
    return task.id in facts.workers[task.worker].answer.unacknowledged
