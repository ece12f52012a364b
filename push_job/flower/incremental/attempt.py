"""Attempt an incremental scrape, and say why it failed."""

from __future__ import annotations

import logging
from typing import NamedTuple

from push_job import log
from push_job.flower.api import Flower, FlowerError
from push_job.flower.incremental.changes import read_changes
from push_job.flower.incremental.state import NotProvenError, ScrapeState


class Failure(NamedTuple):
    """Reason for which a state could not be brought up to date.

    Attributes:
        level: the level at which the reason is logged.
        reason: the reason.
    """

    level: int
    reason: str


def attempt(flower: Flower, state: ScrapeState, page_size: int, until: float) -> Failure | None:
    """Bring a state up to date, or return the failure.

    After a failure the state still describes the last scrape. Raises FlowerError, unless Flower refused a page or was
    too slow for it.
    """
    try:
        read_changes(flower, state, page_size, until)
    except NotProvenError as error:
        return Failure(logging.INFO, str(error))
    except FlowerError as error:
        if error.status is None and not error.overloaded:
            raise
        # Flower refuses a page, or is too slow for it; a full scrape uses others.
        return Failure(logging.INFO, str(error))
    except Exception as bug:  # noqa: BLE001 - a full scrape does not depend on the state
        return Failure(logging.WARNING, log.bug_text(bug, flower=flower.client.endpoint.address))
    return None
