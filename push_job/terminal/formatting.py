"""Format names, times and counts for people."""

from __future__ import annotations

import os
from datetime import datetime, timezone

from push_job.text import printable

#: Characters of a name that are shown.
_NAME_LENGTH = 60

#: Values of TERM of terminals that do not understand escape sequences.
_DUMB_TERMINALS = ("dumb", "unknown")


def is_dumb_terminal() -> bool:
    """Return whether the terminal does not understand escape sequences."""
    return os.environ.get("TERM", "").lower() in _DUMB_TERMINALS


def styles_wanted() -> bool:
    """Return whether text may have colors and other styles (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and not is_dumb_terminal()


def format_name(text: str) -> str:
    """Return a name as part of a line; of a long one the end, which says most."""
    shown = printable(text)
    return shown if len(shown) <= _NAME_LENGTH else f"…{shown[1 - _NAME_LENGTH :]}"


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit of which it has at least two."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"


def format_time(time: float, now: float) -> str:
    """Return a Unix time as UTC; with its date unless that is the date of `now`."""
    try:
        shown, today = (datetime.fromtimestamp(at, timezone.utc) for at in (time, now))
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
    return f"{shown:%H:%M} UTC" if shown.date() == today.date() else f"{shown:%Y-%m-%d %H:%M} UTC"


def format_date(time: float) -> str:
    """Return a Unix time as date and time in UTC."""
    try:
        return f"{datetime.fromtimestamp(time, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def format_count(count: int, thing: str) -> str:
    """Return ``1 task`` or ``1,200 tasks``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
