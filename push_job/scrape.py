"""Scrape one Flower: read workers, tasks and extras into a Snapshot."""

from __future__ import annotations

import logging
from collections.abc import Callable

from prometheus_client.metrics_core import Metric

from push_job import log
from push_job.flower.api import Flower, optional_deadline
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.task import label_text
from push_job.http.client import Client
from push_job.http.errors import TransportError
from push_job.metrics import families
from push_job.metrics.extras import columns_of, read_extras
from push_job.metrics.extras.forgotten_workers import is_forgotten
from push_job.metrics.snapshot import Folding, Snapshot
from push_job.settings import Settings

#: Seconds before the deadline at which the extras must be done, so that one that hangs is left out.
_EXTRAS_MARGIN = 0.25


def read_snapshot(
    client: Client, settings: Settings, scraper: TaskScraper, until: float, progress: Callable[[int], None]
) -> Snapshot:
    """Scrape one Flower.

    Args:
        client: sends the requests.
        settings: the settings of the run.
        scraper: reads the tasks; it has the state of earlier scrapes.
        until: deadline on the clock of ``time.monotonic()``.
        progress: called with the number of tasks read so far.

    Raises:
        TransportError: if it cannot be done by the deadline.
    """
    flower = Flower(client, columns_of(settings.extras))
    workers = _without_forgotten(flower, client.retrying(lambda: flower.workers(until), until), settings, until)
    scraped = scraper.scrape(flower, settings.page_size, until, progress)
    tasks = scraped.tasks
    by_kind = tasks.by_kind()
    folding = Folding(by_kind.tallies, settings.max_task_types)
    if folding.folded_types or folding.folded_states:
        log.event(
            logging.WARNING,
            "too many task types or states; the rarest are counted as 'other'",
            flower=client.endpoint.address,
            folded_types=folding.folded_types,
            folded_states=folding.folded_states,
            max_task_types=settings.max_task_types,
        )
    extras: list[Metric] = []
    if settings.extras:
        extras = read_extras(
            settings.extras,
            flower,
            by_kind,
            folding.type_label,
            settings.buckets,
            until - _EXTRAS_MARGIN,
            scraper.kept,
            settings.forget_workers_after,
            scraped.totals,
            settings.max_task_types,
        )
    folded = folding.fold(by_kind.tallies)
    task_families = families.of_tasks(tasks, folded)
    if scraper.keeps_state:
        task_families += families.of_scrape(full=scraped.full, tasks_read=scraped.tasks_read)
    snapshot = Snapshot(workers, folded, len(tasks), task_families, extras, scraped.tasks_read)
    scraper.save()
    return snapshot


def _without_forgotten(flower: Flower, workers: dict[str, bool], settings: Settings, until: float) -> dict[str, bool]:
    """Return the workers without those that are gone for long.

    Return all of them if Flower does not show since when they are gone.
    """
    if all(workers.values()):
        return workers
    try:
        rows, now, _ = flower.worker_list(optional_deadline(until))
    except TransportError as error:
        log.event(logging.DEBUG, "kept all workers", flower=flower.client.endpoint.address, error=str(error))
        return workers
    return {
        name: alive
        for name, alive in workers.items()
        if alive or not is_forgotten(rows.get(label_text(name, "unknown")), now, settings.forget_workers_after)
    }
