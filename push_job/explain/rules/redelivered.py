"""Rule: tasks that the broker delivers again although a worker still holds them."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import Task
from push_job.explain.phrases import names
from push_job.terminal.formatting import format_count

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "redelivered": (
        "workers hold the same task more than once, because the broker delivered it again, e.g. after Redis' "
        "`visibility_timeout`; it will run more than once"
    ),
}


def redelivered(facts: Facts) -> Iterator[Finding]:
    """Report tasks of which workers hold several copies."""
    if not facts.held_twice:
        return
    tasks = facts.held_twice
    worst = max(tasks, key=lambda task: (task.copies, task.id))
    workers = names(worker for task in tasks for worker in task.workers)
    yield Finding(
        Level.WRONG,
        "redelivered",
        f"{workers} hold{'' if ',' in workers or ' and ' in workers else 's'} {format_count(len(tasks), 'task')} of"
        f" {names(task.name for task in tasks)} more than once, one of them {worst.copies} times: each copy will run",
        *_why(facts),
        worst.name,
        facts.link(Task(worst.id, worst.name, "RECEIVED")),
    )


def _why(facts: Facts) -> tuple[str, str]:
    """Return likely cause and next step."""
    if facts.is_rabbitmq:
        return (
            "likely a worker lost its connection, or held a message for longer than consumer_timeout: RabbitMQ then"
            " delivers its unacknowledged messages again",
            "search the workers' logs for lost connections; set worker_cancel_long_running_tasks_on_connection_loss ="
            " True",
        )
    return (
        "likely the broker's visibility_timeout (Redis: 1 hour by default) is shorter than the time until the tasks are"
        " acknowledged: each time it ends, a task with an ETA or acks_late is delivered again",
        "set visibility_timeout in broker_transport_options of all workers to more than the longest ETA and runtime;"
        " make such tasks safe to run twice",
    )
