"""Read one Flower into ``Facts``: a full scrape, then a few small requests.

A request of the second part may fail without an effect on the others. Its result is then None, and ``unanswered`` has
the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from push_job.explain.facts import Facts
from push_job.explain.gather.copies import with_copies
from push_job.explain.gather.counters import counters_of
from push_job.explain.gather.queues import queues_of
from push_job.explain.gather.requests import OptionalRequests
from push_job.explain.gather.tasks import earliest_event, failed_tasks, types_of, unfinished_tasks
from push_job.explain.gather.workers import with_answers, with_pools, with_process_ids, workers_of
from push_job.flower.api import Flower
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.incremental.state_file import StateFile
from push_job.flower.task import came_at, ended_at, sent_at
from push_job.http.client import Client
from push_job.metrics.extras.failures import CLASS
from push_job.settings import Endpoint, Settings
from push_job.text import one_line

#: Number of tasks with the newest events that are checked for wrong clocks.
_NEWEST = 100

#: Characters of the reason of failed incremental scrapes that are shown.
_REASON_LENGTH = 200


def gather(
    client: Client, settings: Settings, until: float, scraped_by: float, progress: Callable[[int], None]
) -> Facts:
    """Read one Flower.

    Args:
        client: HTTP client for the Flower.
        settings: the settings of the run.
        until: deadline of all requests, a time of ``time.monotonic()``.
        scraped_by: deadline of the scrape, a time of ``time.monotonic()``.
        progress: called with the number of tasks read so far.

    Raises:
        TransportError: Flower could not be scraped.
    """
    began = time.monotonic()
    flower = Flower(client, (came_at, ended_at, sent_at, CLASS))
    alive = client.retrying(lambda: flower.workers(scraped_by), scraped_by)
    tasks = TaskScraper(0).scrape(flower, settings.page_size, scraped_by, progress).tasks
    by_kind, now = tasks.by_kind(), flower.now
    requests = OptionalRequests(flower, until)
    rows = requests.ask(lambda: flower.worker_list(until), "which workers stopped sending heartbeats")
    now = rows[1] if rows else now
    scanned = now - (time.monotonic() - began)
    types = types_of(by_kind, now)
    started_at, events, received = counters_of(requests)
    has_revoked = any(kind.counts.get("REVOKED") for kind in types.values())
    facts = Facts(
        url=client.endpoint.url,
        now=now,
        scanned=scanned,
        workers=workers_of(alive, rows[0] if rows else {}),
        types=types,
        task_count=len(tasks),
        unfinished=unfinished_tasks(requests, types),
        queues=queues_of(requests),
        failed=failed_tasks(requests, types),
        revoked=requests.tasks(_NEWEST, state="REVOKED") if has_revoked else (),
        has_sent_events=by_kind.has(sent_at) if len(tasks) else None,
        started_at=started_at,
        events=events,
        received=received,
        newest=requests.tasks(_NEWEST),
        earliest=earliest_event(requests, len(tasks)),
    )
    facts = with_process_ids(requests, facts)
    facts = with_pools(requests, facts)
    facts = with_answers(requests, facts)
    facts = with_copies(requests, facts)
    return replace(_with_incremental_scrapes(facts, client.endpoint, settings), unanswered=requests.unanswered)


def _with_incremental_scrapes(facts: Facts, flower: Endpoint, settings: Settings) -> Facts:
    """Add what the state file says about incremental scrapes, if there is one."""
    path = settings.state_path(flower)
    attempts = StateFile(path, flower.url, flower.address).attempts() if path else None
    if attempts is None:
        return facts
    return replace(
        facts,
        failed_incremental_scrapes=attempts.failures,
        incremental_scrape_error=one_line(attempts.reason, _REASON_LENGTH),
    )
