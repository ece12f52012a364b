"""Series of a healthy system, and of one trouble per alert.

A push every few minutes creates them.
"""

from __future__ import annotations

from collections.abc import Callable

from push_job.metrics.extras import EXTRAS

#: Minutes of a scene; its trouble begins in the middle.
MINUTES = 200

_PUSHGATEWAY = {"up", "pushgateway_build_info"}

#: Scenes of their own, because they concern all groups.
ALL_GROUPS = ("PushgatewayDown", "FlowerPushMissing")

#: The value of each push, from its number and the number of the first push with trouble; None if it is missing.
Values = Callable[[int, int], float | None]
Scene = dict[str, Values]


def _always(value: float) -> Values:
    return lambda _push, _trouble: value


def _then(before: float | None, after: float | None) -> Values:
    return lambda push, trouble: before if push < trouble else after


def _cycling(*values: float) -> Values:
    return lambda push, _trouble: values[push % len(values)]


def _growing(before: float, step: float) -> Values:
    return lambda push, trouble: before + step * max(0, push + 1 - trouble)


def healthy(every: int) -> Scene:
    """Return the series of a system that is well, with a push every `every` minutes."""
    step = every * 60
    return {
        "up": _always(1),
        "pushgateway_build_info": _always(1),
        "push_time_seconds": lambda push, _: push * step,
        "push_failure_time_seconds": _always(0),
        'push_job_build_info{version="1"}': _always(1),
        "flower_up": _always(1),
        'celery_workers{app="w1"}': _always(1),
        'celery_workers{app="w2"}': _always(1),
        'celery_task_types_by_state{task_type="t", state="SUCCESS"}': lambda push, _: 1000 + 10 * push,
        'celery_task_types_by_state{task_type="t", state="FAILURE"}': _always(2),
        'celery_task_types_by_state{task_type="t", state="PENDING"}': _cycling(3, 1, 2),
        'celery_task_duration_seconds_by_state{name="t", state="PENDING"}': _cycling(30, 4, 9),
        'celery_queue_length{queue="q"}': _cycling(3, 8, 2, 0, 5),
        'celery_queue_consumers{queue="q"}': _always(2),
        'celery_queue_orphaned_tasks{queue="q"}': _always(0),
        'celery_worker_active_tasks{worker="w1"}': _cycling(1, 0, 4),
        'celery_worker_active_tasks{worker="w2"}': _cycling(0, 2, 1),
        'celery_worker_processed_tasks{worker="w1"}': lambda push, _: 5 * push,
        'celery_worker_processed_tasks{worker="w2"}': lambda push, _: 7 * push,
        'celery_worker_pool_processes{worker="w1"}': _always(4),
        'celery_worker_pool_processes{worker="w2"}': _always(4),
        'celery_task_oldest_seconds{name="t", state="STARTED"}': _cycling(40, 10),
        'celery_task_failures{name="t", exception="ValueError"}': _always(2),
        'celery_task_failures_since_success{name="t"}': _cycling(0, 1),
        'celery_task_last_success_timestamp_seconds{name="t"}': lambda push, _: push * step - 20,
        'celery_task_interval_seconds{name="t"}': _always(60),
        'celery_tasks_total{name="t", state="SUCCESS"}': lambda push, _: 1000 + 10 * push,
        'celery_tasks_total{name="t", state="FAILURE"}': _always(2),
        **{f'flower_scrape_extra_success{{extra="{name}"}}': _always(1) for name in EXTRAS},
    }


