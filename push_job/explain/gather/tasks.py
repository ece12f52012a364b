"""Types, unfinished tasks and failed tasks of one Flower."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from push_job.explain.facts import is_a_type
from push_job.explain.gather.requests import MAX_TASKS, OptionalRequests
from push_job.explain.model import FINAL_STATES, Task, TaskType
from push_job.flower.task import STATES, came_at, ended_at, sent_at
from push_job.flower.tasks_by_kind import Tally, TasksByKind
from push_job.metrics.extras.failures import CLASS
from push_job.metrics.extras.last_run import usual_interval

#: Number of PENDING, RECEIVED and RETRY tasks to read, the oldest of each: there may be very many with a later ETA.
_OLDEST = 200

#: Number of custom states whose tasks are read.
_MAX_STATES = 5

#: Number of failing types whose newest failed task is read.
_MAX_FAILING = 5

#: Seconds within which an event counts as recent.
RECENT = 3600


def types_of(tasks: TasksByKind, now: float) -> dict[str, TaskType]:
    found = {}
    exceptions = tasks.texts_of(CLASS)
    for name in tasks.types:
        counts = {state: tasks.count(name, state) for state in tasks.states_of(name)}
        succeeded, failed = (tasks.values_in(ended_at, name, state) for state in ("SUCCESS", "FAILURE"))
        last_success = max(succeeded, default=None)
        after = [time for time in failed if time > (last_success or 0.0)]
        came = tasks.values_of(came_at, name)
        recent = {
            state: sum(now - RECENT < time for time in times)
            for state, times in (("SUCCESS", succeeded), ("FAILURE", failed))
        }
        found[name] = TaskType(
            name,
            counts,
            last_success=last_success,
            last_failure=max(failed, default=None),
            first_failure=min(after, default=None),
            failures_since_success=len(after) if last_success else counts.get("FAILURE", 0),
            recent=recent,
            exceptions=exceptions.get(name, Counter()),
            longest=tasks.tallies.get((name, "SUCCESS"), Tally()).longest,
            interval=usual_interval(came) if is_a_type(name) else None,
            last_came=max(came, default=None),
            is_sending_seen=2 * len(tasks.values_of(sent_at, name)) >= sum(counts.values()),
        )
    return found


def unfinished_tasks(requests: OptionalRequests, types: Mapping[str, TaskType]) -> tuple[Task, ...]:
    """Return the unfinished tasks, the oldest ones if there are many.

    The limit is _OLDEST for PENDING, RECEIVED and RETRY, and MAX_TASKS for STARTED and each custom state. Only the
    _MAX_STATES most frequent custom states are read.
    """
    counts: Counter[str] = Counter()
    for kind in types.values():
        counts.update(kind.counts)
    custom = sorted(counts.keys() - set(STATES) - FINAL_STATES, key=lambda state: (-counts[state], state))
    found: list[Task] = []
    for state in ("STARTED", *custom[:_MAX_STATES], "RECEIVED", "PENDING", "RETRY"):
        count = counts[state]
        if not count:
            continue
        limit = _OLDEST if state in ("PENDING", "RECEIVED", "RETRY") else MAX_TASKS
        # The list is sorted by the newest event, descending, so the oldest tasks are at its end.
        listed = requests.tasks(limit, max(0, count - limit), f"which tasks are {state}", state=state)
        found += [task for task in listed if task.state == state]
    return tuple(found)


def failed_tasks(requests: OptionalRequests, types: Mapping[str, TaskType]) -> dict[str, Task]:
    """Return the newest failed task of each of the types that fail most often."""
    failing = [kind for kind in types.values() if kind.recent.get("FAILURE") or kind.failures_since_success]
    failing.sort(key=lambda kind: (-kind.failures_since_success, -kind.recent.get("FAILURE", 0), kind.name))
    found = {}
    for kind in failing[:_MAX_FAILING]:
        if is_a_type(kind.name):
            listed = requests.tasks(20, state="FAILURE", taskname=kind.name)
            its_own = [task for task in listed if task.name == kind.name and task.state == "FAILURE"]
            if its_own:
                found[kind.name] = max(its_own, key=lambda task: (task.since or 0.0, task.id))
    return found


def earliest_event(requests: OptionalRequests, count: int) -> float | None:
    listed = requests.tasks(100, max(0, count - 100)) if count else ()
    stamps = [stamp for task in listed for stamp in (task.sent, task.received, task.started) if stamp]
    return min(stamps, default=None)
