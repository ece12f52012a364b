"""States of the watched world, as pushes of the contract's families, told to a real Pushgateway without a Flower.

Real Flowers with 60 task types or 40 workers would take minutes; what a push of them looks like is known.
"""

import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from push_job.metrics.extras import EXTRAS
from tests.panels.scene import STATES

LONG_NAME = "warehouse.inventory.reconciliation.tasks.recount_shelf_{:05d}"
"""60 characters."""


@dataclass(frozen=True)
class Group:
    """What one Flower's group holds.

    Attributes:
        up: whether it could be scraped.
        types, workers: how many it knows.
        extras: with what `--with` adds.
        whole: False for a group that broke off before `flower_up`, the last family.
    """

    instance: str
    up: bool = True
    types: int = 3
    workers: int = 4
    extras: bool = True
    whole: bool = True

    def text(self, turn: int) -> str:
        """The exposition text of a turn: counters and sums grow from turn to turn."""
        lines = ['push_job_build_info{version="1"} 1', "flower_scrape_duration_seconds 0.5"]
        if self.up:
            lines += ["flower_scrape_tasks 1000", *self._workers(), *self._tasks(turn)]
            lines += self._extras(turn) if self.extras else ()
        if self.whole:
            lines.append(f"flower_up {int(self.up)}")
        return "\n".join(lines) + "\n"

    @property
    def names(self) -> list[str]:
        """Its task types: of 60 characters if there are many."""
        return [LONG_NAME.format(number) if self.types > 5 else f"shop.task_{number}" for number in range(self.types)]

    def _workers(self) -> Iterable[str]:
        return [f'celery_workers{{app="celery@w-{number}"}} 1' for number in range(self.workers)]

    def _tasks(self, turn: int) -> Iterable[str]:
        for place, name in enumerate(self.names):
            for state in STATES:
                count = (place + 1) * (turn if state == "SUCCESS" else 1)
                yield f'celery_task_types_by_state{{task_type="{name}",state="{state}"}} {count}'
                yield f'celery_task_duration_seconds_by_state{{name="{name}",state="{state}"}} {count * 10}'

    def _extras(self, turn: int) -> Iterable[str]:
        yield 'celery_queue_length{queue="celery"} 5'
        yield 'celery_queue_consumers{queue="celery"} 4'
        yield 'celery_queue_consumers{queue="nobodys"} 0'
        for extra in EXTRAS:
            yield f'flower_scrape_extra_success{{extra="{extra}"}} 1'
        for worker in (f"celery@w-{number}" for number in range(self.workers)):
            yield f'celery_worker_active_tasks{{worker="{worker}"}} 1'
            yield f'celery_worker_pool_processes{{worker="{worker}"}} 4'
            yield f'celery_worker_processed_tasks{{worker="{worker}"}} {turn * 10}'
            yield f'celery_worker_prefetched_tasks{{worker="{worker}"}} 2'
            yield f'celery_worker_load_average{{worker="{worker}",period="1m"}} 0.5'
            yield f'celery_worker_last_heartbeat_age_seconds{{worker="{worker}"}} 1'
        for place, name in enumerate(self.names):
            yield f'celery_task_oldest_seconds{{name="{name}",state="STARTED"}} {100 * (place + 1)}'
            yield f'celery_task_failures{{name="{name}",exception="ValueError"}} {place + 1}'
            yield f'celery_task_last_success_timestamp_seconds{{name="{name}"}} {time.time() - 120 * (place + 1)}'
            yield f'celery_task_interval_seconds{{name="{name}"}} 60'
            yield f'flower_task_prefetch_time_seconds{{worker="celery@w-0",task="{name}"}} 0.5'
            for kind in ("task-succeeded", "task-failed"):
                count = turn * (place + 1)
                yield f'flower_events_total{{worker="celery@w-0",type="{kind}",task="{name}"}} {count}'
            for family, labels in (
                ("celery_task_runtime_seconds", f'name="{name}"'),
                ("celery_task_wait_seconds", f'name="{name}"'),
                ("celery_task_queue_wait_seconds", f'name="{name}"'),
                ("flower_task_runtime_seconds", f'worker="celery@w-0",task="{name}"'),
            ):
                for bound in ("2.5", "10", "+Inf"):
                    yield f'{family}_bucket{{{labels},le="{bound}"}} {turn * (place + 2)}'
                yield f"{family}_count{{{labels}}} {turn * (place + 2)}"


def of(count: int) -> list[str]:
    """Addresses of so many Flowers."""
    return [f"flower-{number}:5555" for number in range(count)]


FRESH: dict[str, Sequence[Group]] = {
    "well": [Group(instance) for instance in of(3)],
    "no-extras": [Group(of(1)[0], extras=False)],
    "one-down": [*(Group(instance) for instance in of(2)), Group(of(3)[2], up=False)],
    "one-too-old": [Group(instance) for instance in of(2)],
    "a-part": [Group(of(1)[0]), Group(of(2)[1], whole=False)],
    "many-types": [Group(of(1)[0], types=60)],
    "many-workers": [Group(of(1)[0], workers=40)],
    "many-flowers": [Group(instance) for instance in of(12)],
}
"""By job: the groups that are pushed until the end."""

OLD: dict[str, Sequence[Group]] = {
    "one-too-old": [Group(of(3)[2])],
    "all-too-old": [Group(instance) for instance in of(3)],
}
"""By job: the groups that nobody pushes any more."""

JOBS = sorted({*FRESH, *OLD, "full"})


def put(pushgateway: str, job: str, instance: str, text: str) -> None:
    """Replace a group."""
    at = f"{pushgateway}/metrics/job/{job}/instance/{urllib.parse.quote(instance, safe='')}"
    urllib.request.urlopen(urllib.request.Request(at, data=text.encode(), method="PUT")).close()
