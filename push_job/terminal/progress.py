"""A progress display on the terminal during a long scrape."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from push_job.settings import Endpoint

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds before the display appears. A short scrape needs none, and importing rich takes time.
_DELAY = 1.0


class TerminalProgress:
    """Shows the number of tasks read from each Flower, and removes itself at the end.

    Use it as a context manager, and call it from any thread with a Flower and
    the number of tasks. It shows nothing if stderr is not a terminal.
    """

    def __init__(self) -> None:
        self._enabled = sys.stderr is not None and sys.stderr.isatty()
        self._show_at = time.monotonic() + _DELAY
        self._lock = threading.Lock()
        self._display: Progress | None = None
        self._lines: dict[Endpoint, TaskID] = {}

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._enabled = False
            if self._display:
                self._display.stop()

    def __call__(self, flower: Endpoint, tasks: int) -> None:
        with self._lock:
            if not self._enabled or time.monotonic() < self._show_at:
                return
            if self._display is None:
                self._display = _start_display()
            if flower not in self._lines:
                self._lines[flower] = self._display.add_task(flower.address, total=None)
            self._display.update(self._lines[flower], completed=tasks)


def _start_display() -> Progress:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    display = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}: {task.completed:,.0f} tasks read", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    display.start()
    return display
