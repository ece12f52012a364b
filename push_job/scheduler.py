"""Turn after turn with ``schedule``, until told to stop."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue

import schedule

from push_job import log

#: What ends a run: a supervisor, Ctrl-C, a terminal that closes.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

#: Seconds within which a second signal is the first one's echo.
_ONE_WISH = 1.0


class Stop:
    """Set by the first of SIGNALS, so that a turn under way can end; another one ends the process at once."""

    def __init__(self, at_once: Callable[[int, object], object]) -> None:
        # A signal's handler interrupts the main thread anywhere, also within `wait`. threading.Event would then
        # wait for its own lock for ever; of the standard library's queues and locks only this one is made for it.
        self._woken: SimpleQueue[int] = SimpleQueue()
        self._at_once = at_once
        self._since: float | None = None
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def is_set(self) -> bool:
        """Whether a signal came."""
        return self._since is not None

    def wait(self, seconds: float) -> None:
        """Wait for the first signal, no longer than `seconds`."""
        with contextlib.suppress(Empty):
            self._woken.get(timeout=seconds)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._since is not None:
            # timeout(1) and some supervisors signal a process and then its group, which is one wish, not two.
            if time.monotonic() - self._since > _ONE_WISH:
                self._at_once(number, frame)
            return
        self._since = time.monotonic()
        self._woken.put(number)
        # Python refuses to write within a write: then the line is left out, as the stop matters more.
        with contextlib.suppress(RuntimeError):
            log.event(logging.INFO, "stopping", signal=signal.Signals(number).name)


def repeat(turn: Callable[[], object], every: float, stop: Stop) -> None:
    """Call `turn` at once and then every `every` seconds until `stop` is set.

    Turns keep to the times that the first one set. One that takes longer than `every` seconds makes those be left
    out whose time has passed meanwhile. A turn that raises is logged, and the next one comes.
    """
    scheduler = schedule.Scheduler()
    # What timedelta rounds to nothing would never come to an end in schedule.
    period = max(timedelta(seconds=every), timedelta.resolution)
    planned = scheduler.every(period.total_seconds()).seconds.do(_guarded, turn)  # type: ignore[arg-type]  # fractions work too
    due = datetime.now()
    while not stop.is_set():
        planned.next_run = due
        scheduler.run_pending()
        # schedule counts from the end of a turn, which would drift.
        planned.next_run = _next_on_grid(due, period)
        stop.wait(min(max(0.0, scheduler.idle_seconds or 0.0), every))
        # schedule reads local time, which is set back at the end of summer time and by hand: what has been
        # waited for is due, whatever the clock shows now.
        due = min(planned.next_run, datetime.now())


def _guarded(turn: Callable[[], object]) -> None:
    try:
        turn()
    except Exception as bug:  # noqa: BLE001 - whatever it was, the next turn must come
        log.cycle_failed(bug)


def _next_on_grid(due: datetime, period: timedelta) -> datetime:
    missed = max(0, (datetime.now() - due) // period)
    return due + (missed + 1) * period
