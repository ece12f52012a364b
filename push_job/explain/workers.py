"""What ``explain`` says of workers and queues."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.asking import HEARTBEATS_KEPT, MOST_TASKS, Consumers, FoundTask, Worker
from push_job.explain.case import Case, Finding, Level
from push_job.explain.facts import Facts
from push_job.explain.limits import BUSY_RATIO, RECENTLY, WAIT_SECONDS
from push_job.terminal.formatting import count_words, moment_words, name_words, time_words

#: Seconds after its start in which Flower cannot have heard all workers.
_NOT_HEARD_YET = 30

#: Workers that are asked about, those that went away last.
_MOST_WORKERS = 8

#: What it likely means that no worker is alive, and what to do; the same where Flower cannot ask its broker either.
_NO_WORKERS = (
    "likely no task is being done",
    "start the workers, or see why they ended; if they run: do they reach Flower's broker? With --pool solo they send"
    " no heartbeat during a task, with --without-heartbeat none",
)
_NO_BROKER = (
    "Flower cannot ask its broker either: likely that is away, or the way to it, and the workers may be well",
    "see whether the broker runs, and whether Flower and the workers reach it",
)

#: Seconds after which a task that was sent and not fetched makes it worth asking who consumes its queue.
_FETCHED_WITHIN = 60


def no_workers(case: Case) -> Iterator[Finding]:
    if case.facts.live:
        return
    known = len(case.facts.workers)
    if not known and case.flowers_age is not None and case.flowers_age < _NOT_HEARD_YET:
        yield Finding(
            Level.UNSURE,
            "no-workers",
            f"No worker has been heard yet; Flower started {time_words(case.flowers_age)} ago",
            "it needs a heartbeat of each worker, which come every 2 s unless they are told otherwise",
            "ask again in half a minute",
        )
        return
    waiting = sum(case.facts.waiting.values())
    waits = f"; {count_words(int(waiting), 'message')} in the queues" if waiting else ""
    yield Finding(
        Level.WRONG,
        "no-workers",
        f"No worker is alive, of {known} that Flower knows{waits}" if known else f"Flower sees no worker{waits}",
        *(_NO_BROKER if _is_broker_silent(case) else _NO_WORKERS),
    )


def _is_broker_silent(case: Case) -> bool:
    """Whether Flower cannot ask its broker either, and hears nobody."""
    return not case.facts.live and "queues" in case.facts.left_out


def workers_that_went(case: Case) -> Iterator[Finding]:
    gone = [(name, case.listed.get(name)) for name, alive in case.facts.workers.items() if not alive]
    gone.sort(key=lambda worker: (-(worker[1].last_heartbeat or 0.0) if worker[1] else 0.0, worker[0]))
    for name, row in gone[:_MOST_WORKERS]:
        held = case.ask.held_by(name)
        beat = row.last_heartbeat if row else None
        silent = None if beat is None else max(0.0, case.now - beat)
        # Flower lists a worker until it restarts, so one that is long gone and held nothing is no news.
        if not held and (silent is None or silent > RECENTLY):
            continue
        started = [task for task in held if task.state == "STARTED"]
        oldest = min(started or held, key=lambda task: (task.since or 0.0, task.id), default=None)
        in_order = _may_have_ended_in_order(row)
        # One that was stopped in order may still be doing what it holds: that is told as its own trouble, if it is one.
        if not in_order:
            case.explained.add(name)
            for task in held:
                case.holds_up(task.name, task.since)
        yield Finding(
            (Level.UNSURE if held else Level.NOTE) if in_order else Level.WRONG,
            "worker-gone",
            f"Worker {name_words(name)} {_how_it_went(row, silent)} and held {_held(held)}",
            _what_became_of(case, row, started, held),
            "see why it ended (the pod's last state, its log)" + ("; look at the task that it held" if oldest else ""),
            name,
            case.link(oldest),
        )


def _how_it_went(row: Worker | None, silent: float | None) -> str:
    """What is known of the end of a worker that Flower does not hear any more, `silent` for so many seconds."""
    if silent is None:
        return "went silent" if row is None else "was stopped"
    how = "was stopped, or died soon after its start," if _may_have_ended_in_order(row) else "went silent"
    return f"{how} {time_words(silent)} ago"


def _may_have_ended_in_order(row: Worker | None) -> bool:
    """Whether Flower has fewer heartbeats than of one that fell silent after a while."""
    return row is not None and row.heartbeats < HEARTBEATS_KEPT


def _held(tasks: list[FoundTask]) -> str:
    counts = []
    for state in ("STARTED", "RECEIVED"):
        number = sum(task.state == state for task in tasks)
        at_least = " or more" if number >= MOST_TASKS else ""
        if number:
            counts.append(f"{number}{at_least} {state}")
    return f"{' and '.join(counts)} {'task' if len(tasks) == 1 else 'tasks'}" if counts else "no task"


def _what_became_of(case: Case, row: Worker | None, started: list[FoundTask], held: list[FoundTask]) -> str:
    if _is_broker_silent(case):
        return "likely it has lost the broker, as Flower has"
    in_order = _may_have_ended_in_order(row)
    if in_order and started:
        return (
            "it may still be finishing what it runs (a warm shutdown); if its process has ended, that is lost,"
            " unless acks_late hands it to another worker"
        )
    cause = "likely it was killed (out of memory?) or lost its network"
    if in_order:
        cause = "likely it was told to end" + (", or could not start" if row and row.last_heartbeat else "")
    if started:
        return f"{cause}; what it ran is likely lost, unless acks_late hands it to another worker"
    return f"{cause}; the broker likely hands what it had fetched to another worker" if held else cause


def queues(case: Case) -> Iterator[Finding]:
    """Queues without a consumer, and workers that are full. The workers are asked only if tasks wait for them."""
    facts = case.facts
    waiting = {queue: count for queue, count in facts.waiting.items() if count > 0}
    longest = max((age for (_, state), age in facts.oldest.items() if state in ("PENDING", "RECEIVED")), default=0.0)
    if not facts.live or not (waiting or longest > WAIT_SECONDS or _old_pending(facts)):
        return
    alive = {name for name, seen in facts.workers.items() if seen}
    consumers = case.ask.consumers(alive)
    if silent := sorted(alive - consumers.answered):
        yield from _silent(case, silent)  # one that says nothing may consume anything
        return
    pending = [] if consumers.any_key else case.ask.oldest("PENDING", facts.count("PENDING"))
    by_key: dict[str, list[FoundTask]] = {}
    for task in pending:
        if task.routing_key and task.routing_key not in consumers.keys | consumers.queues.keys():
            by_key.setdefault(task.routing_key, []).append(task)
    for queue in sorted({*waiting, *by_key}, key=lambda queue: (-waiting.get(queue, 0), queue)):
        if consumers.queues[queue] == 0:
            yield _without_consumer(case, queue, int(waiting.get(queue, 0)), by_key.get(queue, []))
    if consumers.processes.keys() == alive <= case.listed.keys():
        fetched = int(sum(count for queue, count in waiting.items() if consumers.queues[queue]))
        active = {name: case.listed[name].active for name in alive}
        if sum(active.values()) >= BUSY_RATIO * sum(consumers.processes.values()) > 0:
            yield from _full(case, consumers, int(sum(active.values())), fetched, longest)
        elif fetched and not any(active.values()):
            yield _idle(fetched, case.facts.live)


def _silent(case: Case, workers: list[str]) -> Iterator[Finding]:
    if not case.ask.unanswered:  # or Flower itself did not answer, which is told once
        yield Finding(
            Level.UNSURE,
            "not-answered",
            f"{len(workers)} of {count_words(case.facts.live, 'live worker')} did not say which queues"
            f" {'it consumes' if len(workers) == 1 else 'they consume'}: {name_words(workers[0])}"
            f"{' and others' if len(workers) > 1 else ''}",
            "so it cannot be told whether anybody consumes the queues in which messages wait; likely it is too busy to"
            " answer, or has worker_enable_remote_control = False",
            "see what it does",
            workers[0],
        )


def _old_pending(facts: Facts) -> bool:
    """Whether a task was sent long ago and no worker has fetched it: which a live worker does at once."""
    return any(age > _FETCHED_WITHIN for (_, state), age in facts.oldest.items() if state == "PENDING")


def _without_consumer(case: Case, queue: str, messages: int, tasks: list[FoundTask]) -> Finding:
    case.explained.add(queue)
    for task in tasks:
        case.holds_up(task.name, task.since)
    oldest = min(tasks, key=lambda task: (task.since or case.now, task.id), default=None)
    since = ""
    if oldest and oldest.since is not None:
        since = f", the oldest since {moment_words(oldest.since, case.now)}"
    if messages:
        what = f"{count_words(messages, 'message')} in it"
    else:
        at_least = "or more " if len(tasks) >= MOST_TASKS else ""
        what = f"{count_words(len(tasks), 'task')} {at_least}PENDING with that routing key"
    return Finding(
        Level.WRONG,
        "no-consumer",
        f"No live worker consumes {name_words(queue)}: {what}{since}",
        "likely its workers are down, or tasks are sent to a queue that nobody was started for",
        "start a worker with -Q and this queue, or mend task_routes; who sends them is on the task's page",
        queue,
        case.link(oldest),
    )


def _full(case: Case, consumers: Consumers, active: int, messages: int, longest: float) -> Iterator[Finding]:
    for_long = longest > WAIT_SECONDS
    if not for_long and not messages:
        return
    waits = [f"a task has waited {time_words(longest)}"] if for_long else []
    waits += (
        [f"{count_words(messages, 'message')} {'is' if messages == 1 else 'are'} in the queues"] if messages else []
    )
    if for_long:
        for (name, state), age in case.facts.oldest.items():
            if state in ("PENDING", "RECEIVED"):
                case.told.add(name)
                case.holds_up(name, case.now - age)
    processes = sum(consumers.processes.values())
    yield Finding(
        Level.WRONG if for_long else Level.UNSURE,
        "workers-full",
        f"{'All' if active >= processes else f'{active:,} of'} {processes:,.0f} processes of"
        f" {count_words(case.facts.live, 'live worker')} are busy, and {', '.join(waits)}",
        "likely there are too few of them, or tasks take longer than they should"
        if for_long
        else "it may be so for a moment only: no task is known to have waited for long",
        "add workers or processes; see below for tasks that are stuck" if for_long else "ask again in some minutes",
    )


def _idle(messages: int, live: int) -> Finding:
    return Finding(
        Level.UNSURE,
        "workers-idle",
        f"{count_words(messages, 'message')} {'is' if messages == 1 else 'are'} in queues that live workers consume,"
        f" and {'the only one does nothing' if live == 1 else f'none of these {live:,} does anything'}",
        "they may have come this moment; or the workers have lost the broker and fetch nothing",
        "ask again in a minute; if they are still there, restart the workers",
    )
