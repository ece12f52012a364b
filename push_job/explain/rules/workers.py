"""Workers that Flower no longer hears."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from push_job.explain.facts import Facts, Worker
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import held, names, oldest, types, when
from push_job.terminal.formatting import count_words, name_words, time_words

#: Seconds after its start in which Flower cannot have heard all workers.
NOT_HEARD_YET = 30

#: Seconds for which a silent worker is news. After that it is only if it holds unfinished tasks.
RECENTLY = 3600

#: Seconds within which workers fall silent together, for one reason.
TOGETHER = 10

#: Groups of silent workers that are reported.
MOST_GROUPS = 8

#: Seconds after which RabbitMQ closes the channel of a consumer that has not acknowledged a message.
CONSUMER_TIMEOUT = 1800


def none_alive(facts: Facts) -> Iterator[Finding]:
    """Flower hears no worker at all."""
    if facts.live:
        return
    silent = next(iter(_groups(facts)), ())
    if not facts.workers:
        yield _never_heard(facts)
    elif silent:
        yield _all_silent(facts, silent)
    else:
        tasks = [task for worker in facts.gone for task in facts.held_by(worker.name)]
        yield Finding(
            Level.WRONG,
            "no-workers",
            f"No worker is alive: {_all_of(facts)} stopped in order or long ago{_messages(facts)}",
            "likely they were scaled to zero, or their new version does not start; nothing is being done",
            "start the workers; if they are started, read the log of one",
            link=facts.link(oldest(tasks, facts.now)),
            explains=types(tasks),
        )


def _never_heard(facts: Facts) -> Finding:
    age = None if facts.started_at is None else facts.age(facts.started_at)
    if age is not None and age < NOT_HEARD_YET:
        return Finding(
            Level.UNSURE,
            "no-workers",
            f"No worker has been heard yet; Flower started {time_words(age)} ago",
            "Flower knows a worker from its first heartbeat on, which comes every 2 s by default",
            "ask again in half a minute",
            unknown="which workers are alive",
        )
    connected = facts.extra_consumers
    if connected:
        return Finding(
            Level.WRONG,
            "workers-silent",
            f"Flower has heard no worker, but RabbitMQ counts {count_words(connected, 'consumer')}{_messages(facts)}",
            "likely the workers run and send no events (--without-heartbeat), or an alarm of RabbitMQ blocks them",
            "run rabbitmq-diagnostics alarms on the broker; start workers without --without-heartbeat",
        )
    return Finding(
        Level.WRONG,
        "no-workers",
        f"Flower has heard no worker{_messages(facts)}",
        "likely no worker runs, or the workers use another broker, database or virtual host than Flower",
        "start the workers; compare their broker URL (first lines of a worker's log) with Flower's",
    )


def _all_silent(facts: Facts, silent: Sequence[Worker]) -> Finding:
    tasks = [task for worker in silent for task in facts.held_by(worker.name)]
    last = max(worker.last_heartbeat or 0.0 for worker in silent)
    fact = (
        f"No worker is alive, of {len(facts.workers)} that Flower knows: {names(worker.name for worker in silent)}"
        f" fell silent {'together ' if len(silent) > 1 else ''}at {when(facts, last)} and held {held(tasks)}"
        f"{_messages(facts)}"
    )
    kind, level, likely, do = _why_silent(facts, silent)
    return Finding(
        level,
        "no-workers" if kind == "worker-gone" else kind,
        fact,
        likely,
        do,
        silent[0].name if len(silent) == 1 else "",
        facts.link(oldest([task for task in tasks if task.has_started] or tasks, facts.now)),
        explains=types(tasks),
    )


def went_silent(facts: Facts) -> Iterator[Finding]:
    """Workers that died or hang: those that fell silent together are one finding."""
    groups = _groups(facts)
    for silent in groups[0 if facts.live else 1 :][:MOST_GROUPS]:
        tasks = [task for worker in silent for task in facts.held_by(worker.name)]
        kind, level, likely, do = _why_silent(facts, silent)
        heard = max((worker.last_heartbeat or 0.0 for worker in silent), default=0.0)
        since = f" at {when(facts, heard)}" if heard else ""
        who = f"Worker {name_words(silent[0].name)}" if len(silent) == 1 else f"{len(silent)} workers"
        which = "" if len(silent) == 1 else f" ({names(worker.name for worker in silent)})"
        yield Finding(
            level,
            kind,
            f"{who}{which} fell silent{' together' if len(silent) > 1 else ''}{since} and held {held(tasks)}",
            likely,
            do,
            silent[0].name,
            facts.link(oldest([task for task in tasks if task.has_started] or tasks, facts.now)),
            explains=types(tasks),
        )


def stopped_in_order(facts: Facts) -> Iterator[Finding]:
    """Workers that announced their end and held tasks, which may still run."""
    for worker in facts.gone:
        tasks = facts.held_by(worker.name)
        if not worker.stopped_in_order or not tasks:
            continue
        first = oldest([task for task in tasks if task.has_started] or tasks, facts.now)
        if facts.is_rabbitmq and any(facts.age(task.received) > CONSUMER_TIMEOUT for task in tasks):
            yield Finding(
                Level.WRONG,
                "consumer-timeout",
                f"Worker {name_words(worker.name)} stopped; it held {held(tasks)}, one fetched at"
                f" {when(facts, min(task.received or facts.now for task in tasks))}",
                "likely RabbitMQ's consumer_timeout (30 minutes) closed its channel: an ETA or acks_late holds a"
                " message for longer",
                "look for PRECONDITION_FAILED in its log; shorten the ETA, or raise consumer_timeout in rabbitmq.conf",
                worker.name,
                facts.link(first),
                explains=types(tasks),
            )
            continue
        yield Finding(
            Level.UNSURE,
            "worker-stopped",
            f"Worker {name_words(worker.name)} stopped in order and held {held(tasks)}",
            "it may still be finishing what it runs (a warm shutdown), which Flower does not hear; if its process has"
            " ended, the broker delivers what it had not acknowledged to another worker",
            "if nobody stopped it, look for PRECONDITION_FAILED in its log: RabbitMQ's consumer_timeout"
            if facts.is_rabbitmq
            else "see that its process has ended and that the tasks' work is done",
            worker.name,
            facts.link(first),
            explains=types(tasks),
        )


def _groups(facts: Facts) -> list[tuple[Worker, ...]]:
    """The workers that fell silent lately or with tasks, grouped by time.

    The newest group is first.
    """
    groups: list[list[Worker]] = []
    for worker in facts.gone:
        heard = worker.last_heartbeat
        is_news = heard is not None and facts.age(heard) <= RECENTLY
        if worker.stopped_in_order or not (is_news or facts.held_by(worker.name)):
            continue
        previous = groups[-1][-1].last_heartbeat if groups else None
        if previous is not None and heard is not None and previous - heard <= TOGETHER:
            groups[-1].append(worker)
        else:
            groups.append([worker])
    return [tuple(sorted(group, key=lambda worker: worker.name)) for group in groups]


def _why_silent(facts: Facts, silent: Sequence[Worker]) -> tuple[str, Level, str, str]:
    """Kind, level, likely cause and next step for workers that fell silent together."""
    if all("solo" in worker.pool for worker in silent):
        return (
            "worker-busy",
            Level.UNSURE,
            "likely it runs one long task in --pool solo, which sends no heartbeat meanwhile",
            "look at the task; use --pool threads or prefork if workers have to stay visible",
        )
    if all(_sends_no_heartbeats(worker) for worker in silent):
        return (
            "no-heartbeats",
            Level.UNSURE,
            "it has never sent a heartbeat: likely it runs with --without-heartbeat and is idle",
            "start it without --without-heartbeat: Flower, the panels and the alerts need heartbeats",
        )
    connected = facts.extra_consumers or 0
    if connected >= len(silent):
        return _why_connected(facts, silent, connected)
    if facts.queues.known is None and not facts.live and not facts.queues.empty:
        return (
            "broker-away",
            Level.WRONG,
            f"Flower cannot ask its broker either ({facts.queues.error}): likely the broker is away and the workers are"
            " well",
            "see whether the broker runs, and whether Flower and the workers reach it",
        )
    if len(silent) > 1 and not facts.live:
        return (
            "worker-gone",
            Level.WRONG,
            "all at once: likely the broker's port or the network is away, or one machine ended with all of them",
            "read the last lines of a worker's log (connection errors?); see whether its process still runs",
        )
    return (
        "worker-gone",
        Level.WRONG,
        "likely it was killed (out of memory?) or lost its network; with --pool solo it is silent during a task. What"
        " it ran is lost, unless acks_late has it delivered again",
        "see why it ended: the pod's last state (OOMKilled?), its log"
        + ("" if facts.live else "; if its process runs, whether it and Flower reach the broker's port"),
    )


def _sends_no_heartbeats(worker: Worker) -> bool:
    """Whether Flower has had events of its tasks, but none of the worker itself."""
    of_worker = ("worker-heartbeat", "worker-online", "worker-offline")
    return any(worker.events.values()) and not any(worker.events.get(event) for event in of_worker)


def _why_connected(facts: Facts, silent: Sequence[Worker], connected: int) -> tuple[str, Level, str, str]:
    """The same, where RabbitMQ still counts the consumers of these workers."""
    if facts.live:
        return (
            "worker-hangs",
            Level.WRONG,
            "RabbitMQ still counts its consumer, so it is connected: likely its main process hangs or is paused, or"
            " runs a long task in --pool solo",
            "look at its process (py-spy dump); restart it if it hangs",
        )
    if len(silent) == 1 and not silent[0].pool:
        return (
            "workers-silent",
            Level.WRONG,
            "RabbitMQ still counts its consumer, so it is connected: likely it runs a long task in --pool solo, which"
            " sends no heartbeat meanwhile, or an alarm blocks all that publish",
            "run rabbitmq-diagnostics alarms on the broker; if there is none, look at the task",
        )
    return (
        "broker-blocked",
        Level.WRONG,
        f"RabbitMQ still counts {count_words(connected, 'consumer')}, so the workers are connected: likely an alarm"
        " (memory or disk) blocks everybody that publishes, heartbeats too",
        "run rabbitmq-diagnostics alarms on the broker and free its memory or disk; do not restart the workers",
    )


def _messages(facts: Facts) -> str:
    waiting = sum(queue.ready for queue in facts.waiting_queues)
    return f"; {count_words(waiting, 'message')} in the queues" if waiting else ""


def _all_of(facts: Facts) -> str:
    return "the only one" if len(facts.gone) == 1 else f"all {len(facts.gone)}"
