"""What ``explain`` says of tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from push_job.explain.asking import FoundTask
from push_job.explain.case import SAME, Case, Finding, Level
from push_job.explain.facts import is_a_type
from push_job.explain.limits import (
    FAILURE_MINIMUM,
    FAILURE_RATIO,
    FAILURES_OF_A_TYPE,
    OVERDUE_INTERVALS,
    RECENTLY,
    SHORTEST_INTERVAL,
    STUCK_FACTOR,
    STUCK_NOT_BEFORE,
    STUCK_SECONDS,
    WAIT_SECONDS,
)
from push_job.terminal.formatting import count_words, moment_words, name_words, time_words

#: The states in which a task waits for a worker, and what a long wait likely means.
_WAITS = {
    "PENDING": "likely its queue is long, or no worker has fetched it",
    "RECEIVED": "likely its worker is busy with something long, or lost the task",
    "RETRY": "likely its time to be tried again came and no worker took it",
}

#: The states in which a type's newest task may be that still comes and does not succeed, and what that likely means.
_STILL_COMES = {
    "STARTED": "likely it takes longer than it did",
    **_WAITS,
    "REVOKED": "likely it expires before a worker takes it, or somebody revokes it",
}


def stuck(case: Case) -> Iterator[Finding]:
    started = {name: age for (name, state), age in case.facts.oldest.items() if state == "STARTED"}
    for name in sorted(started, key=lambda name: (-started[name], name)):
        mean = case.facts.mean_runtime(name) if is_a_type(name) else None
        surely = STUCK_SECONDS if mean is None else max(STUCK_NOT_BEFORE, STUCK_FACTOR * mean)
        # What takes long when all is well still makes the alert fire.
        likely = min(surely, STUCK_SECONDS)
        if started[name] <= likely:
            continue
        task, age = _oldest_elsewhere(case, name, "STARTED")
        if age <= likely:
            continue
        if age > surely:
            case.told.add(name)
            case.holds_up(name, case.now - age)
        where = f" on {name_words(task.worker)}" if task and task.worker else ""
        usual = "none of its type has succeeded" if mean is None else f"those that succeeded took {time_words(mean)}"
        yield Finding(
            Level.WRONG if age > surely else Level.UNSURE,
            "stuck",
            f"A task {name_words(name)} has been STARTED for {time_words(age)},"
            f" since {moment_words(case.now - age, case.now)}{where}; {usual}",
            "likely it is stuck, or its worker died without a word"
            if age > surely
            else f"it may be slow or stuck: it has not taken {STUCK_FACTOR} times the usual yet",
            "see what it waits for; a time_limit would end such tasks; revoke it with terminate"
            if age > surely
            else "see what it does; if its type often takes so long, raise the limit of the alert CeleryTaskStuck",
            name,
            case.link(task),
        )


def waiting(case: Case) -> Iterator[Finding]:
    oldest = sorted(case.facts.oldest.items(), key=lambda kind: (-kind[1], kind[0]))
    for (name, state), longest in oldest:
        # Without a worker it is no wonder.
        if state not in _WAITS or longest <= WAIT_SECONDS or name in case.told or not case.facts.live:
            continue
        task, age = _oldest_elsewhere(case, name, state)
        if age <= WAIT_SECONDS:
            continue
        case.told.add(name)
        case.holds_up(name, case.now - age)
        worker = task.worker if task and state == "RECEIVED" else ""
        where = f" at {name_words(worker)}" if worker else ""
        yield Finding(
            Level.UNSURE if _is_untold(case) else Level.WRONG,
            "waiting",
            f"A task {name_words(name)} has waited {time_words(age)} ({state}{where}),"
            f" since {moment_words(case.now - age, case.now)}",
            *_why_it_waits(case, state, worker),
            name,
            case.link(task),
        )


def _why_it_waits(case: Case, state: str, worker: str) -> tuple[str, str]:
    """What a long wait likely means, and what to do."""
    if _is_untold(case):
        done = sum(row.processed for row in case.listed.values())
        return (
            f"workers have done {done:,.0f} and told of none: likely they send no task events, and it may be done",
            "start the workers with -E, or worker_send_task_events = True",
        )
    if worker and case.facts.workers.get(worker) is False:
        return "its worker has gone away with it", "see why that worker ended"
    return _WAITS[state], "see what that worker does, or add workers" if worker else "add workers, or see what they do"


def _is_untold(case: Case) -> bool:
    """Whether all that Flower knows of tasks is what their senders told, though workers have done some."""
    return case.facts.count("PENDING") == case.facts.task_count and any(row.processed for row in case.listed.values())


def _oldest_elsewhere(case: Case, name: str, state: str) -> tuple[FoundTask | None, float]:
    """The oldest task of the type whose trouble was not told with its worker or queue, and its age in seconds."""
    age = case.facts.oldest[name, state]
    if not is_a_type(name):
        return None, age
    if case.ask.is_spent and case.explained:
        return None, 0.0  # it may be one of those
    found = case.ask.oldest(state, case.facts.count(state, name=name), name)
    others = [
        task for task in found if not {task.worker, task.routing_key if state == "PENDING" else ""} & case.explained
    ]
    timed = [(task.since, task.id, task) for task in others if task.since is not None]
    if not timed:
        return None, 0.0 if found else age
    since, _, task = min(timed)
    oldest_of_all = min(task.since for task in found if task.since is not None)
    # Flower may have moved on, or be in an order of its own, so that the oldest one was not among these.
    is_it = abs(case.now - oldest_of_all - age) <= SAME or len(others) < len(found)
    return (task, max(0.0, case.now - since)) if is_it else (None, age)


def failing(case: Case) -> Iterator[Finding]:
    found = list(_failing_types(case))
    yield from found or _failing_here_and_there(case)


def _failing_types(case: Case) -> Iterator[Finding]:
    facts = case.facts
    for name in sorted(facts.failures, key=lambda name: (-facts.failures[name].total(), name)):
        exceptions = facts.failures[name]
        failed, ended = exceptions.total(), exceptions.total() + facts.count("SUCCESS", name=name)
        last = facts.last_failure.get(name)
        since_success = last is not None and last > facts.last_success.get(name, 0.0)
        often = failed >= FAILURES_OF_A_TYPE and failed >= FAILURE_RATIO * ended
        news = last is None or last > case.now - RECENTLY
        # Of a type that comes by the clock, the last run is what matters; of one that comes often, the last two.
        interval = facts.interval.get(name)
        missed = case.now - facts.last_success.get(name, 0.0)
        regular = interval is not None and since_success and (interval >= RECENTLY or missed > 2 * interval)
        if not (often and (news or since_success)) and not regular:
            continue
        case.told.add(name)
        case.holds_up(name, last)
        exception, count = min(exceptions.items(), key=lambda one: (-one[1], one[0]))
        task = case.ask.newest("FAILURE", name) if is_a_type(name) else None
        when = "" if last is None else f", the last one {time_words(max(0.0, case.now - last))} ago"
        share = "all" if count == failed else f"{count:,}"
        yield Finding(
            Level.WRONG,
            "failing",
            f"{name_words(name)}: {failed:,} of {ended:,} ended tasks failed{when};"
            f" {share} of them with {name_words(exception)}",
            f"none has succeeded since{': likely it fails whenever it runs' if failed > 1 else ''}"
            if since_success
            else "others succeed meanwhile: likely it is some of its input, or what it calls is not always there",
            "was there a deploy before the first? Read the traceback of the newest",
            name,
            case.link(task),
        )


def _failing_here_and_there(case: Case) -> Iterator[Finding]:
    """Many failures in all, a few of each type: none of them fails so often that it was told."""
    facts = case.facts
    failed, ended = facts.count("FAILURE"), facts.count("FAILURE", "SUCCESS")
    if ended < FAILURE_MINIMUM or failed <= FAILURE_RATIO * ended:
        return
    last = max(facts.last_failure.items(), key=lambda one: (one[1], one[0]), default=None)
    if last is not None and last[1] <= case.now - RECENTLY:
        return
    exceptions = sum(facts.failures.values(), Counter[str]())
    exception, count = min(exceptions.items(), key=lambda one: (-one[1], one[0]), default=("", 0))
    when = "" if last is None else f", the last one {time_words(max(0.0, case.now - last[1]))} ago"
    of_them = f"; {count:,} of them with {name_words(exception)}" if count else ""
    yield Finding(
        Level.WRONG,
        "failing",
        f"{failed:,} of {ended:,} ended tasks failed{when}{of_them}",
        f"few of each of {count_words(len(facts.failures), 'type')}: likely it is what they share, as a database",
        "was there a deploy before the first? Read the traceback of the newest",
        "",
        None if last is None else case.link(case.ask.newest("FAILURE", last[0])),
    )


def overdue(case: Case) -> Iterator[Finding]:
    facts = case.facts
    if not facts.live:
        return  # which is why
    # As of the time before the tasks were read: what came meanwhile may not have been seen.
    ago = {name: case.scanned - last for name, last in facts.last_success.items()}
    late = {
        name: ago[name] / interval
        for name, interval in facts.interval.items()
        if name in ago and ago[name] > OVERDUE_INTERVALS * interval
    }
    for name in sorted(late.keys() - case.held_up, key=lambda name: (-late[name], name)):
        last, interval = facts.last_success[name], facts.interval[name]
        # One that comes daily is not late yet, but has not come either.
        overdue_for = ago[name] - OVERDUE_INTERVALS * interval
        others_come = any(ago.get(other, overdue_for) < overdue_for for other in facts.interval.keys() - late.keys())
        likely = (
            "likely it was taken out of the schedule, or is held up; other periodic tasks still come"
            if others_come
            else "nothing that came regularly has come since: likely Celery beat has stopped"
        )
        by_schedule = interval >= SHORTEST_INTERVAL
        if came := _came_since(case, name, last):
            yield Finding(
                Level.WRONG if by_schedule else Level.UNSURE,
                "overdue",
                f"{name_words(name)} usually comes every {time_words(interval)} and still comes, but last succeeded"
                f" {time_words(case.now - last)} ago; the newest one is {came.state}",
                _STILL_COMES[came.state],
                "see what it waits for or does",
                name,
                case.link(came),
            )
            continue
        yield Finding(
            Level.WRONG if by_schedule else Level.UNSURE,
            "overdue",
            f"{name_words(name)} usually comes every {time_words(interval)}, but last succeeded"
            f" {time_words(case.now - last)} ago, at {moment_words(last, case.now)}",
            likely if by_schedule else f"{likely}; or they were no schedule's, but a batch that is done",
            "compare with beat's schedule" if others_come else "see whether beat runs, and its log",
            name,
        )


def _came_since(case: Case, name: str, last_success: float) -> FoundTask | None:
    """The newest task of a type that has come since its last success, is due, and has not ended well."""
    asked = (case.ask.newest(state, name) for state in _STILL_COMES if case.facts.count(state, name=name))
    due = case.now + SAME
    came = [task for task in asked if task and task.since is not None and last_success < task.since <= due]
    return max(came, key=lambda task: (task.since or 0.0, task.id), default=None)
