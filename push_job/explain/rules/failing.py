"""Rule: task types that fail."""

from __future__ import annotations

from collections.abc import Iterator

from push_job.explain.facts import Facts, is_a_type
from push_job.explain.findings import Finding, Level
from push_job.explain.model import TaskType
from push_job.explain.phrases import when
from push_job.terminal.formatting import format_count, format_name

#: The kinds of findings, and when each is found, in Markdown.
KINDS = {
    "failing": (
        "a type failed three times since its last success, most recently within the last hour (one failure is enough "
        "for `WorkerLostError`, `NotRegistered` and `ContentDisallowed`); or at least three times and in one of ten "
        "runs within the hour; or the last run of a periodic type failed; or more than one in ten of at least 20 tasks "
        "of all types failed within the hour"
    ),
}

#: Seconds within which a failure counts as recent; the alerts use the same time.
RECENTLY = 3600

#: Number of failures since its last success from which a type is reported.
FAILURES_OF_A_TYPE = 3

#: Ratio of recent tasks that may fail, and number of recent tasks that it needs; the limits of CeleryFailureRatioHigh.
FAILURE_RATIO = 0.1
FAILURE_MINIMUM = 20

#: Exceptions that are reported after one failure, because they are never caused by a task's input.
ALWAYS_REPORTED = frozenset({"WorkerLostError", "NotRegistered", "ContentDisallowed"})

#: Failures in a row are reported only if their probability, by the type's earlier failure ratio, is below this value.
MAX_CHANCE = 0.01

#: Likely cause and next step for an exception, by the last part of its class name.
ADVICE = {
    "WorkerLostError": (
        "the process that ran it was killed, most often because memory ran out (OOM)",
        "look for OOMKilled in dmesg or the pod's last state; raise the memory or set worker_max_memory_per_child",
    ),
    "TimeLimitExceeded": (
        "it exceeded its hard time_limit and was killed",
        "find out what it waits for; raise time_limit only if it may take so long",
    ),
    "SoftTimeLimitExceeded": (
        "it exceeded its soft_time_limit",
        "see in the traceback what it was doing; raise soft_time_limit only if it may take so long",
    ),
    "NotRegistered": (
        "the task is not registered in the worker: it runs older code, does not import the module, or the name is"
        " wrong",
        "compare the name with `celery -A APP inspect registered`; deploy the workers before the senders",
    ),
    "ContentDisallowed": (
        "its arguments or result use a serializer that is not in accept_content",
        "set task_serializer (or result_serializer) to one of accept_content, on senders and workers",
    ),
    "EncodeError": (
        "its result (or the arguments of a task that it sends) cannot be serialized",
        "return plain data or set ignore_result=True; otherwise change result_serializer",
    ),
}


def failing(facts: Facts) -> Iterator[Finding]:
    """Report types that fail since their last success or too often.

    If there is none, report many failures of all types together.
    """
    order = sorted(facts.types.values(), key=lambda kind: (-kind.failures_since_success, -_recent(kind), kind.name))
    found = [finding for kind in order if (finding := _of_type(facts, kind))]
    yield from found or _across_types(facts)


def _recent(kind: TaskType) -> int:
    """Return the number of recent failures."""
    return kind.recent.get("FAILURE", 0)


def _of_type(facts: Facts, kind: TaskType) -> Finding | None:
    failed, ended = _recent(kind), _recent(kind) + kind.recent.get("SUCCESS", 0)
    in_a_row = kind.failures_since_success
    is_recent = failed > 0 or (kind.last_failure is None and in_a_row > 0)
    if in_a_row and (_fails_unusually(facts, kind) if is_recent else _missed_runs(facts, kind)):
        return _since_last_success(facts, kind)
    is_certain = failed > 0 and _main_exception(kind) in ALWAYS_REPORTED
    if is_certain or (failed >= FAILURES_OF_A_TYPE and failed >= FAILURE_RATIO * ended):
        likely, do = _advice(facts, kind) or (
            "other tasks of the type succeed: likely some of its input is bad, or a service that it calls is not always"
            " reachable",
            "read the traceback of the newest failure and compare its arguments with those of a success",
        )
        return Finding(
            Level.WRONG,
            "failing",
            f"{format_name(kind.name)}: {failed:,} of {ended:,} tasks that ended within the last hour failed, the last"
            f" one at {when(facts, kind.last_failure or facts.now)}; {_exceptions(kind)}",
            likely,
            do,
            kind.name,
            facts.link(facts.failed.get(kind.name)),
            explains=frozenset({kind.name}),
        )
    return None


