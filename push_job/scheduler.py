"""Repeat a cycle with ``schedule`` until a signal stops it."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue

import schedule

from push_job import log

#: Signals that stop `run`: from a supervisor, from Ctrl-C, from a closed terminal.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

#: Seconds within which a second signal counts as a repetition of the first one.
_SAME_REQUEST = 1.0


def beat(heartbeat: Path) -> None:
    """Touch the file of a liveness probe.

    If that fails, pushing goes on, and the probe sees that the file gets old.
    """
    try:
        heartbeat.touch()
    except OSError as error:
        reason = error.strerror or str(error)
        log.event(logging.WARNING, "heartbeat file not written", heartbeat_file=str(heartbeat), reason=reason)


class Stop:
    """Stop request, which the first of SIGNALS sets.

    A running cycle can then end. A signal that comes more than a second later ends the process at once.

    Args:
        at_once: ends the process; called with the arguments of a signal handler.
    """

    def __init__(self, at_once: Callable[[int, object], object]) -> None:
        # A signal handler interrupts the main thread anywhere, also within `wait`. There, threading.Event would wait
        # for its own lock for ever. SimpleQueue is the standard library's only queue or lock that is made for this.
        self._woken: SimpleQueue[int] = SimpleQueue()
        self._at_once = at_once
        self._since: float | None = None
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def is_set(self) -> bool:
        """Return whether a signal arrived."""
        return self._since is not None

    def wait(self, seconds: float) -> None:
        """Wait for the first signal, for at most `seconds`."""
        with contextlib.suppress(Empty):
            self._woken.get(timeout=seconds)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._since is not None:
            # timeout(1) and some supervisors signal a process and then its group, which is one request, not two.
            if time.monotonic() - self._since > _SAME_REQUEST:
                self._at_once(number, frame)
            return
        self._since = time.monotonic()
        self._woken.put(number)
        # Python refuses to write while it is writing. Then the line is left out, because stopping matters more.
        with contextlib.suppress(RuntimeError):
            log.event(logging.INFO, "stopping", signal=signal.Signals(number).name)


def repeat(cycle: Callable[[], object], every: float, stop: Stop) -> None:
    """Call `cycle` at once and then every `every` seconds until `stop` is set.

    Cycles start at multiples of `every` after the first one. If a cycle takes longer, the start times that it missed
    are skipped. A cycle that raises is logged, and the next one follows.
    """
    scheduler = schedule.Scheduler()
    # schedule would loop for ever over an interval that timedelta rounds to 0.
    period = max(timedelta(seconds=every), timedelta.resolution)
    planned = scheduler.every(period.total_seconds()).seconds.do(_guarded, cycle)  # type: ignore[arg-type]  # accepts fractions
    due = datetime.now()
    while not stop.is_set():
        planned.next_run = due
        scheduler.run_pending()
        # schedule counts from the end of a cycle, so its times would drift.
        planned.next_run = _next_start(due, period)
        stop.wait(min(max(0.0, scheduler.idle_seconds or 0.0), every))
        # schedule uses local time, which is set back at the end of summer time and by hand. After the wait a cycle is
        # due, whatever the clock shows.
        due = min(planned.next_run, datetime.now())


def _guarded(cycle: Callable[[], object]) -> None:
    try:
        cycle()
    except Exception as bug:  # noqa: BLE001 - the next cycle must run whatever this one raised
        log.event(logging.ERROR, "cycle failed", error=log.bug_text(bug))


def _next_start(due: datetime, period: timedelta) -> datetime:
    missed = max(0, (datetime.now() - due) // period)
    return due + (missed + 1) * period
