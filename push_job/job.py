"""One turn: scrape, build, push, for each Flower side by side; and what came of it.

The deadline holds whatever the servers do. Sockets have timeouts; what outlives those (a server that drips bytes,
a name that takes minutes to fail to resolve) is broken off or left behind in its thread. The right to push a
Flower's group in a turn can be claimed once, so a scrape that comes too late cannot push any more.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from prometheus_client.metrics_core import Metric

from push_job import log
from push_job.flower.api import Flower
from push_job.flower.scan import scan_tasks
from push_job.gateway import Gateway, GatewayError
from push_job.http.client import Client
from push_job.http.failures import TransportError
from push_job.metrics import families
from push_job.metrics.extras import all_left_out, columns_of, read_extras
from push_job.metrics.registries import down_registry, up_registry
from push_job.metrics.snapshot import Folding, Snapshot
from push_job.settings import Endpoint, Settings

#: Flowers at a time, to bound memory; as many again once all of them have been silent for _PATIENCE.
THREADS = 64

#: The part of the time there is after which those that wait are not held up any longer by those that hang.
_PATIENCE = 0.1

#: Seconds after a moment in which what ends at that moment may still say so itself.
_GRACE = 0.25

Progress = Callable[[Endpoint, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Scrape:
    """What came of scraping one Flower: a snapshot, or the reason why there is none."""

    snapshot: Snapshot | None
    error: str | None
    requests: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of one Flower's part in a turn; `push_error` is None if its group is as it should be."""

    flower: Endpoint
    scrape: Scrape
    push_error: str | None


class Job:
    """The servers that a run talks to, kept connected from one turn to the next.

    `progress` is told, from other threads, how many tasks of a Flower were read so far.
    """

    def __init__(self, settings: Settings, progress: Progress = lambda _flower, _tasks: None) -> None:
        self._settings = settings
        self._progress = progress
        self._clients = {flower: Client(flower, settings.timeout) for flower in settings.flowers}
        self._gateway_client = Client(settings.pushgateway, settings.timeout)
        self._gateway = Gateway(self._gateway_client, settings.job)

    def push(self) -> list[Outcome]:
        """Scrape every Flower, push its group and log what was done; over by the deadline, come what may."""
        started = time.monotonic()
        until = started + self._settings.deadline
        scrape_until = until - self._settings.push_reserve
        rights = {flower: threading.Lock() for flower in self._clients}

        def scrape_and_push(flower: Endpoint) -> Outcome | None:
            scrape = self._scrape(flower, scrape_until)
            claimed = rights[flower].acquire(blocking=False)
            return self._push(flower, scrape, until) if claimed else None

        def push_down(flower: Endpoint) -> Outcome:
            scrape = Scrape(None, "it was not scraped by the deadline", 0, time.monotonic() - started)
            return self._push(flower, scrape, until)

        grace = min(_GRACE, self._settings.push_reserve / 4)
        # Outcomes are logged as they are taken, so that one that comes too late to be taken is not logged either.
        in_time = _SideBySide(self._clients, scrape_and_push, self._log)
        in_time.wait(scrape_until + grace)
        for flower in in_time.missing():
            self._clients[flower].abort()
        in_time.wait(scrape_until + 2 * grace)
        late = _SideBySide([f for f in in_time.missing() if rights[f].acquire(blocking=False)], push_down, self._log)
        late.wait(until + _GRACE)
        in_time.wait(until + _GRACE, but_for=late.items)
        if set(self._clients) - in_time.results.keys() - late.results.keys():
            self._gateway_client.abort()
        for client in (*self._clients.values(), self._gateway_client):
            client.renew()
        return [
            late.results.get(flower) or in_time.results.get(flower) or self._unpushed(flower, started)
            for flower in self._clients
        ]

    def scrape(self) -> dict[Endpoint, Scrape]:
        """Scrape every Flower and push nothing."""
        started = time.monotonic()
        until = started + self._settings.deadline
        scrapes = _SideBySide(self._clients, lambda flower: self._scrape(flower, until))
        scrapes.wait(until + _GRACE)
        late = Scrape(None, "it was not scraped by the deadline", 0, self._settings.deadline)
        return {flower: scrapes.results.get(flower, late) for flower in self._clients}

    def delete(self) -> dict[Endpoint, str | None]:
        """Remove every Flower's group; what kept it there, by Flower, or None where it is gone."""
        until = time.monotonic() + self._settings.deadline

        def delete(flower: Endpoint) -> str:
            try:
                self._gateway.delete(self._settings.grouping_key(flower), until)
            except GatewayError as error:
                return str(error)
            return ""

        deletions = _SideBySide(self._clients, delete)
        deletions.wait(until + _GRACE)
        late = "it was not deleted by the deadline"
        return {flower: deletions.results.get(flower, late) or None for flower in self._clients}

    def close(self) -> None:
        """Close all connections."""
        for client in (*self._clients.values(), self._gateway_client):
            client.close()

    def _scrape(self, flower: Endpoint, until: float) -> Scrape:
        started = time.monotonic()
        client = self._clients[flower]
        requests_before = client.requests
        try:
            snapshot, error = self._read(flower, client, until), None
        except TransportError as reason:
            snapshot, error = None, str(reason)
        except Exception as bug:  # noqa: BLE001 - a mistake of ours must not leave old numbers standing
            snapshot, error = None, _told(bug, flower)
        return Scrape(snapshot, error, client.requests - requests_before, time.monotonic() - started)

    def _read(self, flower: Endpoint, client: Client, until: float) -> Snapshot:
        """The whole of one Flower; raises FlowerError."""
        settings = self._settings
        api = Flower(client, (*families.COLUMNS, *columns_of(settings.extras)))
        workers = client.retrying(lambda: api.workers(until), until)
        tasks = scan_tasks(api, settings.page_size, until, lambda count: self._progress(flower, count))
        tallies = tasks.tally()
        folding = Folding(tallies, settings.max_task_types)
        if folding.folded_types or folding.folded_states:
            log.event(
                logging.WARNING,
                "too many task types or states: the rarest are summed under 'other'",
                flower=flower.address,
                folded_types=folding.folded_types,
                folded_states=folding.folded_states,
                max_task_types=settings.max_task_types,
            )
        extras: list[Metric] = []
        if settings.extras:
            # They end a moment early, so that one that hangs is left out and the rest is pushed.
            extras = read_extras(settings.extras, api, tasks, folding.type_label, settings.buckets, until - _GRACE)
        folded = folding.fold(tallies)
        return Snapshot(workers, folded, len(tasks), families.of_tasks(tasks, folded), extras)

    def _push(self, flower: Endpoint, scrape: Scrape, until: float) -> Outcome:
        push_error = None
        try:
            self._push_what_it_takes(flower, scrape, until)
        except GatewayError as error:
            push_error = str(error)
        except Exception as bug:  # noqa: BLE001 - the turn must be over with a line that says why
            push_error = _told(bug, flower)
        return Outcome(flower, scrape, push_error)

    def _push_what_it_takes(self, flower: Endpoint, scrape: Scrape, until: float) -> None:
        """Push all, or all but the extras if those are what the Pushgateway refuses. Raises GatewayError."""
        key, snapshot = self._settings.grouping_key(flower), scrape.snapshot
        if snapshot is None:
            self._gateway.push(down_registry(scrape.seconds), key, until)
            return
        try:
            self._gateway.push(up_registry(snapshot, scrape.seconds), key, until)
        except GatewayError as error:
            if not (error.disliked and snapshot.extras):
                raise
            log.event(logging.WARNING, "pushed without the extras", flower=flower.address, error=str(error))
            plain = replace(snapshot, extras=[all_left_out(self._settings.extras)])
            self._gateway.push(up_registry(plain, scrape.seconds), key, until)

    def _unpushed(self, flower: Endpoint, started: float) -> Outcome:
        scrape = Scrape(None, None, 0, time.monotonic() - started)
        outcome = Outcome(flower, scrape, "the push was not done by the deadline")
        self._log(outcome)
        return outcome

    def _log(self, outcome: Outcome) -> None:
        """Log the one line that tells what was done for a Flower."""
        scrape, snapshot = outcome.scrape, outcome.scrape.snapshot
        message = "pushed" if snapshot else "Flower is down: pushed flower_up 0"
        if outcome.push_error:
            message = "not pushed"
        log.event(
            logging.INFO if snapshot and not outcome.push_error else logging.ERROR,
            message,
            flower=outcome.flower.address,
            error=scrape.error,
            pushgateway=self._settings.pushgateway.address if outcome.push_error else None,
            push_error=outcome.push_error,
            tasks=snapshot.task_count if snapshot else None,
            workers=sum(snapshot.workers.values()) if snapshot else None,
            requests=scrape.requests,
            seconds=scrape.seconds,
        )


