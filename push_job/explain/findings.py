"""Findings: what ``push-job explain`` reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: The condition of each kind of finding, in Markdown. docs/trouble.md shows this table. The names are stable.
KINDS = {
    "flower-down": "a Flower could not be scraped",
    "broker-refuses": "workers are alive, but the broker refuses Flower's request for its queues (HTTP 500)",
    "broker-away": "no worker is alive, and Flower cannot reach its broker either",
    "broker-blocked": (
        "no worker is alive, all stopped sending heartbeats at the same time, and RabbitMQ still counts their "
        "consumers: an alarm blocks them"
    ),
    "no-workers": "no worker is alive; `?` if Flower started less than 30 s ago and has not seen any yet",
    "workers-silent": (
        "RabbitMQ counts consumers, but Flower has never received an event of a worker, or no longer receives "
        "heartbeats of the only one"
    ),
    "no-consumer": "messages wait in a queue, or tasks are PENDING with a routing key, that no live worker consumes",
    "worker-gone": (
        "a worker stopped sending heartbeats within the last hour, or earlier and holds unfinished tasks; workers that "
        "stopped within 10 s of each other are one finding"
    ),
    "worker-busy": (
        "`?`: a worker without heartbeats may run a long task with `--pool solo`, which sends none during a task: it "
        "fetched a task without an event, or tasks have no task-sent events"
    ),
    "no-heartbeats": "`?`: a worker has never sent a heartbeat, only task events",
    "worker-hangs": "a worker stopped sending heartbeats, but RabbitMQ still counts its consumer",
    "worker-stopped": "`?`: a worker shut down cleanly while it held unfinished tasks",
    "worker-restarted": (
        "a worker was killed and restarted under the same name, and tasks of its previous process are still STARTED"
    ),
    "results-lost": (
        "at least three tasks are STARTED although their worker does not run them, and no task has succeeded since"
    ),
    "ended-unheard": "`?`: tasks are STARTED although their worker does not run them, while other tasks succeed",
    "workers-full": (
        "95 % of the processes of all live workers are busy, and a task has waited for more than five minutes; `?` if "
        "messages wait and their age is not known"
    ),
    "held-back": "a worker has a free process but has held a task for more than five minutes; `?` after 30 s",
    "stuck": (
        "a running task has taken more than five minutes and three times as long as the longest success of its type "
        "(more than an hour if no task of the type has succeeded); `?` if it has taken more than an hour, but less "
        "than three times the longest success"
    ),
    "repeats": (
        "a type has at least five rejections and three per task, or at least five retries and five per task with no "
        "success"
    ),
    "message-lost": "a task has been PENDING for a minute, its queue is empty, and no worker reported it",
    "waiting": (
        "a task has been PENDING, RECEIVED or in RETRY for more than five minutes (counted from its ETA), and no "
        "finding above explains it"
    ),
    "workers-idle": "`?`: messages wait in queues that live workers consume, but no task has run for a minute",
    "failing": (
        "a type failed three times since its last success, most recently within the last hour (one failure is enough "
        "for `WorkerLostError`, `NotRegistered` and `ContentDisallowed`); or at least three times and in one of ten "
        "runs within the hour; or the last run of a periodic type failed; or more than one in ten of at least 20 tasks "
        "of all types failed within the hour"
    ),
    "expired": "at least three tasks of a type expired before a worker started them, and none has succeeded since",
    "consumer-timeout": (
        "a worker on RabbitMQ has held a message for 20 minutes, for an ETA or with `acks_late` (after 30 minutes "
        "RabbitMQ closes its channel); or a worker stopped that had held a message for 30 minutes"
    ),
    "clock-skew": (
        "the event times of a live worker are wrong by a minute or more; the ages of its tasks are not evaluated"
    ),
    "shared-node-name": "two processes send heartbeats under the same node name",
    "overdue": (
        "a type that runs regularly ([extras.md](extras.md)) last succeeded more than three of its intervals ago; "
        "`?` if the interval is below 50 s, which may also be a batch"
    ),
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


class Level(Enum):
    """The severity of a finding. The value is its name in JSON."""

    WRONG = "wrong"
    UNSURE = "unsure"  # a possible problem, or important information is missing
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One problem, possible problem, gap in the data or note.

    Attributes:
        level: the severity.
        kind: one of KINDS.
        fact: what is known, with times in UTC and ages.
        likely: the likely cause.
        do: the next step: a command, a log line to look for or a setting.
        subject: the worker, queue or task type, as Flower names it; empty if there is not exactly one.
        link: URL of Flower's page of the task to look at.
        unknown: the missing information, for the headline.
        explains: task types that have not succeeded because of this finding.
    """

    level: Level
    kind: str
    fact: str
    likely: str
    do: str
    subject: str = ""
    link: str | None = None
    unknown: str = ""
    explains: frozenset[str] = frozenset()
