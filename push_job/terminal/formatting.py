"""Texts for a person's eyes: times, moments, and what a server said, made safe to print."""

from __future__ import annotations

from datetime import datetime, timezone

#: The longest name that a line has, in characters.
_LONGEST_NAME = 60


def printable(text: str) -> str:
    """The text without the control characters that a terminal would obey."""
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def name_words(text: str) -> str:
    """A name of any length and content as a part of a line; of a long one the end, which tells most."""
    shown = printable(text)
    return shown if len(shown) <= _LONGEST_NAME else f"…{shown[1 - _LONGEST_NAME :]}"


def time_words(seconds: float) -> str:
    """A length of time in the largest unit of which it has two."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"


def moment_words(moment: float, now: float) -> str:
    """A Unix time, with its day unless that is the day of `now`."""
    try:
        told, today = (datetime.fromtimestamp(at, timezone.utc) for at in (moment, now))
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
    return f"{told:%H:%M} UTC" if told.date() == today.date() else f"{told:%Y-%m-%d %H:%M} UTC"


def count_words(count: int, thing: str) -> str:
    """``1 task``, ``1,200 tasks``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
