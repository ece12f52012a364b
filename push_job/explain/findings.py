"""What is wrong with Celery, as far as one Flower can tell: facts become findings, worst first.

A finding says what is known as it is known, and "likely" where it infers. Each rule is a function that yields its
findings; they are called in the order of how bad those are, and that is the order of the list.
"""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain import tasks, workers
from push_job.explain.case import SAME, Case, Finding, Level
from push_job.terminal.formatting import moment_words, time_words

#: Seconds after its start in which Flower knows little of tasks.
_YOUNG = 600

#: What --max-tasks usually is a multiple of.
_ROUND = 1000

#: What Flower 2.0 lists when it is full and started without --max-tasks: up to some thousands more than it remembers.
_FULL_BY_DEFAULT = range(100_000, 110_000)

#: What each of the facts' extras would have told.
_OF_EXTRAS = {
    "queues": "how many messages wait in the queues",
    "ages": "which tasks are the oldest",
    "failures": "which exceptions there were",
    "last-run": "what comes regularly",
}


def findings_of(case: Case) -> list[Finding]:
    """All that is worth knowing, worst first."""
    rules = (
        workers.no_workers,
        workers.workers_that_went,
        workers.queues,
        tasks.stuck,
        tasks.waiting,
        tasks.failing,
        tasks.overdue,
        _memory,
        _unanswered,  # last, when all has been asked
    )
    return [finding for rule in rules for finding in rule(case)]


def _memory(case: Case) -> Iterator[Finding]:
    """What Flower cannot know, and how far back it remembers."""
    facts, age = case.facts, case.flowers_age
    earliest = case.ask.earliest(facts.task_count) if facts.task_count else None
    knows_none_before = earliest is not None and earliest >= (case.started_at or 0.0) - SAME
    if age is not None and age < _YOUNG and (not facts.task_count or knows_none_before):
        what = "no task yet" if not facts.task_count else "nothing of tasks before that"
        yield Finding(
            Level.UNSURE,
            "flower-young",
            f"Flower started {time_words(age)} ago and knows {what}",
            "it forgets all at a restart, unless it runs with --persistent",
            "ask again later; if nobody restarted it, see why it ended (the pod's last state)",
        )
    elif not facts.task_count:
        processed = sum(worker.processed for worker in case.listed.values())
        yield Finding(
            Level.UNSURE,
            "no-tasks",
            f"Flower knows no task, though workers have done {processed:,.0f}" if processed else "Flower knows no task",
            "likely workers send no task events" if processed else "likely none has run since it started",
            "try push-job check, which tells which, and how to mend it",
        )
    elif earliest is not None and (facts.task_count % _ROUND == 0 or facts.task_count in _FULL_BY_DEFAULT):
        yield Finding(
            Level.NOTE,
            "flower-full",
            f"Flower remembers {facts.task_count:,} tasks, back to {moment_words(earliest, case.now)}"
            f" ({time_words(max(0.0, case.now - earliest))})",
            "likely it is full, at its --max-tasks: what was before is forgotten, also by all of the above",
            "raise --max-tasks if that is too short, as for a daily task",
        )


def _unanswered(case: Case) -> Iterator[Finding]:
    """What could not be learnt, so that nobody takes it for well."""
    missing = dict.fromkeys((_OF_EXTRAS[extra] for extra in sorted(case.facts.left_out & _OF_EXTRAS.keys())), "")
    missing |= case.ask.unanswered
    if missing:
        reason = next(filter(None, missing.values()), "")
        yield Finding(
            Level.UNSURE,
            "not-answered",
            f"Flower did not tell {', nor '.join(missing)}{f': {reason}' if reason else ''}",
            "more may be wrong than is told here",
            "try push-job check, which tells what Flower does not answer, and why",
        )
