"""The job: scrape, build, push, for each Flower side by side, once or turn after turn.

The deadline holds whatever the servers do. Sockets have timeouts; what outlives those (a server that drips bytes,
a name that takes minutes to fail to resolve) is broken off or left behind in its thread, and cannot push any more (see
``turn``).
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

from push_job import log
from push_job.cycle import Cycle, Outcome, Scrape
from push_job.fan_out import FanOut
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.incremental.state_file import StateFile
from push_job.http.client import Client
from push_job.http.errors import TransportError
from push_job.metrics.extras import all_extras_failed
from push_job.metrics.registry import down_registry, up_registry
from push_job.pushgateway.client import UNKNOWN, PushgatewayClient, PushgatewayError
from push_job.scrape import read_snapshot
from push_job.settings import Endpoint, Settings

#: Seconds after a moment in which what ends at that moment may still say so itself.
_GRACE = 0.25

Progress = Callable[[Endpoint, int], None]


class Job:
    """The servers that a run talks to, kept connected from one turn to the next.

    `progress` is told, from other threads, how many tasks of a Flower were read so far.
    """

    def __init__(
        self, settings: Settings, progress: Progress = lambda _flower, _tasks: None, *, remember: bool = False
    ) -> None:
        self._settings = settings
        self._readers = {flower: _reader(settings, flower, remember) for flower in settings.flowers}
        self._progress = progress
        self._clients = {flower: Client(flower, settings.timeout) for flower in settings.flowers}
        self._idle_gateways: list[Client] = []
        self._turns: list[Cycle] = []
        self._busy: set[Endpoint] = set()
        self._changed = threading.Condition()

    def push(self) -> list[Outcome]:
        """Scrape every Flower, push its group and log what was done; over by the deadline, come what may."""
        turn = self._begin()
        try:
            return self._push(turn)
        finally:
            self._end(turn)

    def push_for(self, seconds: float, ended: Callable[[], object]) -> None:
        """Push as `push` does, and return when it is over, or after `seconds` once a Flower is idle.

        So one that hangs holds up no other's next turn. What is not over by then goes on in a thread, and the next
        call leaves those Flowers out. `ended` is called at the end of each push.
        """
        turn = self._begin()

        def push() -> None:
            try:
                try:
                    self._push(turn)
                finally:
                    ended()
            except Exception as bug:  # noqa: BLE001 - whatever it was, the next turn must come
                log.cycle_failed(bug)
            finally:
                self._end(turn)

        try:
            threading.Thread(target=push, daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            push()
        with self._changed:
            self._changed.wait_for(lambda: turn not in self._turns, seconds)
            self._changed.wait_for(lambda: len(self._busy) < len(self._clients) or turn not in self._turns)

    def wait(self) -> None:
        """Wait until all that `push_for` began is over."""
        with self._changed:
            self._changed.wait_for(lambda: not self._turns)

    def _push(self, turn: Cycle) -> list[Outcome]:
        grace = min(_GRACE, self._settings.push_reserve / 4)

        def scrape_and_push(flower: Endpoint) -> Outcome | None:
            scrape = self._scrape(flower, turn.scrape_until)
            return self._push_group(turn, flower, scrape) if turn.claim(flower) else None

        def push_down(flower: Endpoint) -> Outcome:
            return self._push_group(turn, flower, turn.unscraped())

        def told(outcome: Outcome) -> None:
            # Not before it is taken: one that comes too late to be taken is not logged either.
            self._log(outcome)
            self._release(turn, outcome.flower)

        in_time = FanOut(turn.flowers, scrape_and_push, told, lambda flower: self._clients[flower].heard)
        in_time.wait(turn.scrape_until + grace)
        for flower in in_time.missing():
            self._clients[flower].abort()
        in_time.wait(turn.scrape_until + 2 * grace)
        late = FanOut([flower for flower in in_time.missing() if turn.claim(flower)], push_down, told)
        late.wait(turn.until + _GRACE)
        in_time.wait(turn.until + _GRACE, but_for=late.flowers)
        outcomes = {**in_time.results, **late.results}
        for flower in set(turn.flowers) - outcomes.keys():
            turn.gateway.client.abort()
            outcomes[flower] = Outcome(
                flower, turn.unscraped(None), f"the push was not done by the deadline; {UNKNOWN}"
            )
            told(outcomes[flower])
        return [outcomes[flower] for flower in turn.flowers]

    def scrape(self) -> dict[Endpoint, Scrape]:
        """Scrape every Flower and push nothing."""
        started = time.monotonic()
        until = started + self._settings.deadline
        scrapes = FanOut(self._clients, lambda flower: self._scrape(flower, until))
        scrapes.wait(until + _GRACE)
        late = Scrape(None, "it was not scraped by the deadline", 0, self._settings.deadline)
        return {flower: scrapes.results.get(flower, late) for flower in self._clients}

    def delete(self) -> dict[Endpoint, str | None]:
        """Remove every Flower's group; what kept it there, by Flower, or None where it is gone."""
        until = time.monotonic() + self._settings.deadline

        gateway = self._gateway()

        def delete(flower: Endpoint) -> str:
            try:
                gateway.delete(self._settings.grouping_key(flower), until)
            except PushgatewayError as error:
                return str(error)
            return ""

        deletions = FanOut(self._clients, delete)
        deletions.wait(until + _GRACE)
        late = "it was not deleted by the deadline"
        return {flower: deletions.results.get(flower, late) or None for flower in self._clients}

    def close(self) -> None:
        """Close all connections."""
        for client in (*self._clients.values(), *self._idle_gateways):
            client.close()

    def _begin(self) -> Cycle:
        """A turn with all Flowers that are idle, and with connections to the Pushgateway that no other turn has."""
        with self._changed:
            flowers = [flower for flower in self._clients if flower not in self._busy]
            turn = Cycle(self._settings, flowers, self._gateway())
            self._busy.update(flowers)
            self._turns.append(turn)
            return turn

    def _release(self, turn: Cycle, flower: Endpoint) -> None:
        """Let a Flower be part of another turn."""
        self._clients[flower].renew()
        with self._changed:
            turn.held.discard(flower)
            self._busy.discard(flower)
            self._changed.notify_all()

    def _end(self, turn: Cycle) -> None:
        """Whatever came of the turn, the next one starts clean, with the connections of this one."""
        for flower in list(turn.held):
            self._release(turn, flower)
        turn.gateway.client.renew()
        with self._changed:
            self._idle_gateways.append(turn.gateway.client)
            self._turns.remove(turn)
            self._changed.notify_all()

    def _gateway(self) -> PushgatewayClient:
        idle = self._idle_gateways
        client = idle.pop() if idle else Client(self._settings.pushgateway, self._settings.timeout)
        return PushgatewayClient(client, self._settings.job)

    def _scrape(self, flower: Endpoint, until: float) -> Scrape:
        started = time.monotonic()
        client = self._clients[flower]
        requests_before = client.requests
        try:
            progress = functools.partial(self._progress, flower)
            snapshot, error = read_snapshot(client, self._settings, self._readers[flower], until, progress), None
        except TransportError as reason:
            snapshot, error = None, str(reason)
        except Exception as bug:  # noqa: BLE001 - a mistake of ours must not leave old numbers standing
            snapshot, error = None, _told(bug, flower)
        return Scrape(snapshot, error, client.requests - requests_before, time.monotonic() - started)

    def _push_group(self, turn: Cycle, flower: Endpoint, scrape: Scrape) -> Outcome:
        push_error = None
        try:
            with turn.place_to_push():
                self._push_what_it_takes(turn, flower, scrape)
        except PushgatewayError as error:
            push_error = str(error)
        except Exception as bug:  # noqa: BLE001 - the turn must be over with a line that says why
            push_error = _told(bug, flower)
        return Outcome(flower, scrape, push_error)

    def _push_what_it_takes(self, turn: Cycle, flower: Endpoint, scrape: Scrape) -> None:
        """Push all, or all but the extras if those are what the Pushgateway refuses. Raises GatewayError."""
        key, snapshot = self._settings.grouping_key(flower), scrape.snapshot
        if snapshot is None:
            turn.gateway.push(down_registry(scrape.seconds), key, turn.until)
            return
        try:
            turn.gateway.push(up_registry(snapshot, scrape.seconds), key, turn.until)
        except PushgatewayError as error:
            if not (error.rejected and snapshot.extras):
                raise
            plain = replace(snapshot, extras=[all_extras_failed(self._settings.extras)])
            turn.gateway.push(up_registry(plain, scrape.seconds), key, turn.until)
            log.event(logging.WARNING, "pushed without the extras", flower=flower.address, error=str(error))

    def _log(self, outcome: Outcome) -> None:
        """Log the one line that tells what was done for a Flower."""
        scrape, snapshot = outcome.scrape, outcome.scrape.snapshot
        message = "pushed" if snapshot else "Flower is down: pushed flower_up 0"
        if outcome.push_error:
            message = "push failed"
        log.event(
            logging.INFO if snapshot and not outcome.push_error else logging.ERROR,
            message,
            flower=outcome.flower.address,
            error=scrape.error,
            pushgateway=self._settings.pushgateway.address if outcome.push_error else None,
            push_error=outcome.push_error,
            tasks=snapshot.task_count if snapshot else None,
            read=snapshot.tasks_read if snapshot else None,
            workers=sum(snapshot.workers.values()) if snapshot else None,
            requests=scrape.requests,
            seconds=scrape.seconds,
        )


def _reader(settings: Settings, flower: Endpoint, remember: bool) -> TaskScraper:
    """What reads a Flower, with or without a memory."""
    path = settings.state_path(flower)
    if path is None:
        return TaskScraper(settings.full_every if remember else 0)
    return TaskScraper(settings.full_every, StateFile(path, flower.url, flower.address))


def _told(bug: Exception, flower: Endpoint) -> str:
    """One line on a mistake of ours; the rest goes to the verbose log."""
    log.event(logging.DEBUG, "traceback", flower=flower.address, traceback=traceback.format_exc())
    return f"a mistake in push-job: {type(bug).__name__}: {bug}; please report it"
