"""What ``explain`` says of tasks."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.commands.explain.asking import FoundTask
from push_job.commands.explain.case import RECENTLY, SAME, WAITS_TOO_LONG, Case, Finding, Level
from push_job.commands.explain.facts import is_a_type
from push_job.commands.words import moment_words, name_words, time_words

#: A started task is taken for stuck after ten times the mean runtime of its type, but not before five minutes; and
#: where no task of its type has succeeded, after an hour.
_STUCK_FACTOR = 10
_STUCK_AFTER = 300
_STUCK_UNKNOWN = 3600

#: A type fails if three tasks have, and one in ten of those that have ended.
_FAILURES = 3
_FAILING_SHARE = 0.1

#: A type is overdue after so many of its own intervals.
_INTERVALS = 3

#: The states in which a task waits for a worker, and what a long wait likely means.
_WAITS = {
    "PENDING": "likely its queue is long, or no worker has fetched it",
    "RECEIVED": "likely its worker is busy with something long, or lost the task",
    "RETRY": "likely its time to be tried again came and no worker took it",
}


def stuck(case: Case) -> Iterator[Finding]:
    limits: dict[str, tuple[float, str]] = {}
    for (name, state), age in case.facts.oldest.items():
        mean = case.facts.mean_runtime(name) if is_a_type(name) else None
        if state == "STARTED":
            after = _STUCK_UNKNOWN if mean is None else max(_STUCK_AFTER, _STUCK_FACTOR * mean)
            usual = (
                "none of its type has succeeded" if mean is None else f"those that succeeded took {time_words(mean)}"
            )
            if age > after:
                limits[name] = after, usual
    for name in sorted(limits, key=lambda name: (-case.facts.oldest[name, "STARTED"], name)):
        after, usual = limits[name]
        task, age = _oldest_elsewhere(case, name, "STARTED")
        if age <= after:
            continue
        case.told.add(name)
        where = f" on {name_words(task.worker)}" if task and task.worker else ""
        yield Finding(
            Level.WRONG,
            "stuck",
            f"A task {name_words(name)} has been STARTED for {time_words(age)},"
            f" since {moment_words(case.now - age, case.now)}{where}; {usual}",
            "likely it is stuck, or its worker died without a word",
            "see what it waits for; a time_limit would end such tasks; revoke it with terminate",
            name,
            case.link(task),
        )


def waiting(case: Case) -> Iterator[Finding]:
    oldest = sorted(case.facts.oldest.items(), key=lambda kind: (-kind[1], kind[0]))
    for (name, state), longest in oldest:
        # Without a worker it is no wonder.
        if state not in _WAITS or longest <= WAITS_TOO_LONG or name in case.told or not case.facts.live:
            continue
        task, age = _oldest_elsewhere(case, name, state)
        if age <= WAITS_TOO_LONG:
            continue
        case.told.add(name)
        where = f" at {name_words(task.worker)}" if task and task.worker and state == "RECEIVED" else ""
        yield Finding(
            Level.WRONG,
            "waiting",
            f"A task {name_words(name)} has waited {time_words(age)} ({state}{where}),"
            f" since {moment_words(case.now - age, case.now)}",
            _WAITS[state],
            "see what that worker does, or add workers",
            name,
            case.link(task),
        )


def _oldest_elsewhere(case: Case, name: str, state: str) -> tuple[FoundTask | None, float]:
    """The oldest task of the type whose trouble was not told with its worker or queue, and its age in seconds."""
    age = case.facts.oldest[name, state]
    if not is_a_type(name):
        return None, age
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
    facts = case.facts
    for name in sorted(facts.failures, key=lambda name: (-facts.failures[name].total(), name)):
        exceptions = facts.failures[name]
        failed, ended = exceptions.total(), exceptions.total() + facts.count("SUCCESS", name=name)
        last = facts.last_failure.get(name)
        since_success = last is not None and last > facts.last_success.get(name, 0.0)
        often = failed >= _FAILURES and failed >= _FAILING_SHARE * ended
        news = last is None or last > case.now - RECENTLY
        # Of a type that comes seldom and by the clock, the last run is what matters.
        regular = name in facts.interval and since_success
        if not (often and (news or since_success)) and not regular:
            continue
        case.told.add(name)
        exception, count = min(exceptions.items(), key=lambda one: (-one[1], one[0]))
        task = case.ask.newest("FAILURE", name) if is_a_type(name) else None
        when = "" if last is None else f", the last one {time_words(max(0.0, case.now - last))} ago"
        share = "all" if count == failed else f"{count:,}"
        yield Finding(
            Level.WRONG,
            "failing",
            f"{name_words(name)}: {failed:,} of {ended:,} ended tasks failed{when};"
            f" {share} of them with {name_words(exception)}",
            "none has succeeded since: likely it fails whenever it runs"
            if since_success
            else "others succeed meanwhile: likely it is some of its input, or what it calls is not always there",
            "was there a deploy before the first? Read the traceback of the newest",
            name,
            case.link(task),
        )


def overdue(case: Case) -> Iterator[Finding]:
    facts = case.facts
    late: list[tuple[float, str]] = []
    if not facts.live:
        return  # which is why
    for name, interval in facts.interval.items():
        last = facts.last_success.get(name)
        # As of the time before the tasks were read: what came meanwhile may not have been seen.
        if last is not None and case.scanned - last > _INTERVALS * interval and name not in case.told | case.held_up:
            late.append(((case.scanned - last) / interval, name))
    beat = len(late) == len(facts.interval)
    for _, name in sorted(late, key=lambda one: (-one[0], one[1])):
        last, interval = facts.last_success[name], facts.interval[name]
        yield Finding(
            Level.WRONG,
            "overdue",
            f"{name_words(name)} usually comes every {time_words(interval)}, but last succeeded"
            f" {time_words(case.now - last)} ago, at {moment_words(last, case.now)}",
            "nothing that came regularly comes any more: likely Celery beat has stopped"
            if beat
            else "likely it was taken out of the schedule, or is held up; other periodic tasks still come",
            "see whether beat runs, and its log" if beat else "compare with beat's schedule",
            name,
        )
