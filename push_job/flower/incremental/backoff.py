"""When to stop trying something that keeps failing, for a while."""

from __future__ import annotations

from dataclasses import dataclass

#: Failures in a row after which attempts pause; they pause for as many scrapes, then for twice as many, and so on.
_FAILURES = 3
_LONGEST_PAUSE = 24


@dataclass
class Backoff:
    """Counts failures, and pauses attempts after some of them.

    Attributes:
        failures: number of failures in a row.
        pause: number of scrapes to come without an attempt.
        reason: why the last attempt failed; empty if it succeeded.
    """

    failures: int = 0
    pause: int = 0
    reason: str = ""

    def allows_attempt(self) -> bool:
        """Return whether to make an attempt in this scrape; to be asked once per scrape."""
        if not self.pause:
            return True
        self.pause -= 1
        return False

    def note(self, reason: str | None) -> None:
        """Note why an attempt failed; None if it succeeded."""
        self.reason = reason or ""
        self.failures = 0 if reason is None else self.failures + 1
        if self.failures >= _FAILURES:
            doublings = min(self.failures - _FAILURES, _LONGEST_PAUSE)
            self.pause = min(_FAILURES * 2**doublings, _LONGEST_PAUSE)