def _fails_unusually(facts: Facts, kind: TaskType) -> bool:
    """Return whether a type has unusually many failures in a row.

    The number is unusual if the type's earlier failure ratio does not explain it.
    """
    in_a_row = kind.failures_since_success
    if in_a_row < FAILURES_OF_A_TYPE:
        return _missed_runs(facts, kind)
    before = max(0, kind.counts.get("FAILURE", 0) - in_a_row), kind.counts.get("SUCCESS", 0)
    usual = before[0] / sum(before) if sum(before) else 0.0
    return usual**in_a_row < MAX_CHANCE


def _missed_runs(facts: Facts, kind: TaskType) -> bool:
    """Return whether the last run of a periodic type failed.

    If the type runs more often than hourly, its last two runs must have failed.
    """
    if kind.interval is None or not kind.failures_since_success:
        return False
    return kind.interval >= RECENTLY or facts.age(kind.last_success or 0.0) > 2 * kind.interval


def _since_last_success(facts: Facts, kind: TaskType) -> Finding:
    count = kind.failures_since_success
    after = f"since its last success at {when(facts, kind.last_success)}" if kind.last_success else "and no success"
    first = f"; the first failed at {when(facts, kind.first_failure)}" if kind.first_failure else ""
    likely, do = _advice(facts, kind) or (
        "likely every run fails since a change shortly before the first failure",
        "compare the time of the first failure with the last deploy; read the traceback of the newest failure",
    )
    return Finding(
        Level.WRONG,
        "failing",
        f"{format_name(kind.name)}: {format_count(count, 'failure')} {after}{first}; {_exceptions(kind)}",
        likely if count > 1 else f"its last run failed: {likely}",
        do,
        kind.name,
        facts.link(facts.failed.get(kind.name)),
        explains=frozenset({kind.name}),
    )


def _exceptions(kind: TaskType) -> str:
    if not kind.exceptions:
        return "the exception is not known"
    name, count = _most_frequent(kind)
    total = sum(kind.exceptions.values())
    return f"{'all' if count == total else f'{count:,} of {total:,}'} with {format_name(name)}"


def _advice(facts: Facts, kind: TaskType) -> tuple[str, str] | None:
    """Return the likely cause and next step for the most frequent exception, or None.

    None means that there are no specific ones.
    """
    return _process_end(facts, kind) or ADVICE.get(_main_exception(kind))


def _process_end(facts: Facts, kind: TaskType) -> tuple[str, str] | None:
    """Return likely cause and next step for a process that was not killed by SIGKILL."""
    newest = facts.failed.get(kind.name)
    end = newest.lost_by if newest and _main_exception(kind) == "WorkerLostError" else ""
    if end.startswith("exitcode"):
        return (
            f"the process that ran it ended by itself ({end}): the task or a library calls sys.exit or os._exit",
            "search the task and its libraries for such a call; raise an exception instead",
        )
    if end.startswith("signal") and not end.startswith("signal 9 "):
        return (
            f"the process that ran it crashed ({end}), most often in a native library",
            "set faulthandler in the worker (PYTHONFAULTHANDLER=1) and look for the crash in its log",
        )
    return None


def _main_exception(kind: TaskType) -> str:
    """Return the most frequent exception class of a type, without its module."""
    return _most_frequent(kind)[0].rpartition(".")[2]


def _most_frequent(kind: TaskType) -> tuple[str, int]:
    return min(kind.exceptions.items(), key=lambda one: (-one[1], one[0]), default=("", 0))


def _across_types(facts: Facts) -> Iterator[Finding]:
    """Report many failures in total with only a few of each type."""
    failed = sum(map(_recent, facts.types.values()))
    ended = failed + sum(kind.recent.get("SUCCESS", 0) for kind in facts.types.values())
    if ended < FAILURE_MINIMUM or failed <= FAILURE_RATIO * ended:
        return
    failing = [kind for kind in facts.types.values() if _recent(kind)]
    newest = max(failing, key=lambda kind: (kind.last_failure or 0.0, kind.name))
    yield Finding(
        Level.WRONG,
        "failing",
        f"{failed:,} of {ended:,} tasks that ended within the last hour failed, the last one at"
        f" {when(facts, newest.last_failure or facts.now)}",
        f"a few of each of {format_count(len(failing), 'type')}: likely a service that they share fails, e.g. a"
        " database",
        "read the traceback of the newest failure, then the log of the service that they share",
        "",
        facts.link(facts.failed.get(newest.name)) if is_a_type(newest.name) else None,
    )