def troubles(every: int) -> dict[str, Scene]:
    """Return what differs from `healthy`, by the alert that must fire."""
    step = every * 60
    gone = {name: _then(1, None) for name in ("flower_up", 'push_job_build_info{version="1"}')}
    idle = {
        'celery_worker_active_tasks{worker="w2"}': _then(1, 0),
        'celery_worker_processed_tasks{worker="w2"}': lambda push, trouble: 7 * min(push, trouble - 1),
        'celery_queue_length{queue="q"}': _growing(3, 10),
    }
    return {
        "CeleryNoWorkers": {f'celery_workers{{app="{worker}"}}': _then(1, 0) for worker in ("w1", "w2")},
        "CeleryWorkerWentAway": {'celery_workers{app="w2"}': _then(1, 0)},
        "CeleryFailureRatioHigh": {
            'celery_task_types_by_state{task_type="t", state="SUCCESS"}': _always(100),
            'celery_task_types_by_state{task_type="t", state="FAILURE"}': _growing(2, 5 * every),
        },
        "CeleryTasksWaitTooLong": {
            'celery_task_duration_seconds_by_state{name="t", state="PENDING"}': _then(30, 3000),
        },
        "CeleryBacklogAllWorkersIdle": {
            **idle,
            'celery_worker_active_tasks{worker="w1"}': _then(1, 0),
            'celery_worker_processed_tasks{worker="w1"}': lambda push, trouble: 5 * min(push, trouble - 1),
        },
        "CeleryBacklogSomeWorkersIdle": idle,
        "FlowerExtraFails": {'flower_scrape_extra_success{extra="queues"}': _then(1, 0)},
        "PushgatewayDown": {"up": _then(1, 0)},
        "FlowerPushMissing": gone,
        "FlowerGroupGone": gone,
        "FlowerPushStale": {"push_time_seconds": lambda push, trouble: min(push, trouble) * step},
        "FlowerPushRefused": {
            "push_time_seconds": lambda push, trouble: min(push, trouble) * step,
            "push_failure_time_seconds": lambda push, trouble: push * step if push > trouble else 0,
        },
        "FlowerDown": {"flower_up": _then(1, 0)},
        "FlowerUnsteady": {"flower_up": lambda push, trouble: 1 if push < trouble else push % 2},
        "CeleryTaskStuck": {'celery_task_oldest_seconds{name="t", state="STARTED"}': _growing(10, step)},
        "CeleryTypeFailing": {'celery_task_failures_since_success{name="t"}': _growing(0, 1)},
        "CeleryPeriodicTaskOverdue": {
            'celery_task_last_success_timestamp_seconds{name="t"}': lambda push, trouble: (
                min(push, trouble) * step - 20
            ),
        },
        "CeleryQueueNotConsumed": {
            'celery_queue_consumers{queue="q"}': _then(2, 0),
            'celery_queue_length{queue="q"}': _growing(3, 1),
            'celery_queue_orphaned_tasks{queue="typo"}': _then(None, 1),
        },
        "CeleryWorkersFull": {
            **{f'celery_worker_active_tasks{{worker="{worker}"}}': _then(1, 4) for worker in ("w1", "w2")},
            'celery_queue_length{queue="q"}': _growing(3, 1),
        },
        **{
            alert: {'celery_tasks_total{name="t", state="FAILURE"}': _growing(2, 5)}
            for alert in ("CeleryErrorBudgetBurnsFast", "CeleryErrorBudgetBurns")
        },
        "CeleryNewException": {'celery_task_failures{name="t", exception="KeyError"}': _then(None, 3)},
    }


def promtool_series(scene: Scene, instance: str, every: int, extras: list[str]) -> dict[str, str]:
    """Return the series for promtool, with a value per minute.

    Families of extras that are not selected are left out.
    """
    optional = {name for extra in EXTRAS.values() for family in extra.families for name in family.sample_names}
    pushed = {name for extra in extras for family in EXTRAS[extra].families for name in family.sample_names}
    found = {}
    for series, values in scene.items():
        name, _, labels = series.rstrip("}").partition("{")
        of_extra = labels.partition('extra="')[2].rstrip('"')
        if name in optional - pushed or (of_extra and of_extra not in extras):
            continue
        group = 'job="p", instance="p:9091"' if name in _PUSHGATEWAY else f'job="flower", instance="{instance}"'
        numbers = [values(push, MINUTES // 2 // every) for push in range(MINUTES // every)]
        found[f"{name}{{{', '.join(filter(None, (group, labels)))}}}"] = " ".join(
            ("_" if number is None else format(number, ".10g")) + (f"x{every - 1}" if every > 1 else "")
            for number in numbers
        )
    return found
