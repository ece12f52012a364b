"""Expected results of the main dashboard's queries in the scene."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tests.panels.ask import Labels
from tests.panels.conftest import Scene
from tests.panels.scene import STATES, Tasks, counted, seconds


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, which depends on the time of measurement."""

    low: float
    high: float

    def __eq__(self, other: object) -> bool:
        """Return whether the other number is in the interval."""
        return isinstance(other, int | float) and self.low <= other <= self.high

    __hash__ = None  # type: ignore[assignment]  # it is equal to different numbers


Number = float | Between
Expected = Mapping[Labels, Number]

NOTHING: Expected = {}
SCENE_TAKES = 90.0
"""Upper limit of the seconds from the first event to the last push of the scene, by which ages may grow."""

CLOCK = 1.0
"""Seconds by which an age may be too low, because the Date header of Flower has a resolution of one second."""


def of(number: Number, **labels: str) -> Expected:
    """Return one series."""
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
    """Return the same number for each selected group."""
    return lambda scene: _joined(of(number, job=job, instance=instance) for job, instance in scene.tasks)


def tasks_listed(scene: Scene) -> Expected:
    return _joined(
        of(sum(group.count for group in tasks), job=job, instance=instance)
        for (job, instance), tasks in scene.tasks.items()
    )


def by_state(scene: Scene) -> Expected:
    """Return the tasks in each state; the usual states have a line even without tasks."""
    states = {*STATES, *(group.state for group in _all(scene))}
    return _joined(of(_count(scene, state), state=state) for state in states)


def mean_durations_by_state(scene: Scene) -> Expected:
    """Return the mean seconds by state; states without seconds have no line."""
    means = {state: sum(seconds(_all(scene), state).values()) / max(_count(scene, state), 1) for state in STATES}
    unfinished = {
        state: Between(mean - CLOCK, mean + SCENE_TAKES) for state, mean in means.items() if state != "SUCCESS"
    }
    return _joined(of(unfinished.get(state, mean), state=state) for state, mean in means.items() if mean)


def by_type(state: str) -> Callable[[Scene], Expected]:
    """Return the tasks of each type in a state; types without such tasks have no line."""
    return lambda scene: _joined(
        of(count, task_type=name) for name, count in counted(_all(scene), state).items() if count
    )


def failed_most(column: str) -> Callable[[Scene], Expected]:
    """Return a column of the table of failures: `count` or `share`."""

    def expected(scene: Scene) -> Expected:
        failed, succeeded = (counted(_all(scene), state) for state in ("FAILURE", "SUCCESS"))
        return _joined(
            of({"count": count, "share": count / (count + succeeded[name])}[column], task_type=name)
            for name, count in failed.items()
            if count
        )

    return expected


def other_states(scene: Scene) -> Expected:
    others = [group for group in _all(scene) if group.state not in STATES]
    return _joined(of(group.count, task_type=group.name, state=group.state) for group in others)


def durations_by_name(state: str) -> Callable[[Scene], Expected]:
    """Return the seconds by type."""
    return lambda scene: _joined(of(number, name=name) for name, number in seconds(_all(scene), state).items())


def mean_durations(*states: str, with_state: bool = False) -> Callable[[Scene], Expected]:
    """Return the mean seconds by type; unfinished tasks may have grown older."""

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
    """Return a column of the table of durations: `seconds`, `tasks` or `mean`."""

    def expected(scene: Scene) -> Expected:
        found = []
        for (job, instance), tasks in scene.tasks.items():
            counts = counted(tasks, "SUCCESS")
            for name, number in seconds(tasks, "SUCCESS").items():
                cell = {"seconds": number, "tasks": counts[name], "mean": number / counts[name]}[column]
                found.append(of(cell, job=job, instance=instance, name=name))
        return _joined(found)

    return expected


def increased(scene: Scene) -> Expected:
    """Only shop.pay succeeded between the pushes; the rate of the others is 0."""
    names = seconds(_all(scene), "SUCCESS")
    return _joined(of(Between(0.001, 6.0) if name == "shop.pay" else 0.0, name=name) for name in names)


def _count(scene: Scene, *states: str) -> int:
    return sum(group.count for group in _all(scene) if group.state in states)


def _all(scene: Scene) -> list[Tasks]:
    return [group for tasks in scene.tasks.values() for group in tasks]


def _joined(parts: Iterable[Expected]) -> Expected:
    joined: dict[Labels, Number] = {}
    for part in parts:
        assert not joined.keys() & part.keys(), f"duplicate: {part}"
        joined.update(part)
    return joined
