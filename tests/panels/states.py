"""Pushes of Flowers in various states, sent without a Flower.

Real Flowers with 60 task types or 40 workers would take minutes.
"""

import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from push_job.metrics.extras import EXTRAS
from tests.panels.scene import STATES

LONG_NAME = "warehouse.inventory.reconciliation.tasks.recount_shelf_{:05d}"
"""A task name of 60 characters."""


@dataclass(frozen=True)
class Group:
    """The group of one Flower.

    Attributes:
        instance: address of the Flower.
        up: whether the Flower could be scraped.
        types: number of task types.
        workers: number of workers.
        extras: whether the push contains extras.
        complete: False for a push that was interrupted before `flower_up`, the last family.
        late_after: seconds after which the next push of a loop is late; None without a loop.
    """

    instance: str
    up: bool = True
    types: int = 3
    workers: int = 4
    extras: bool = True
    complete: bool = True
    late_after: float | None = None

    def text(self, push: int) -> str:
        """Return the text of the push with this number; counters grow with it."""
        lines = ['push_job_build_info{version="1"} 1', "flower_scrape_duration_seconds 0.5"]
        if self.up:
            lines += [
                "flower_scrape_tasks 1000",
                "flower_scrape_window_seconds 600",
                *self._workers(),
                *self._tasks(push),
            ]
            lines += self._extras(push) if self.extras else ()
        if self.late_after is not None:
            lines.append(f"push_job_max_age_seconds {self.late_after}")
        if self.complete:
            lines.append(f"flower_up {int(self.up)}")
        return "\n".join(lines) + "\n"

    @property
    def names(self) -> list[str]:
        """Return the names of the task types, which are long if there are many."""
        return [LONG_NAME.format(number) if self.types > 5 else f"shop.task_{number}" for number in range(self.types)]

    def _workers(self) -> Iterable[str]:
        return [f'celery_workers{{app="celery@w-{number}"}} 1' for number in range(self.workers)]

    def _tasks(self, push: int) -> Iterable[str]:
        for place, name in enumerate(self.names):
            for state in STATES:
                count = (place + 1) * (push if state == "SUCCESS" else 1)
                yield f'celery_task_types_by_state{{task_type="{name}",state="{state}"}} {count}'
                yield f'celery_task_duration_seconds_by_state{{name="{name}",state="{state}"}} {count * 10}'

    def _extras(self, push: int) -> Iterable[str]:
        yield 'celery_queue_length{queue="celery"} 5'
        yield "flower_scrape_unwatched_seconds_total 0"
        yield 'celery_queue_consumers{queue="celery"} 4'
        yield 'celery_queue_consumers{queue="unconsumed"} 0'
        yield 'celery_tasks_by_queue{queue="celery",state="STARTED"} 3'
        yield 'celery_tasks_by_queue{queue="typo",state="PENDING"} 2'
        yield 'celery_queue_orphaned_tasks{queue="celery"} 0'
        yield 'celery_queue_orphaned_tasks{queue="typo"} 2'
        for extra in EXTRAS:
            yield f'flower_scrape_extra_success{{extra="{extra}"}} 1'
        for worker in (f"celery@w-{number}" for number in range(self.workers)):
            yield f'celery_worker_active_tasks{{worker="{worker}"}} 1'
            yield f'celery_worker_pool_processes{{worker="{worker}"}} 4'
            yield f'celery_worker_processed_tasks{{worker="{worker}"}} {push * 10}'
            yield f'celery_worker_prefetched_tasks{{worker="{worker}"}} 2'
            yield f'celery_worker_load_average{{worker="{worker}",period="1m"}} 0.5'
            yield f'celery_worker_last_heartbeat_age_seconds{{worker="{worker}"}} 1'
        for place, name in enumerate(self.names):
            yield f'celery_task_oldest_seconds{{name="{name}",state="STARTED"}} {100 * (place + 1)}'
            yield f'celery_task_failures{{name="{name}",exception="ValueError"}} {place + 1}'
            yield f'celery_task_last_success_timestamp_seconds{{name="{name}"}} {time.time() - 120 * (place + 1)}'
            yield f'celery_task_interval_seconds{{name="{name}"}} 60'
            for state in ("SUCCESS", "FAILURE", "REVOKED", "REJECTED"):
                yield f'celery_tasks_total{{name="{name}",state="{state}"}} {push * (place + 1)}'
            yield f'celery_task_failures_total{{name="{name}",exception="ValueError"}} {push * (place + 1)}'
            yield f'flower_scrape_missed_events_total{{name="{name}"}} 0'
            yield f'flower_task_prefetch_time_seconds{{worker="celery@w-0",task="{name}"}} 0.5'
            for kind in ("task-succeeded", "task-failed"):
                count = push * (place + 1)
                yield f'flower_events_total{{worker="celery@w-0",type="{kind}",task="{name}"}} {count}'
            for family, labels in (
                ("celery_task_runtime_seconds", f'name="{name}"'),
                ("celery_task_wait_seconds", f'name="{name}"'),
                ("celery_task_queue_wait_seconds", f'name="{name}"'),
                ("flower_task_runtime_seconds", f'worker="celery@w-0",task="{name}"'),
            ):
                for bound in ("2.5", "10", "+Inf"):
                    yield f'{family}_bucket{{{labels},le="{bound}"}} {push * (place + 2)}'
                yield f"{family}_count{{{labels}}} {push * (place + 2)}"


def of(count: int) -> list[str]:
    """Return the addresses of `count` Flowers."""
    return [f"flower-{number}:5555" for number in range(count)]


FRESH: dict[str, Sequence[Group]] = {
    "ok": [Group(instance) for instance in of(3)],
    "no-extras": [Group(of(1)[0], extras=False)],
    "one-down": [*(Group(instance) for instance in of(2)), Group(of(3)[2], up=False)],
    "one-too-old": [Group(instance) for instance in of(2)],
    "partial": [Group(of(1)[0]), Group(of(2)[1], complete=False)],
    "loops": [Group(of(1)[0], late_after=3600.0), Group(of(2)[1], late_after=0.0001)],
    "many-types": [Group(of(1)[0], types=60)],
    "many-workers": [Group(of(1)[0], workers=40)],
    "many-flowers": [Group(instance) for instance in of(12)],
}
"""The groups that are pushed until the end, by job."""

OLD: dict[str, Sequence[Group]] = {
    "one-too-old": [Group(of(3)[2])],
    "all-too-old": [Group(instance) for instance in of(3)],
}
"""The groups that are no longer pushed, by job."""

JOBS = sorted({*FRESH, *OLD, "full"})


def put(pushgateway: str, job: str, instance: str, text: str) -> None:
    """Push the text to a group, replacing it."""
    at = f"{pushgateway}/metrics/job/{job}/instance/{urllib.parse.quote(instance, safe='')}"
    urllib.request.urlopen(urllib.request.Request(at, data=text.encode(), method="PUT")).close()
