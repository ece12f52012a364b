"""A finding: one thing that is wrong, unknown or worth knowing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: When each kind is found, in Markdown; docs/trouble.md has this table. The names are stable.
KINDS = {
    "flower-down": "a Flower could not be scraped",
    "broker-refuses": "workers are alive, and Flower's broker refuses its question about the queues (HTTP 500)",
    "broker-away": "no worker is alive, and Flower cannot ask its broker either",
    "broker-blocked": (
        "no worker is alive, all fell silent at once, and RabbitMQ still counts their consumers: an alarm"
    ),
    "no-workers": "no worker is alive; with `?` if Flower started less than 30 s ago and knows of none",
    "workers-silent": "RabbitMQ counts consumers, and Flower has never heard a worker or hears the only one no longer",
    "no-consumer": "messages wait in a queue, or tasks are PENDING with a routing key, that no live worker consumes",
    "worker-gone": (
        "a worker fell silent within the last hour, or fell silent and holds unfinished tasks; those that fell silent "
        "within 10 s are one finding"
    ),
    "worker-busy": "`?`: a silent worker has `--pool solo`, which sends no heartbeat during a task",
    "no-heartbeats": "`?`: a silent worker has never sent a heartbeat, only events of tasks",
    "worker-hangs": "a worker fell silent, and RabbitMQ still counts its consumer",
    "worker-stopped": "`?`: a worker stopped in order and held unfinished tasks",
    "worker-restarted": (
        "a worker was killed and runs again under its name, and tasks that its earlier process ran are STARTED"
    ),
    "results-lost": "three tasks or more are STARTED, their worker does not run them, and nothing has succeeded since",
    "ended-unheard": "`?`: tasks are STARTED and their worker does not run them, while others succeed",
    "workers-full": (
        "95 % of the processes of all live workers are busy, and a task has waited for more than five minutes; `?` if "
        "messages wait and it is not known for how long"
    ),
    "held-back": "a worker has a free process and has held a task for more than five minutes; `?` from 30 s on",
    "stuck": (
        "a running task takes three times as long as the longest success of its type, and more than five minutes; an "
        "hour, if none of its type has succeeded; `?` if an hour, but less than three times the longest"
    ),
    "repeats": (
        "five rejections and three times as many as tasks, or five retries and five times as many as tasks with no "
        "success"
    ),
    "message-lost": "a task has been PENDING for a minute, its queue is empty, and no worker reported it",
    "waiting": (
        "a task has been PENDING, RECEIVED or in RETRY for more than five minutes, from its ETA on, and nothing above "
        "says why"
    ),
    "workers-idle": "`?`: messages wait in queues that live workers consume, and nothing has run for a minute",
    "failing": (
        "a type failed three times (once with `WorkerLostError`, `NotRegistered` or `ContentDisallowed`) since its "
        "last success, the last one within an hour; or three times within the hour and one in ten of those that "
        "ended; or the last run of a type that comes regularly failed; or more than one in ten of 20 or more tasks of "
        "all types failed within the hour"
    ),
    "consumer-timeout": (
        "a worker on RabbitMQ has held a message for 20 minutes, for an ETA or with `acks_late`: after 30 minutes "
        "RabbitMQ closes its channel; or it has stopped and held one for 30"
    ),
    "clock-skew": (
        "the events of a live worker carry times that cannot be, by a minute or more; its tasks' ages are not judged"
    ),
    "shared-node-name": "two processes send heartbeats under one node name",
    "overdue": (
        "a type that comes regularly ([extras.md](extras.md)) last succeeded more than three of its intervals ago; "
        "`?` if the interval is below 50 s, as a batch's may be"
    ),
    "no-task-events": "`?`: workers have done tasks, and reported none of them",
    "not-answered": "`?`: Flower, or a live worker, did not answer a question",
    "queues-unknown": "`?`: Flower does not say how long the queues are, as without `--broker-api` on RabbitMQ",
    "sending-unknown": "`?`: no task has an event of its sending, so one in a queue that nobody consumes is invisible",
    "flower-young": "`?`: Flower started within ten minutes and knows no task",
    "no-tasks": "`?`: Flower knows no task",
    "flower-full": "a note: Flower remembers a round number of tasks, likely its `--max-tasks`, and how far back",
}


class Level(Enum):
    """How much a finding matters; the value is its name in JSON."""

    WRONG = "wrong"
    UNSURE = "unsure"  # it may be wrong, or something that matters is not known
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, unknown or worth knowing.

    Attributes:
        level: how much it matters.
        kind: one of KINDS.
        fact: what is known, with times in UTC and ages.
        likely: the likely cause.
        do: the next step: a command, a log line or a setting.
        subject: the worker, queue or task type, as Flower names it.
        link: Flower's page of the task to look at.
        unknown: what cannot be known, for the headline.
        explains: task types whose missing successes this accounts for.
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
