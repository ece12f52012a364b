"""Task types that fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from push_job.explain.facts import Facts, TaskType, is_a_type
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import when
from push_job.terminal.formatting import count_words, name_words

#: Seconds for which failures are news, as the alerts look back.
RECENTLY = 3600

#: A type fails if so many of its tasks have failed since its last success.
FAILURES_OF_A_TYPE = 3

#: CeleryFailureRatioHigh: which part of the tasks that ended lately may have failed, if so many have ended.
FAILURE_RATIO = 0.1
FAILURE_MINIMUM = 20

#: Exceptions that one failure is enough of: whatever the type, something is wrong.
CERTAIN = frozenset({"WorkerLostError", "NotRegistered", "ContentDisallowed"})

#: So many failures in a row have to be this unlikely by the type's own ratio before they are called a change.
BY_CHANCE = 0.01

#: What to do about an exception, by the last part of its name.
ADVICE = {
    "WorkerLostError": (
        "the process that ran it was killed, most often because memory ran out (OOM)",
        "see dmesg or the pod's last state for OOMKilled; raise its memory or set worker_max_memory_per_child",
    ),
    "TimeLimitExceeded": (
        "it ran into its hard time_limit and was killed",
        "see what it waits for; raise time_limit only if it may take so long",
    ),
    "SoftTimeLimitExceeded": (
        "it ran into its soft_time_limit",
        "see in the traceback what it was doing; raise soft_time_limit only if it may take so long",
    ),
    "NotRegistered": (
        "the worker does not know this task: it runs older code or does not import its module, or the name is wrong",
        "compare the name with `celery -A APP inspect registered`; deploy the workers before the senders",
    ),
    "ContentDisallowed": (
        "its arguments or result are in a serialization that is not in accept_content",
        "set task_serializer (or result_serializer) to one of accept_content, on senders and workers",
    ),
    "EncodeError": (
        "its result (or the arguments of a task that it sends) cannot be serialized",
        "return plain data, or ignore_result=True; else set result_serializer",
    ),
}


def failing(facts: Facts) -> Iterator[Finding]:
    """Types that fail since their last success or too often; else many a little."""
    order = sorted(facts.types.values(), key=lambda kind: (-kind.failures_since_success, -_failed(kind), kind.name))
    found = [finding for kind in order if (finding := _of_type(facts, kind))]
    yield from found or _here_and_there(facts)


def _failed(kind: TaskType) -> int:
    return kind.recent.get("FAILURE", 0)


def _of_type(facts: Facts, kind: TaskType) -> Finding | None:
    failed, ended = _failed(kind), _failed(kind) + kind.recent.get("SUCCESS", 0)
    in_a_row = kind.failures_since_success
    is_news = failed > 0 or (kind.last_failure is None and in_a_row > 0)
    if in_a_row and (_fails_always(facts, kind) if is_news else _missed_runs(facts, kind)):
        return _since_last_success(facts, kind)
    is_certain = failed > 0 and _main_exception(kind) in CERTAIN
    if is_certain or (failed >= FAILURES_OF_A_TYPE and failed >= FAILURE_RATIO * ended):
        likely, do = _advice(kind) or (
            "others succeed meanwhile: likely it is some of its input, or what it calls is not always there",
            "read the traceback of the newest and compare its arguments with a success",
        )
        return Finding(
            Level.WRONG,
            "failing",
            f"{name_words(kind.name)}: {failed:,} of {ended:,} tasks that ended within the last hour failed, the last"
            f" one at {when(facts, kind.last_failure or facts.now)}; {_exceptions(kind)}",
            likely,
            do,
            kind.name,
            facts.link(facts.failed.get(kind.name)),
            explains=frozenset({kind.name}),
        )
    return None


def _fails_always(facts: Facts, kind: TaskType) -> bool:
    """Whether the failures since the last success are more than usual."""
    in_a_row = kind.failures_since_success
    if in_a_row < FAILURES_OF_A_TYPE:
        return _missed_runs(facts, kind)
    before = max(0, kind.counts.get("FAILURE", 0) - in_a_row), kind.counts.get("SUCCESS", 0)
    usual = before[0] / sum(before) if sum(before) else 0.0
    return usual**in_a_row < BY_CHANCE


def _missed_runs(facts: Facts, kind: TaskType) -> bool:
    """Whether the last run of a regular type failed; if it comes often, the last two."""
    if kind.interval is None or not kind.failures_since_success:
        return False
    return kind.interval >= RECENTLY or facts.age(kind.last_success or 0.0) > 2 * kind.interval


def _since_last_success(facts: Facts, kind: TaskType) -> Finding:
    count = kind.failures_since_success
    after = (
        f"since its last success at {when(facts, kind.last_success)}" if kind.last_success else "and none has succeeded"
    )
    first = f"; the first failed at {when(facts, kind.first_failure)}" if kind.first_failure else ""
    likely, do = _advice(kind) or (
        "likely it fails whenever it runs, since a change just before the first failure",
        "compare the time of the first failure with the last deploy; read the traceback of the newest",
    )
    return Finding(
        Level.WRONG,
        "failing",
        f"{name_words(kind.name)}: {count_words(count, 'failure')} {after}{first}; {_exceptions(kind)}",
        likely if count > 1 else f"its last run failed: {likely}",
        do,
        kind.name,
        facts.link(facts.failed.get(kind.name)),
        explains=frozenset({kind.name}),
    )


def _exceptions(kind: TaskType) -> str:
    exceptions = Counter(dict(kind.exceptions))
    if not exceptions:
        return "no exception is known"
    name, count = min(exceptions.items(), key=lambda one: (-one[1], one[0]))
    share = "all" if count == exceptions.total() else f"{count:,} of {exceptions.total():,}"
    return f"{share} with {name_words(name)}"


def _advice(kind: TaskType) -> tuple[str, str] | None:
    """What is known of the exception that most of its failures have."""
    return ADVICE.get(_main_exception(kind))


def _main_exception(kind: TaskType) -> str:
    """The class of the exception of most failures of a type, without its modules."""
    name = min(kind.exceptions.items(), key=lambda one: (-one[1], one[0]), default=("", 0))[0]
    return name.rpartition(".")[2]


def _here_and_there(facts: Facts) -> Iterator[Finding]:
    """Many failures in all, a few of each type."""
    failed = sum(map(_failed, facts.types.values()))
    ended = failed + sum(kind.recent.get("SUCCESS", 0) for kind in facts.types.values())
    if ended < FAILURE_MINIMUM or failed <= FAILURE_RATIO * ended:
        return
    failing = [kind for kind in facts.types.values() if _failed(kind)]
    newest = max(failing, key=lambda kind: (kind.last_failure or 0.0, kind.name))
    exceptions: Counter[str] = Counter()
    for kind in failing:
        exceptions.update(dict(kind.exceptions))
    yield Finding(
        Level.WRONG,
        "failing",
        f"{failed:,} of {ended:,} tasks that ended within the last hour failed, the last one at"
        f" {when(facts, newest.last_failure or facts.now)}",
        f"few of each of {count_words(len(failing), 'type')}: likely it is what they share, as a database",
        "read the traceback of the newest, and see the log of what they all call",
        "",
        facts.link(facts.failed.get(newest.name)) if is_a_type(newest.name) else None,
    )
