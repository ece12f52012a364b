"""The result of one step of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One thing that was tested.

    Attributes:
        passed: whether it works; None if that is not known.
        text: what was found, and what to do if it does not work.
    """

    passed: bool | None
    text: str


class CheckError(Exception):
    """A server cannot be reached, or is not what it should be; later steps are pointless."""
