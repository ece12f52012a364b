"""Turn after turn with ``schedule``, until told to stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import schedule

from push_job import log

#: Seconds within which a second signal is the first one's echo.
_ONE_WISH = 1.0


class Stop:
    """Set by the first SIGTERM or SIGINT, so that a turn under way can end; another one ends the process at once."""

    def __init__(self, at_once: Callable[[int, object], object]) -> None:
        self._event = threading.Event()
        self._at_once = at_once
        self._since = 0.0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def is_set(self) -> bool:
        """Whether a signal came."""
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Wait for a signal, no longer than `seconds`."""
        self._event.wait(seconds)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._event.is_set():
            # timeout(1) and some supervisors signal a process and then its group, which is one wish, not two.
            if time.monotonic() - self._since > _ONE_WISH:
                self._at_once(number, frame)
            return
        self._since = time.monotonic()
        log.event(logging.INFO, "stopping", signal=signal.Signals(number).name)
        self._event.set()


def repeat(turn: Callable[[], object], every: float, stop: Stop) -> None:
    """Call `turn` at once and then every `every` seconds until `stop` is set.

    Turns keep to the times that the first one set, however long they take; one that is still due when the next
    one's time comes makes that one be left out. A turn that raises is logged, and the next one comes.
    """
    scheduler = schedule.Scheduler()
    period = timedelta(seconds=every)
    planned = scheduler.every(every).seconds.do(_guarded, turn)  # type: ignore[arg-type]  # fractions work too
    planned.next_run = datetime.now()
    while not stop.is_set():
        due = planned.next_run
        scheduler.run_pending()
        if planned.next_run != due:
            # schedule counts from the end of a turn, which would drift.
            planned.next_run = _next_on_grid(due, period)
        idle = scheduler.idle_seconds or 0.0
        if idle > every:
            # The clock was set back (schedule reads local time, so the end of summer time does it too).
            planned.next_run = datetime.now() + period
            idle = every
        stop.wait(max(0.0, idle))


def _guarded(turn: Callable[[], object]) -> None:
    try:
        turn()
    except Exception as bug:  # noqa: BLE001 - whatever it was, the next turn must come
        log.event(logging.ERROR, "the turn failed", error=f"{type(bug).__name__}: {bug}")
        log.logger.debug("traceback", exc_info=True)


def _next_on_grid(due: datetime, period: timedelta) -> datetime:
    missed = max(0, (datetime.now() - due) // period)
    return due + (missed + 1) * period
