"""Rules: workers that no longer send heartbeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from push_job.explain.facts import Facts
from push_job.explain.findings import Finding, Level
from push_job.explain.model import Worker
from push_job.explain.phrases import held, names, oldest, to_look_at, types, when
from push_job.explain.rules.consumer_timeout import has_timed_out, timed_out
from push_job.explain.silent_workers import fetched_silently, is_all_sending_seen, pool_of
from push_job.terminal.formatting import format_count, format_duration, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
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
}

#: Seconds after Flower's start within which heartbeats of some workers may not have arrived yet.
STARTUP_SECONDS = 30

#: Seconds after its last heartbeat during which a lost worker is always reported; later only with unfinished tasks.
RECENTLY = 3600

#: Workers whose last heartbeats are within this number of seconds are reported together: they likely have one cause.
SAME_CAUSE_SECONDS = 10

#: Groups of lost workers that are reported.
MAX_GROUPS = 8


def none_alive(facts: Facts) -> Iterator[Finding]:
    """Report that no worker is alive."""
    if facts.live:
        return
    lost = next(iter(_groups(facts)), ())
    if not facts.workers:
        yield _none_seen(facts)
    elif lost:
        yield _of_lost(facts, lost, are_all=True)
    elif stopped := list(timed_out(facts)):
        yield from stopped
    else:
        tasks = [task for worker in facts.gone for task in facts.held_by(worker.name)]
        yield Finding(
            Level.WRONG,
            "no-workers",
            f"No worker is alive: {_all_of(facts)} shut down cleanly or stopped long ago{_messages(facts)}",
            # A worker whose connection the broker closes may still send a farewell on another one.
            "likely the workers were scaled to zero, or their new version does not start, or the broker closed their"
            " connections and its port is not reachable. No task is processed",
            "start the workers; if they run or do not come up, read the log of one"
            + ("; run rabbitmq-diagnostics listeners on the broker" if facts.is_rabbitmq else ""),
            link=facts.link(oldest(tasks, facts.now)),
            explains=types(tasks),
        )


def _none_seen(facts: Facts) -> Finding:
    age = None if facts.started_at is None else facts.age(facts.started_at)
    if age is not None and age < STARTUP_SECONDS:
        return Finding(
            Level.UNSURE,
            "no-workers",
            f"Flower started {format_duration(age)} ago and has not seen a worker yet",
            "Flower shows a worker after its first heartbeat; by default one is sent every 2 s",
            "run this again in half a minute",
            unknown="which workers are alive",
        )
    connected = facts.extra_consumers
    if connected:
        return Finding(
            Level.WRONG,
            "workers-silent",
            f"Flower has seen no worker, but RabbitMQ counts {format_count(connected, 'consumer')}{_messages(facts)}",
            "likely the workers run but send no heartbeats (--without-heartbeat), or a RabbitMQ alarm blocks them",
            "run rabbitmq-diagnostics alarms on the broker; do not start workers with --without-heartbeat",
        )
    return Finding(
        Level.WRONG,
        "no-workers",
        f"Flower has seen no worker{_messages(facts)}",
        "likely no worker runs, or the workers use another broker, database or virtual host than Flower",
        "start the workers; compare their broker URL (first lines of a worker's log) with Flower's",
    )


def lost_workers(facts: Facts) -> Iterator[Finding]:
    """Report workers that were killed or hang.

    Those lost at the same time are one finding.
    """
    # If no worker is alive, `none_alive` has reported the first group.
    for lost in _groups(facts)[0 if facts.live else 1 :][:MAX_GROUPS]:
        yield _of_lost(facts, lost)


def _of_lost(facts: Facts, lost: Sequence[Worker], *, are_all: bool = False) -> Finding:
    tasks = [task for worker in lost for task in facts.held_by(worker.name)]
    last = max((worker.last_heartbeat or 0.0 for worker in lost), default=0.0)
    which = names(worker.name for worker in lost)
    if are_all:
        which = f"None of {format_count(len(facts.workers), 'worker')} is alive: {which}"
    else:
        which = f"Worker {which}" if len(lost) == 1 else f"{len(lost)} workers ({which})"
    stopped = f"sent the last heartbeat at {when(facts, last)}" if last else "stopped sending heartbeats"
    kind, level, likely, do = _cause(facts, lost)
    return Finding(
        level,
        "no-workers" if are_all and kind == "worker-gone" else kind,
        f"{which} {stopped} and held {held(tasks)}{_messages(facts) if are_all else ''}",
        likely,
        do,
        "" if are_all and len(lost) > 1 else lost[0].name,
        facts.link(to_look_at(tasks, facts.now)),
        unknown="whether workers without heartbeats are alive" if kind == "worker-busy" else "",
        explains=types(tasks),
    )


def shut_down_cleanly(facts: Facts) -> Iterator[Finding]:
    """Report workers that shut down cleanly while they held tasks.

    The tasks may still run.
    """
    if facts.live:  # otherwise `none_alive` has reported them
        yield from timed_out(facts)
    for worker in facts.gone:
        tasks = facts.held_by(worker.name)
        if worker.shut_down_cleanly and tasks and not has_timed_out(facts, worker):
            yield Finding(
                Level.UNSURE,
                "worker-stopped",
                f"Worker {format_name(worker.name)} shut down cleanly and held {held(tasks)}",
                "it may still be finishing its running tasks (warm shutdown), which Flower does not show. After its"
                " process has ended, the broker delivers unacknowledged tasks to another worker",
                "check that its process has ended and that the work of the tasks is done",
                worker.name,
                facts.link(to_look_at(tasks, facts.now)),
                explains=types(tasks),
            )


def _groups(facts: Facts) -> list[tuple[Worker, ...]]:
    """Return the lost workers, grouped by the time of their last heartbeat.

    The newest group is first. Workers that shut down cleanly are left out, and those lost long ago that hold no
    unfinished tasks.
    """
    groups: list[list[Worker]] = []
    for worker in facts.gone:
        last = worker.last_heartbeat
        is_recent = last is not None and facts.age(last) <= RECENTLY
        if worker.shut_down_cleanly or not (is_recent or facts.held_by(worker.name)):
            continue
        previous = groups[-1][-1].last_heartbeat if groups else None
        if previous is not None and last is not None and previous - last <= SAME_CAUSE_SECONDS:
            groups[-1].append(worker)
        else:
            groups.append([worker])
    return [tuple(sorted(group, key=lambda worker: worker.name)) for group in groups]


def _cause(facts: Facts, lost: Sequence[Worker]) -> tuple[str, Level, str, str]:
    """Return kind, level, likely cause and next step for lost workers.

    The workers were lost at the same time.
    """
    it = "it" if len(lost) == 1 else "each of them"
    if _may_be_busy(facts, lost):
        # RabbitMQ counts the consumers of connected workers.
        or_killed = ", or was killed while it ran one" if facts.extra_consumers is None else ""
        return (
            "worker-busy",
            Level.UNSURE,
            f"likely {it} runs a long task in --pool solo, which sends no events or heartbeats meanwhile{or_killed}",
            "check whether its process runs, and its task; with --pool threads or prefork, workers stay visible",
        )
    if all(_sends_no_heartbeats(worker) for worker in lost):
        return (
            "no-heartbeats",
            Level.UNSURE,
            f"{it} has sent task events but never a heartbeat: likely {it} runs with --without-heartbeat and is idle",
            "start without the option --without-heartbeat: Flower, the panels and the alerts need heartbeats",
        )
    connected = facts.extra_consumers or 0
    if connected >= len(lost):
        return _cause_if_connected(facts, lost, connected)
    if facts.queues.known is None and not facts.live and not facts.queues.empty:
        return (
            "broker-away",
            Level.WRONG,
            f"Flower cannot reach its broker either ({facts.queues.error}): likely the broker is down; the workers may"
            " still run",
            "check that the broker runs and that Flower and the workers can reach it",
        )
    return ("worker-gone", Level.WRONG, *_cause_if_gone(facts, lost, it))


def _cause_if_gone(facts: Facts, lost: Sequence[Worker], it: str) -> tuple[str, str]:
    """Return likely cause and next step for workers that are gone.

    They are probably not connected to the broker.
    """
    read_log = (
        "check whether its process still runs; if not, why it stopped: the pod's last state (OOMKilled?), its log"
    )
    if facts.queues.empty and not facts.live:
        return (
            "Flower gets no answer from RabbitMQ's management API either: likely RabbitMQ is down or cannot be reached,"
            f" or Flower runs without --broker-api and {it} was killed (out of memory?)",
            f"run rabbitmq-diagnostics ping on the broker; if RabbitMQ is well, {read_log}",
        )
    if len(lost) > 1 and not facts.live:
        return (
            "all at the same time: likely the broker's port is not reachable (RabbitMQ's management API is another"
            " port), or the machine that ran them is down",
            ("run rabbitmq-diagnostics listeners on the broker; " if facts.is_rabbitmq else "")
            + "read the last lines of a worker's log (connection errors?); check whether its process still runs",
        )
    causes = f"likely {it} was killed (out of memory?) or lost its network"
    if facts.extra_consumers is None:  # RabbitMQ would still count its consumer
        # The pool may be solo if Flower has not asked the worker since it started.
        may_be_solo = "" if all(pool_of(facts, worker) for worker in lost) else " or runs a long task in --pool solo"
        causes = f"{causes}; or {it} hangs{may_be_solo}"
    return (
        f"{causes}. If killed, its running tasks are lost, unless acks_late makes the broker deliver them again",
        read_log + ("" if facts.live else "; if it runs, check that it and Flower reach the broker's port"),
    )


def _may_be_busy(facts: Facts, lost: Sequence[Worker]) -> bool:
    """Return whether each of `lost` may run a task in a solo pool."""
    if facts.extra_consumers is not None and facts.extra_consumers < len(lost):
        return False
    is_solo = all("solo" in pool_of(facts, worker) for worker in lost)
    return fetched_silently(facts, lost) or (is_solo and not is_all_sending_seen(facts))


def _sends_no_heartbeats(worker: Worker) -> bool:
    """Return whether Flower has received task events from a worker, but no heartbeat."""
    of_worker = ("worker-heartbeat", "worker-online", "worker-offline")
    return any(worker.events.values()) and not any(worker.events.get(event) for event in of_worker)


def _cause_if_connected(facts: Facts, lost: Sequence[Worker], connected: int) -> tuple[str, Level, str, str]:
    """Return the same as `_cause` for workers whose consumers RabbitMQ still counts."""
    if facts.live:
        return (
            "worker-hangs",
            Level.WRONG,
            f"RabbitMQ still counts {'its consumer' if len(lost) == 1 else 'their consumers'}: likely the main process"
            f" {'hangs or is' if len(lost) == 1 else 'of each hangs or is'} paused"
            + ("" if all(pool_of(facts, worker) for worker in lost) else ", or runs a long task in --pool solo"),
            "run py-spy dump on its process; restart it if it hangs",
        )
    if not all(pool_of(facts, worker) for worker in lost):
        return (
            "workers-silent",
            Level.WRONG,
            f"RabbitMQ still counts {format_count(connected, 'consumer')}, so the workers are connected: likely a"
            " RabbitMQ alarm (memory or disk) blocks all publishers, or they run long tasks in --pool solo",
            "run rabbitmq-diagnostics alarms on the broker and free memory or disk there; if there is no alarm, check"
            " the tasks; do not restart the workers",
        )
    return (
        "broker-blocked",
        Level.WRONG,
        f"RabbitMQ still counts {format_count(connected, 'consumer')}, so the workers are connected: likely an alarm"
        " (memory or disk) blocks all publishers, and so the heartbeats",
        "run rabbitmq-diagnostics alarms on the broker and free memory or disk there; do not restart the workers",
    )


def _messages(facts: Facts) -> str:
    waiting = sum(queue.ready for queue in facts.waiting_queues)
    return f"; {format_count(waiting, 'message')} in the queues" if waiting else ""


def _all_of(facts: Facts) -> str:
    return "the only one" if len(facts.gone) == 1 else f"all {len(facts.gone)}"
