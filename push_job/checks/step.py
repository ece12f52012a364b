"""The steps of a check and their results."""

from __future__ import annotations

from collections.abc import Iterable
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


#: The kind of a server, its ``host:port`` plus URL prefix, and its steps. A step is done when it is read.
ServerCheck = tuple[str, str, Iterable[Step]]


class CheckError(Exception):
    """A failure that makes the later steps pointless.

    The server cannot be reached, or is not what it should be.
    """