def _told(bug: Exception, flower: Endpoint) -> str:
    """One line on a mistake of ours; the rest goes to the verbose log."""
    log.event(logging.DEBUG, "traceback", flower=flower.address, traceback=traceback.format_exc())
    return f"a mistake in push-job: {type(bug).__name__}: {bug}; please report it"


class _SideBySide(Generic[T]):
    """Calls `work` for each Flower in threads that cannot keep the process from ending.

    `results` has what came of it; a Flower whose `work` gave None stays missing. `told` gets each result as it is
    taken, in the thread that waits.
    """

    def __init__(
        self,
        items: Iterable[Endpoint],
        work: Callable[[Endpoint], T | None],
        told: Callable[[T], object] = lambda _: None,
    ) -> None:
        self.items = list(items)
        self._told = told
        self.results: dict[Endpoint, T] = {}
        self._waiting = deque(self.items)
        self._work = work
        self._done: SimpleQueue[tuple[Endpoint, T | None]] = SimpleQueue()
        self._start_threads()

    def missing(self) -> list[Endpoint]:
        """The Flowers without a result so far."""
        return [flower for flower in self.items if flower not in self.results]

    def wait(self, until: float, but_for: Iterable[Endpoint] = ()) -> None:
        """Wait until all but some Flowers have a result, or until a moment of ``time.monotonic()``."""
        ignored = set(but_for)
        patience = _PATIENCE * max(0.0, until - time.monotonic())
        while not ignored.issuperset(self.missing()):
            left = max(0.0, until - time.monotonic())
            try:
                flower, result = self._done.get(timeout=min(left, patience) if self._waiting else left)
            except Empty:
                if time.monotonic() >= until:
                    return
                self._start_threads()
                continue
            if result is not None:
                self.results[flower] = result
                self._told(result)

    def _start_threads(self) -> None:
        for _ in range(min(THREADS, len(self._waiting))):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                flower = self._waiting.popleft()
            except IndexError:
                return
            self._done.put((flower, self._work(flower)))
