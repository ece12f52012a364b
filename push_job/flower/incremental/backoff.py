"""Pause attempts that keep failing."""

from __future__ import annotations

from dataclasses import dataclass

#: Failures in a row after which attempts pause. The first pause lasts this number of scrapes. Each further failure
#: doubles it, up to _LONGEST_PAUSE.
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
        """Return whether to make an attempt in this scrape.

        Call it once per scrape: each call shortens the pause.
        """
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
