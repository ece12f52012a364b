"""Tasks that Flower shows as started and that no worker runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from push_job.explain.facts import FINAL_STATES, Facts, Task
from push_job.explain.findings import Finding, Level
from push_job.explain.phrases import names, types, when
from push_job.terminal.formatting import count_words, name_words

#: As many tasks that end unheard, with no success after them, are no single ``Ignore``: nothing can report its result.
ALL_OF_THEM = 3

#: Seconds for which such an end is news.
RECENTLY = 3600


def ended_unheard(facts: Facts) -> Iterator[Finding]:
    """Tasks that ended without Flower hearing of it: their worker runs them no longer."""
    yield from _of_killed_processes(facts)
    tasks = [task for task in facts.ended_unheard if not _was_killed(facts, task)]
    if not tasks:
        return
    first = min(task.started or task.since or facts.now for task in tasks)
    states = " or ".join(sorted({task.state for task in tasks}))
    are, them = ("is", "it") if len(tasks) == 1 else ("are", "them")
    fact = (
        f"{count_words(len(tasks), 'task')} of {names(task.name for task in tasks)} {are} {states} since"
        f" {when(facts, first)} or later, but {names(task.worker for task in tasks)} no longer runs {them}"
    )
    if _nothing_succeeds(facts, tasks):
        yield Finding(
            Level.WRONG,
            "results-lost",
            f"{fact}; no task has succeeded since",
            "likely the result backend is down: Celery then sends no event of a task's end (nor does it if the tasks"
            " raise Ignore)",
            "see whether the result backend (result_backend) runs and has room; the worker's log has its errors",
            link=facts.link(tasks[0]),
            explains=types(tasks),
        )
        return
    yield Finding(
        Level.UNSURE,
        "ended-unheard",
        fact,
        "they ended and Flower did not hear how: a task that raises Ignore sends no event of its end, events are lost"
        " while Flower is away, or the result backend was down",
        "read the worker's log for their ids; restart Flower to have it forget them",
        link=facts.link(tasks[0]),
        explains=types(tasks),
        unknown="how some tasks ended",
    )


def _of_killed_processes(facts: Facts) -> Iterator[Finding]:
    """Tasks of workers that were killed and run again under the same name."""
    for worker in facts.live:
        tasks = [task for task in facts.ended_unheard if task.worker == worker.name and _was_killed(facts, task)]
        if tasks:
            uptime = worker.answer.uptime if worker.answer else None
            yield Finding(
                Level.WRONG,
                "worker-restarted",
                f"Worker {name_words(worker.name)} runs again since {when(facts, facts.now - (uptime or 0.0))}, and"
                f" {count_words(len(tasks), 'task')} of {names(task.name for task in tasks)} of its earlier process"
                f" {'is' if len(tasks) == 1 else 'are'} STARTED",
                "likely the earlier process was killed (out of memory?); what it ran is lost, unless acks_late has it"
                " delivered again",
                "see why it ended: the pod's last state (OOMKilled?), its previous log",
                worker.name,
                facts.link(tasks[0]),
                explains=types(tasks),
            )


def _was_killed(facts: Facts, task: Task) -> bool:
    """Whether an earlier process of its worker began the task and was killed."""
    worker = facts.workers[task.worker]
    uptime = worker.answer.uptime if worker.answer else None
    online, offline = (worker.events.get(f"worker-{event}", 0) for event in ("online", "offline"))
    # Flower may have missed the first start, but not an orderly stop of a process whose task it heard begin.
    heard = (task.started or 0.0) > (facts.started_at or facts.now)
    died = online - offline > 1 or (heard and online > offline == 0)
    return died and uptime is not None and facts.age(task.started) > uptime + 1


def _nothing_succeeds(facts: Facts, tasks: Sequence[Task]) -> bool:
    """Whether all that was started lately ended unheard, whatever its type."""
    newest = max(task.started or task.since or 0.0 for task in tasks)
    succeeded = max((kind.last_success or 0.0 for kind in facts.types.values()), default=0.0)
    unheard = sum((task.started or task.since or 0.0) > succeeded for task in tasks)
    is_news = newest > succeeded and facts.age(newest) <= RECENTLY
    return is_news and unheard >= ALL_OF_THEM and not _only_these_types(facts, tasks)


def _only_these_types(facts: Facts, tasks: Sequence[Task]) -> bool:
    """Whether only tasks of these types never end: they raise Ignore."""
    ended = {name for name, kind in facts.types.items() if any(kind.counts.get(state) for state in FINAL_STATES)}
    return bool(ended) and not ended & types(tasks)
