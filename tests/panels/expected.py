"""What each query of the main dashboard has to answer in the scene, worked out from the scene's own tasks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tests.panels.ask import Labels
from tests.panels.conftest import Scene
from tests.panels.scene import STATES, Tasks, counted, seconds


@dataclass(frozen=True)
class Between:
    """A number that depends on when it was measured: equal to any number from `low` to `high`, ends included."""

    low: float
    high: float

    def __eq__(self, other: object) -> bool:
        """Whether the other number lies within."""
        return isinstance(other, int | float) and self.low <= other <= self.high

    __hash__ = None  # type: ignore[assignment]  # it equals different numbers


Number = float | Between
Expected = Mapping[Labels, Number]

NOTHING: Expected = {}
SCENE_TAKES = 90.0
"""More seconds than the scene needs from its first event to its last push: how far a waiting task's age may grow."""

CLOCK = 1.0
"""Flower's clock, its Date header, counts whole seconds: an age may be that much too low."""


def of(number: Number, **labels: str) -> Expected:
    """One series."""
    return {frozenset(labels.items()): number}


def live_workers(scene: Scene) -> Expected:
    return of(sum(sum(workers.values()) for workers in scene.workers.values()))


def workers_by_name(scene: Scene) -> Expected:
    return _joined(of(up, app=name) for workers in scene.workers.values() for name, up in workers.items())


def workers_by_group(scene: Scene) -> Expected:
    return _joined(
        of(up, job=job, instance=instance, app=name)
        for (job, instance), workers in scene.workers.items()
        for name, up in workers.items()
    )


def workers_of_each_group(scene: Scene) -> Expected:
    return _joined(
        of(sum(workers.values()), job=job, instance=instance) for (job, instance), workers in scene.workers.items()
    )


def each_group(number: Number) -> Callable[[Scene], Expected]:
    """The same number for each of the chosen groups."""
    return lambda scene: _joined(of(number, job=job, instance=instance) for job, instance in scene.tasks)


def tasks_remembered(scene: Scene) -> Expected:
    return _joined(
        of(sum(alike.count for alike in tasks), job=job, instance=instance)
        for (job, instance), tasks in scene.tasks.items()
    )


def in_states(*states: str) -> Callable[[Scene], Expected]:
    """How many tasks are in these states, in all."""
    return lambda scene: of(_count(scene, *states))


def failure_ratio(scene: Scene) -> Expected:
    return of(_count(scene, "FAILURE") / _count(scene, "FAILURE", "SUCCESS"))


def by_type(state: str) -> Callable[[Scene], Expected]:
    """How many tasks of each type are in a state; a type that never had one has no line."""
    return lambda scene: _joined(
        of(count, task_type=name) for name, count in counted(_all(scene), state).items() if count
    )


def failed_most(column: str) -> Callable[[Scene], Expected]:
    """A column of the table of failures: `count`, or the `share` of the finished ones."""

    def expected(scene: Scene) -> Expected:
        failed, succeeded = (counted(_all(scene), state) for state in ("FAILURE", "SUCCESS"))
        return _joined(
            of({"count": count, "share": count / (count + succeeded[name])}[column], task_type=name)
            for name, count in failed.items()
            if count
        )

    return expected


def longest_wait(scene: Scene) -> Expected:
    """The largest of the mean waits."""
    waits = [number for state in ("PENDING", "RECEIVED") for number in mean_durations(state)(scene).values()]
    (longest,) = [wait for wait in waits if isinstance(wait, Between) and wait.high == _highest(waits)]
    return of(longest)


def _highest(waits: Iterable[Number]) -> float:
    return max(wait.high for wait in waits if isinstance(wait, Between))


def other_states(scene: Scene) -> Expected:
    others = [alike for alike in _all(scene) if alike.state not in STATES]
    return _joined(of(alike.count, task_type=alike.name, state=alike.state) for alike in others)


def durations_by_name(state: str) -> Callable[[Scene], Expected]:
    """Seconds by type."""
    return lambda scene: _joined(of(number, name=name) for name, number in seconds(_all(scene), state).items())


def mean_durations(*states: str, with_state: bool = False) -> Callable[[Scene], Expected]:
    """Mean seconds by type, of tasks that still wait or run a little more."""

    def expected(scene: Scene) -> Expected:
        found = []
        for state in states:
            counts = counted(_all(scene), state)
            for name, number in seconds(_all(scene), state).items():
                mean = number / counts[name]
                grown: Number = mean if state == "SUCCESS" else Between(mean - CLOCK, mean + SCENE_TAKES)
                found.append(of(grown, name=name, **({"state": state} if with_state else {})))
        return _joined(found)

    return expected


def table_of_durations(column: str) -> Callable[[Scene], Expected]:
    """A column of the table: `seconds`, `tasks` or `mean` of each type of each group that has succeeded."""

    def expected(scene: Scene) -> Expected:
        found = []
        for (job, instance), tasks in scene.tasks.items():
            counts = counted(tasks, "SUCCESS")
            for name, number in seconds(tasks, "SUCCESS").items():
                cell = {"seconds": number, "tasks": counts[name], "mean": number / counts[name]}[column]
                found.append(of(cell, job=job, instance=instance, name=name))
        return _joined(found)

    return expected


def grew(scene: Scene) -> Expected:
    """Only shop.pay gained seconds between the pushes; the others' rate is 0."""
    names = seconds(_all(scene), "SUCCESS")
    return _joined(of(Between(0.001, 6.0) if name == "shop.pay" else 0.0, name=name) for name in names)


def _count(scene: Scene, *states: str) -> int:
    return sum(alike.count for alike in _all(scene) if alike.state in states)


def _all(scene: Scene) -> list[Tasks]:
    return [alike for tasks in scene.tasks.values() for alike in tasks]


def _joined(parts: Iterable[Expected]) -> Expected:
    joined: dict[Labels, Number] = {}
    for part in parts:
        assert not joined.keys() & part.keys(), f"{part} twice"
        joined.update(part)
    return joined
