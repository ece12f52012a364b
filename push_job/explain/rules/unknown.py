"""What cannot be known, so that nobody takes it for well."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import names, when
from push_job.explain.rules.lost_messages import are_unreported
from push_job.terminal.formatting import count_words, time_words

#: What --max-tasks usually is a multiple of.
ROUND = 1000

#: What Flower 2.0 lists when it is full and started without --max-tasks: up to some thousands more than it remembers.
FULL_BY_DEFAULT = range(100_000, 110_000)


def no_events(facts: Facts) -> Iterator[Finding]:
    """Workers do tasks and report none of them."""
    processed = sum(worker.processed or 0 for worker in facts.workers.values())
    if facts.task_count and are_unreported(facts):
        fact = f"Workers have done {count_words(processed, 'task')} and reported none; Flower knows only what was sent"
    elif not facts.task_count and processed:
        fact = f"Workers have done {count_words(processed, 'task')}, and Flower knows none"
    else:
        return
    yield Finding(
        Level.UNSURE,
        "no-task-events",
        fact,
        "likely the workers send no events of tasks",
        "start the workers with -E, or set worker_send_task_events = True",
        unknown="what became of the tasks",
    )


def unanswered(facts: Facts) -> Iterator[Finding]:
    """Questions that Flower did not answer."""
    if facts.unanswered:
        about, reason = next(iter(facts.unanswered.items()))
        yield Finding(
            Level.UNSURE,
            "not-answered",
            f"Flower did not say {', nor '.join(facts.unanswered)}: {reason}",
            "more may be wrong than is reported here",
            "run push-job check, which says what Flower does not answer and why",
            unknown=about,
        )


def silent_workers(facts: Facts) -> Iterator[Finding]:
    """Live workers that were asked what they consume and did not say."""
    if facts.silent:
        only = len(facts.silent) == 1
        yield Finding(
            Level.UNSURE,
            "not-answered",
            f"{len(facts.silent)} of {count_words(len(facts.live), 'live worker')} did not say which queues"
            f" {'it consumes' if only else 'they consume'}: {names(worker.name for worker in facts.silent)}",
            "likely it is too busy to answer, or has worker_enable_remote_control = False",
            "see what it does; set worker_enable_remote_control = True",
            facts.silent[0].name,
            unknown="whether somebody consumes the queues in which messages wait",
        )


def queues_unknown(facts: Facts) -> Iterator[Finding]:
    """The broker's queues could not be read."""
    queues = facts.queues
    if queues.known is not None:
        return
    if queues.refused and facts.live:
        return  # reported as such
    about = "how many messages wait in the queues"
    if queues.empty:
        yield Finding(
            Level.UNSURE,
            "queues-unknown",
            "Flower has no answer of RabbitMQ's management API, so the lengths of the queues are not known",
            "likely Flower runs without --broker-api, its user or address is wrong, or the plugin is off or slow",
            "start Flower with --broker-api=http://USER:PASSWORD@RABBITMQ:15672/api/ (with the last slash)",
            unknown=f"{about} (set --broker-api)",
        )
    else:
        yield Finding(
            Level.UNSURE,
            "queues-unknown",
            f"Flower did not say {about}: {queues.error}",
            "likely Flower does not support this broker, or cannot reach it",
            "run push-job check --with queues, which says why",
            unknown=about,
        )


def sending_unknown(facts: Facts) -> Iterator[Finding]:
    """No task has an event of its sending: one in an unconsumed queue is invisible."""
    if facts.task_count and facts.has_sent_events is False:
        yield Finding(
            Level.UNSURE,
            "sending-unknown",
            "No task has an event of its sending",
            "a task in a queue that nobody consumes, of a mistyped name for example, cannot be seen",
            "set task_send_sent_event = True in the Celery configuration of everything that sends tasks",
            unknown="tasks sent to a queue that nobody consumes (set task_send_sent_event = True)",
        )


def young(facts: Facts) -> Iterator[Finding]:
    """Flower knows no task. The headline has how far back it knows any."""
    if facts.task_count or any(worker.processed for worker in facts.workers.values()):
        return
    if facts.is_young:
        fact = f"Flower started {time_words(facts.age(facts.started_at))} ago and knows no task yet"
        kind, likely = "flower-young", "it forgets all at a restart, unless it runs with --persistent"
    else:
        fact, kind, likely = "Flower knows no task", "no-tasks", "likely none has run since it started"
    yield Finding(
        Level.UNSURE,
        kind,
        fact,
        likely,
        "ask again later; push-job check says whether events of tasks arrive",
        unknown="what became of the tasks",
    )


def full(facts: Facts) -> Iterator[Finding]:
    """Flower likely remembers as many tasks as it may."""
    count = facts.task_count
    if count and facts.earliest is not None and (count % ROUND == 0 or count in FULL_BY_DEFAULT):
        yield Finding(
            Level.NOTE,
            "flower-full",
            f"Flower remembers {count:,} tasks, back to {when(facts, facts.earliest)}",
            "likely it is full, at its --max-tasks: what was before is forgotten, also by all of the above",
            "raise --max-tasks if that is too short, as for a daily task",
        )
