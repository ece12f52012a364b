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


@dataclass(frozen=True)
class ServerCheck:
    """The check of one server.

    Attributes:
        kind: ``Flower``, ``Pushgateway``, ``Prometheus`` or ``Grafana``.
        address: its ``host:port`` plus URL prefix.
        steps: its steps; each is done when it is read.
    """

    kind: str
    address: str
    steps: Iterable[Step]


class CheckError(Exception):
    """A failure that makes the later steps pointless.

    The server cannot be reached, or is not what it should be.
    """
