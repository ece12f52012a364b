"""Rules on missing information.

It must not be mistaken for the absence of problems.
"""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts, is_a_type
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import names, when
from push_job.explain.rules.lost_messages import lacks_worker_events, mute_workers
from push_job.terminal.formatting import format_count, format_duration

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "no-task-events": "`?`: workers have processed tasks but sent no task events",
    "not-answered": "`?`: Flower, or a live worker, did not answer a request",
    "queues-unknown": "`?`: Flower does not report the lengths of the queues, e.g. without `--broker-api` on RabbitMQ",
    "sending-unknown": (
        "`?`: tasks, or most of some types, have no task-sent event, so they cannot be seen in a queue without a "
        "consumer"
    ),
    "flower-young": "`?`: Flower started less than ten minutes ago and has no tasks yet",
    "no-tasks": "`?`: Flower has no tasks",
    "flower-full": (
        "a note: Flower has likely reached its `--max-tasks` (the number of tasks is round); shows the oldest task"
    ),
}

#: --max-tasks is usually a multiple of this number.
ROUND = 1000

#: Number of tasks that a full Flower 2.0 lists with the default --max-tasks: up to some thousands more than its limit.
FULL_BY_DEFAULT = range(100_000, 110_000)


def no_events(facts: Facts) -> Iterator[Finding]:
    """Report workers that process tasks but send no task events."""
    processed = sum(worker.processed or 0 for worker in facts.workers.values())
    if facts.task_count and lacks_worker_events(facts):
        fact = f"Workers have processed {format_count(processed, 'task')}, but Flower received only events of senders"
    elif not facts.task_count and processed and not facts.is_young:
        fact = f"Workers have processed {format_count(processed, 'task')}, but Flower has none"
    elif mute := mute_workers(facts):
        fact = (
            f"{names(worker.name for worker in mute)} processed"
            f" {format_count(sum(worker.processed or 0 for worker in mute), 'task')}, but Flower received no event"
            " of them"
        )
    else:
        return
    yield Finding(
        Level.UNSURE,
        "no-task-events",
        fact,
        "likely these workers send no task events; tasks that they ran may stay PENDING in Flower",
        "start the workers with -E, or set worker_send_task_events = True",
        unknown="the states of the tasks",
    )


def unanswered(facts: Facts) -> Iterator[Finding]:
    """Report requests that Flower did not answer."""
    if facts.unanswered:
        about, reason = next(iter(facts.unanswered.items()))
        yield Finding(
            Level.UNSURE,
            "not-answered",
            f"Flower did not report {' and '.join(facts.unanswered)}: {reason}",
            "there may be more problems than are reported here",
            "run push-job check, which shows the requests that fail and the reasons",
            unknown=about,
        )


def silent_workers(facts: Facts) -> Iterator[Finding]:
    """Report live workers that did not reply when they were asked for their queues."""
    if facts.not_replying:
        only = len(facts.not_replying) == 1
        yield Finding(
            Level.UNSURE,
            "not-answered",
            f"{len(facts.not_replying)} of {format_count(len(facts.live), 'live worker')} did not report which queues"
            f" {'it consumes' if only else 'they consume'}: {names(worker.name for worker in facts.not_replying)}",
            f"likely {'it is' if only else 'they are'} too busy to reply, or worker_enable_remote_control is False",
            "check the load and the log of such a worker; set worker_enable_remote_control = True",
            facts.not_replying[0].name,
            unknown="whether all queues with messages have a consumer",
        )


def queues_unknown(facts: Facts) -> Iterator[Finding]:
    """Report that the broker's queues could not be read."""
    queues = facts.queues
    if queues.known is not None:
        return
    if queues.refused and (facts.live or facts.gone):
        return  # the rules on the broker and on workers report this
    about = "how many messages wait in the queues"
    if queues.empty:
        yield Finding(
            Level.UNSURE,
            "queues-unknown",
            "Flower gets no answer from RabbitMQ's management API, so the lengths of the queues are not known",
            "likely Flower runs without --broker-api or with a wrong user or address, or the plugin is off or slow",
            "start Flower with --broker-api=http://USER:PASSWORD@RABBITMQ:15672/api/ (with the trailing slash)",
            unknown=f"{about} (set --broker-api)",
        )
    else:
        yield Finding(
            Level.UNSURE,
            "queues-unknown",
            f"Flower did not report {about}: {queues.error}",
            "likely Flower does not support this broker or cannot reach it",
            "run push-job check --with queues, which shows the reason",
            unknown=about,
        )


def sending_unknown(facts: Facts) -> Iterator[Finding]:
    """Report types without task-sent events.

    Their tasks cannot be seen in a queue without a consumer.
    """
    unseen = [kind.name for kind in facts.types.values() if is_a_type(kind.name) and not kind.is_sending_seen]
    if not facts.task_count or facts.has_sent_events is None or (facts.has_sent_events and not unseen):
        return
    yield Finding(
        Level.UNSURE,
        "sending-unknown",
        f"Most tasks of {names(unseen)} have no task-sent event"
        if facts.has_sent_events
        else "No task has a task-sent event",
        "a task that was sent to a queue without a consumer, e.g. with a misspelled name, cannot be seen",
        "set task_send_sent_event = True in the Celery configuration of all programs that send tasks",
        unknown="tasks in queues without a consumer (set task_send_sent_event = True)",
    )


def without_tasks(facts: Facts) -> Iterator[Finding]:
    """Report that Flower has no tasks."""
    if facts.task_count:
        return
    if facts.is_young:
        fact = f"Flower started {format_duration(facts.age(facts.started_at))} ago and has no tasks yet"
        kind, likely = "flower-young", "a restart deletes all tasks from Flower, unless it runs with --persistent"
    elif any(worker.processed for worker in facts.workers.values()):
        return  # `no_events` reports this
    else:
        fact, kind, likely = "Flower has no tasks", "no-tasks", "likely no task has run since Flower started"
    yield Finding(
        Level.UNSURE,
        kind,
        fact,
        likely,
        "run this again later; push-job check shows whether task events arrive",
        unknown="the states of the tasks",
    )


def flower_full(facts: Facts) -> Iterator[Finding]:
    """Report that Flower has likely reached its --max-tasks."""
    count = facts.task_count
    if count and facts.earliest is not None and (count % ROUND == 0 or count in FULL_BY_DEFAULT):
        yield Finding(
            Level.NOTE,
            "flower-full",
            f"Flower remembers {count:,} tasks, back to {when(facts, facts.earliest)}",
            "likely it has reached --max-tasks and has forgotten older tasks; the findings above do not include them",
            "raise --max-tasks if that period is too short, e.g. for a daily task",
        )
