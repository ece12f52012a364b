"""The job: scrape and push all Flowers side by side, once or cycle after cycle.

The deadline holds whatever the servers do. Sockets have timeouts. Work that
outlives those (a server that sends one byte at a time, a slow name lookup) is
aborted or left behind in its thread, where it cannot push any more (see
`Cycle.take_permit`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from push_job import log
from push_job.cycle import Cycle, Outcome, ScrapeResult
from push_job.fan_out import FanOut
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.incremental.state_file import StateFile
from push_job.http.client import Client, open_client
from push_job.http.errors import TransportError
from push_job.metrics.extras import all_extras_failed, needing_state
from push_job.metrics.families import SCRAPE_DURATION
from push_job.metrics.registry import push_registry
from push_job.pushgateway.client import UNKNOWN, PushgatewayClient, PushgatewayError
from push_job.pushgateway.encoding import ENCODINGS
from push_job.pushgateway.verification import NO_GROUPS, check_stored, victoriametrics_rows
from push_job.scrape import read_snapshot
from push_job.settings import Endpoint, Settings

#: Grace period in seconds after a deadline, so that work that has just timed out can report it.
_GRACE = 0.25

#: Minimum time in seconds by which a planned push may be late.
_MIN_SLACK = 10.0

Progress = Callable[[Endpoint, int], None]


class Job:
    """The servers of a run. Connections and state are kept from one cycle to the next.

    Args:
        settings: the settings of the run.
        progress: called from other threads with a Flower and the number of its tasks read so far.
        keep_state: whether to scrape incrementally without a state file too.
    """

    def __init__(
        self, settings: Settings, progress: Progress = lambda _flower, _tasks: None, *, keep_state: bool = False
    ) -> None:
        self._settings = settings
        self._every = 0.0
        self._longest = dict.fromkeys(settings.flowers, 0.0)
        self._scrapers = {flower: _task_scraper(settings, flower, keep_state) for flower in settings.flowers}
        self._progress = progress
        self._clients = {flower: open_client(flower, settings) for flower in settings.flowers}
        self._idle_pushgateways: list[Client] = []
        self._cycles: list[Cycle] = []
        self._busy: set[Endpoint] = set()
        self._verification = threading.Lock()
        self._is_verified = False
        self._changed = threading.Condition()

    def push(self) -> list[Outcome]:
        """Run one cycle: scrape every Flower, push its group and log the result.

        The cycle ends by the deadline.
        """
        cycle = self._begin()
        try:
            return self._push(cycle)
        finally:
            self._end(cycle)

    def push_for(self, seconds: float, on_end: Callable[[], object]) -> None:
        """Run one cycle, and return when the next one can begin.

        That is when the cycle is over, or after `seconds` as soon as a Flower is idle. A Flower that hangs therefore
        does not delay the next cycle of the others. Its part of the cycle goes on in a thread, and the next call leaves
        that Flower out.

        Args:
            seconds: the interval between cycles.
            on_end: called at the end of the cycle, in its thread.
        """
        self._every = seconds
        cycle = self._begin()

        def push() -> None:
            try:
                try:
                    self._push(cycle)
                finally:
                    on_end()
            except Exception as bug:  # noqa: BLE001 - the next cycle must run whatever this one raised
                log.event(logging.ERROR, "cycle failed", error=log.bug_text(bug))
            finally:
                self._end(cycle)

        try:
            threading.Thread(target=push, daemon=True).start()
        except RuntimeError:  # the system has no more threads
            push()
        with self._changed:
            self._changed.wait_for(lambda: cycle not in self._cycles, seconds)
            self._changed.wait_for(lambda: len(self._busy) < len(self._clients) or cycle not in self._cycles)

    def wait(self) -> None:
        """Wait for the end of every cycle that `push_for` started."""
        with self._changed:
            self._changed.wait_for(lambda: not self._cycles)

    def scrape(self) -> dict[Endpoint, ScrapeResult]:
        """Scrape every Flower and push nothing."""
        started = time.monotonic()
        until = started + self._settings.deadline
        scrapes = FanOut(self._clients, lambda flower: self._scrape(flower, until))
        scrapes.wait(until + _GRACE)
        late = ScrapeResult(None, "it was not scraped by the deadline", 0, self._settings.deadline)
        return {flower: scrapes.results.get(flower, late) for flower in self._clients}

    def delete(self) -> dict[Endpoint, str | None]:
        """Delete every Flower's group.

        Returns:
            The error of each Flower; None where there is none.
        """
        until = time.monotonic() + self._settings.deadline
        pushgateway = self._pushgateway()
        if victoriametrics_rows(pushgateway.client, until) is not None:
            return dict.fromkeys(self._clients, NO_GROUPS)

        def delete(flower: Endpoint) -> str:
            try:
                pushgateway.delete(self._settings.grouping_key(flower), until)
            except PushgatewayError as error:
                return str(error)
            return ""

        deletions = FanOut(self._clients, delete)
        deletions.wait(until + _GRACE)
        late = "it was not deleted by the deadline"
        return {flower: deletions.results.get(flower, late) or None for flower in self._clients}

    def close(self) -> None:
        """Close all connections."""
        for client in (*self._clients.values(), *self._idle_pushgateways):
            client.close()

    def _push(self, cycle: Cycle) -> list[Outcome]:
        for client in (*(self._clients[flower] for flower in cycle.flowers), cycle.pushgateway.client):
            client.is_patient = True
        grace = min(_GRACE, self._settings.push_reserve / 4)

        def scrape_and_push(flower: Endpoint) -> Outcome | None:
            scrape = self._scrape(flower, cycle.scrape_until)
            return self._push_group(cycle, flower, scrape) if cycle.take_permit(flower) else None

        def push_down(flower: Endpoint) -> Outcome:
            return self._push_group(cycle, flower, cycle.unfinished())

        def on_result(outcome: Outcome) -> None:
            # Results that miss the deadline never get here, so they are not logged either.
            self._log(outcome)
            self._release(cycle, outcome.flower)

        in_time = FanOut(cycle.flowers, scrape_and_push, on_result, lambda flower: self._clients[flower].last_byte_at)
        in_time.wait(cycle.scrape_until + grace)
        for flower in in_time.missing():
            self._clients[flower].abort()
        in_time.wait(cycle.scrape_until + 2 * grace)
        late = FanOut([flower for flower in in_time.missing() if cycle.take_permit(flower)], push_down, on_result)
        late.wait(cycle.until + _GRACE)
        in_time.wait(cycle.until + _GRACE, ignore=late.flowers)
        outcomes = {**in_time.results, **late.results}
        for flower in set(cycle.flowers) - outcomes.keys():
            cycle.pushgateway.client.abort()
            error = f"the push was not done by the deadline; {UNKNOWN}"
            outcomes[flower] = Outcome(flower, cycle.unfinished(None), error)
            on_result(outcomes[flower])
        return [outcomes[flower] for flower in cycle.flowers]

    def _begin(self) -> Cycle:
        """Begin a cycle with all idle Flowers.

        The cycle has its own connections to the Pushgateway.
        """
        with self._changed:
            flowers = [flower for flower in self._clients if flower not in self._busy]
            cycle = Cycle(self._settings, flowers, self._pushgateway())
            self._busy.update(flowers)
            self._cycles.append(cycle)
            return cycle

    def _release(self, cycle: Cycle, flower: Endpoint) -> None:
        """Let another cycle scrape a Flower."""
        self._clients[flower].reset()
        with self._changed:
            cycle.busy.discard(flower)
            self._busy.discard(flower)
            self._changed.notify_all()

    def _end(self, cycle: Cycle) -> None:
        """Release what the cycle held; its connections serve the next cycle."""
        for flower in list(cycle.busy):
            self._release(cycle, flower)
        cycle.pushgateway.client.reset()
        with self._changed:
            self._idle_pushgateways.append(cycle.pushgateway.client)
            self._cycles.remove(cycle)
            self._changed.notify_all()

    def _pushgateway(self) -> PushgatewayClient:
        idle = self._idle_pushgateways
        client = idle.pop() if idle else open_client(self._settings.pushgateway, self._settings)
        return PushgatewayClient(client, ENCODINGS[self._settings.push_format])

    def _scrape(self, flower: Endpoint, until: float) -> ScrapeResult:
        started = time.monotonic()
        client = self._clients[flower]
        requests_before, tasks_read = client.requests, 0

        def progress(tasks: int) -> None:
            nonlocal tasks_read
            tasks_read = tasks
            self._progress(flower, tasks)

        try:
            snapshot, error = read_snapshot(client, self._settings, self._scrapers[flower], until, progress), None
        except TransportError as reason:
            snapshot, error = None, str(reason)
            if tasks_read:
                error += f", after {tasks_read:,} tasks in {time.monotonic() - started:.0f} s"
        except Exception as bug:  # noqa: BLE001 - a bug must not leave old numbers on the Pushgateway
            snapshot, error = None, log.bug_text(bug, flower=flower.address)
        return ScrapeResult(snapshot, error, client.requests - requests_before, time.monotonic() - started)

    def _push_group(self, cycle: Cycle, flower: Endpoint, scrape: ScrapeResult) -> Outcome:
        push_error = None
        try:
            with cycle.push_slot():
                self._push_accepted_families(cycle, flower, scrape)
        except PushgatewayError as error:
            push_error = str(error)
            if error.too_large and scrape.snapshot is not None:
                self._push_group(cycle, flower, replace(scrape, snapshot=None))
        except Exception as bug:  # noqa: BLE001 - the cycle must end with a line that says why
            push_error = log.bug_text(bug, flower=flower.address)
        return Outcome(flower, scrape, push_error)

    def _push_accepted_families(self, cycle: Cycle, flower: Endpoint, scrape: ScrapeResult) -> None:
        """Push everything, or all except the extras if the server rejects those.

        Raises PushgatewayError if the push fails.
        """
        snapshot, max_age = scrape.snapshot, self._max_age(cycle, flower)
        try:
            self._push_registry(cycle, flower, scrape, push_registry(snapshot, scrape.seconds, max_age))
        except PushgatewayError as error:
            if not (error.rejected and snapshot and snapshot.extras):
                raise
            plain = replace(snapshot, extras=[all_extras_failed(self._settings.extras)])
            self._push_registry(cycle, flower, scrape, push_registry(plain, scrape.seconds, max_age))
            log.event(logging.WARNING, "pushed without extras", flower=flower.address, error=str(error))

    def _max_age(self, cycle: Cycle, flower: Endpoint) -> float | None:
        """Return the seconds after which a Flower's next push is late, or None.

        Return None if no push is planned. One cycle may be left out, and the next one may take twice as long as the
        longest so far.
        """
        if not self._every:
            return None
        self._longest[flower] = longest = max(self._longest[flower], cycle.seconds)
        return 2 * self._every + min(self._settings.deadline, max(self._every, 2 * longest, _MIN_SLACK))

    def _push_registry(self, cycle: Cycle, flower: Endpoint, scrape: ScrapeResult, registry: CollectorRegistry) -> None:
        """Push, and verify the first push of the process. Raises PushgatewayError."""
        pushgateway = cycle.pushgateway
        group = self._settings.grouping_key(flower)
        pushed_at = pushgateway.push(registry, group, cycle.until)
        if self._is_verified:
            return
        with self._verification:
            if self._is_verified:
                return
            pushed = Sample(SCRAPE_DURATION.name, group, scrape.seconds)
            is_text = self._settings.push_format == "text"
            check_stored(pushgateway.client, pushed, pushed_at, cycle.until, is_text=is_text)
            self._is_verified = True

    def _log(self, outcome: Outcome) -> None:
        """Log the one line about a Flower's cycle."""
        scrape, snapshot = outcome.scrape, outcome.scrape.snapshot
        message = "pushed" if snapshot else "scrape failed; pushed flower_up 0"
        if outcome.push_error:
            message = "push failed"
        log.event(
            logging.INFO if snapshot and not outcome.push_error else logging.ERROR,
            message,
            flower=outcome.flower.address,
            job=self._settings.job,
            pushgateway=self._settings.pushgateway.address,
            error=scrape.error,
            push_error=outcome.push_error,
            tasks=snapshot.task_count if snapshot else None,
            read=snapshot.tasks_read if snapshot else None,
            workers=sum(snapshot.workers.values()) if snapshot else None,
            requests=scrape.requests,
            seconds=scrape.seconds,
        )


def _task_scraper(settings: Settings, flower: Endpoint, keep_state: bool) -> TaskScraper:
    """Return the scraper of a Flower's tasks, with or without state."""
    path = settings.state_path(flower)
    buckets = settings.buckets if needing_state(settings.extras) else None
    if path is None:
        return TaskScraper(settings.full_every if keep_state else 0, buckets=buckets)
    return TaskScraper(settings.full_every, StateFile(path, flower.url, flower.address), buckets)
