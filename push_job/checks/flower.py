"""Check a Flower: its API, clock, workers, tasks, events and the extras."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric

from push_job.checks.connectivity import check_connection
from push_job.checks.scrape_time import check_scrape_time
from push_job.checks.step import CheckError, Step
from push_job.flower.api import Flower
from push_job.flower.page import SharedIndex
from push_job.flower.table import TaskTable
from push_job.flower.task import STATES
from push_job.http.client import open_client
from push_job.http.errors import TransportError
from push_job.metrics.extras import columns_of, read_extras, stateless
from push_job.settings import PAGE_SIZE, Endpoint, Settings
from push_job.terminal.formatting import format_duration

#: Seconds by which two clocks may differ before the ages of tasks look wrong.
_CLOCK_TOLERANCE = 30

#: Seconds without a task event that are worth a look.
_LONG_AGO = 3600


def check_flower(flower: Endpoint, settings: Settings, extras: list[Metric]) -> Iterator[Step]:
    """Yield the steps for one Flower.

    Stop at a failure that makes the later steps pointless.

    Args:
        flower: the Flower.
        settings: the settings of the run.
        extras: receives the families of the extras that could be read.
    """
    until = time.monotonic() + settings.deadline
    with contextlib.closing(open_client(flower, settings)) as client:
        api = Flower(client, columns_of(settings.extras))
        try:
            yield from check_connection(flower, settings.timeout)
            workers = client.retrying(lambda: api.workers(until), until)
            yield Step(True, "it is Flower, and its API can be read")
            rows, now, version = _worker_rows(api, until)
            yield Step(True, version)
            yield _clock(now)
            live = sum(workers.values())
            yield _workers(live, len(workers))
            tasks = TaskTable(SharedIndex())
            size, started = settings.page_size or PAGE_SIZE, time.monotonic()
            page = client.retrying(lambda: api.page(tasks.shared, 0, size, until), until)
            seconds = time.monotonic() - started
            tasks.merge(page)
            yield Step(True, f"its newest tasks can be read, {len(tasks):,} in one request")
            if len(page) == size:
                yield check_scrape_time(api, size, seconds, settings, until)
            yield _events(api, tasks, max(page.stamps, default=0.0), rows, now, live, until)
            for name in stateless(settings.extras):
                yield _extra(name, api, tasks, settings, until, extras)
        except (TransportError, CheckError) as error:
            yield Step(False, str(error))


def _worker_rows(api: Flower, until: float) -> tuple[dict[str, dict[str, Any]], float, str]:
    """Return worker rows, Flower's Unix time, and a sentence about its version.

    The rows are those of Flower's page of workers. If it cannot be read, there are no rows, and the time is this
    machine's.
    """
    try:
        rows, now, path = api.worker_list(until)
    except TransportError:  # a proxy may block the page, which is no error
        return {}, time.time(), "its version is unknown (Flower does not report it)"
    version = "2.0 or newer" if path == "/workers" else "1.2 or older"
    return rows, now, f"its version is {version} (Flower does not report it exactly)"


def _clock(now: float) -> Step:
    ahead = now - time.time()
    if abs(ahead) <= _CLOCK_TOLERANCE:
        return Step(True, "its clock agrees with this machine's")
    side = "ahead of" if ahead > 0 else "behind"
    return Step(False, f"its clock is {abs(ahead):,.0f} s {side} this machine's; synchronize both with NTP")


def _workers(live: int, known: int) -> Step:
    if live:
        return Step(True, f"it sees {live} live workers of {known} known ones")
    if known:
        return Step(False, f"none of the {known} workers that it knows sends heartbeats; are they running?")
    return Step(False, "it sees no worker; is one running with the same broker as Flower and with heartbeats on?")


def _events(
    api: Flower, tasks: TaskTable, newest: float, rows: dict[str, dict[str, Any]], now: float, live: int, until: float
) -> Step:
    """Check whether task events arrive.

    Args:
        api: the Flower.
        tasks: its newest tasks.
        newest: Unix time of the newest task event.
        rows: the workers' rows; workers report the number of processed tasks with and without events.
        now: Flower's Unix time.
        live: number of live workers.
        until: deadline on the clock of ``time.monotonic()``.
    """
    processed = sum(row["processed"] for row in rows.values() if isinstance(row.get("processed"), int))
    if len(tasks) and (not processed or _has_worker_events(api, tasks, until)):
        return _event_age(now - newest)
    if processed:
        what = "all task events come from senders" if len(tasks) else "no task event has arrived"
        return Step(
            False,
            f"workers have processed {processed:,} tasks, but {what};"
            " start workers with -E (or worker_send_task_events = True), or Flower with --enable-events",
        )
    return Step(None if live else False, "no task event has arrived, and no task has run that could have sent one")


def _has_worker_events(api: Flower, tasks: TaskTable, until: float) -> bool:
    """Return whether a worker has sent an event.

    The event of a PENDING task comes from a client.
    """
    if any(state != "PENDING" for _, state in tasks.tally()):
        return True
    return any(api.has_task_in(state, until) for state in STATES if state != "PENDING")


def _event_age(age: float) -> Step:
    if age < -_CLOCK_TOLERANCE:
        return Step(
            False,
            f"the newest task event is {format_duration(-age)} ahead of Flower's clock;"
            " synchronize the clocks of all workers and senders with NTP",
        )
    return Step(
        True if age < _LONG_AGO else None, f"task events arrive, the newest one {format_duration(max(0.0, age))} ago"
    )


def _extra(name: str, api: Flower, tasks: TaskTable, settings: Settings, until: float, extras: list[Metric]) -> Step:
    """Try to read one extra, with the tasks that are known."""
    *found, success = read_extras([name], api, tasks.by_kind(), str, settings.buckets, until, {})
    extras += found
    if success.samples[0].value:
        return Step(True, f"the extra {name} can be read")
    return Step(False, f"the extra {name} cannot be read, so push leaves it out; the log line above has the reason")
