"""One scrape of a Flower: its workers, its tasks and what the extras read become a Snapshot."""

from __future__ import annotations

import logging
from collections.abc import Callable

from prometheus_client.metrics_core import Metric

from push_job import log
from push_job.flower.api import Flower, soon_enough
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.task import label_text
from push_job.http.client import Client
from push_job.http.errors import TransportError
from push_job.metrics import families
from push_job.metrics.extras import columns_of, read_extras
from push_job.metrics.extras.forgotten_workers import is_forgotten
from push_job.metrics.snapshot import Folding, Snapshot
from push_job.settings import Settings

#: Seconds by which the extras end early, so that one that hangs is left out and the rest is pushed.
_EARLY = 0.25


def read_snapshot(
    client: Client, settings: Settings, reader: TaskScraper, until: float, progress: Callable[[int], None]
) -> Snapshot:
    """The whole of one Flower by `until`, a moment of ``time.monotonic()``.

    `reader` knows what was read before, and `progress` is told how many tasks were read so far. Raises FlowerError.
    """
    api = Flower(client, (*families.COLUMNS, *columns_of(settings.extras)))
    workers = _without_forgotten(api, client.retrying(lambda: api.workers(until), until), settings, until)
    reading = reader.read(api, settings.page_size, until, progress)
    tasks = reading.tasks
    by_kind = tasks.by_kind()
    tallies = by_kind.tally()
    folding = Folding(tallies, settings.max_task_types)
    if folding.folded_types or folding.folded_states:
        log.event(
            logging.WARNING,
            "too many task types or states: the rarest are summed under 'other'",
            flower=client.endpoint.address,
            folded_types=folding.folded_types,
            folded_states=folding.folded_states,
            max_task_types=settings.max_task_types,
        )
    extras: list[Metric] = []
    if settings.extras:
        kept = reader.kept
        extras = read_extras(
            settings.extras,
            api,
            by_kind,
            folding.type_label,
            settings.buckets,
            until - _EARLY,
            kept,
            settings.forget_workers_after,
        )
    reader.save()
    folded = folding.fold(tallies)
    of_tasks = families.of_tasks(tasks, folded)
    if reader.remembers:
        of_tasks += families.of_reading(whole=reading.whole, tasks_read=reading.tasks_read)
    return Snapshot(workers, folded, len(tasks), of_tasks, extras, reading.tasks_read)


def _without_forgotten(api: Flower, workers: dict[str, bool], settings: Settings, until: float) -> dict[str, bool]:
    """The workers that are alive, or gone and not yet forgotten; all of them where Flower does not show since when."""
    if all(workers.values()):
        return workers
    try:
        rows, now, _ = api.worker_list(soon_enough(until))
    except TransportError as error:
        log.event(logging.DEBUG, "kept all workers", flower=api.client.endpoint.address, error=str(error))
        return workers
    return {
        name: alive
        for name, alive in workers.items()
        if alive or not is_forgotten(rows.get(label_text(name, "unknown")), now, settings.forget_workers_after)
    }
