"""Requests to one Flower that may fail."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from push_job import log
from push_job.explain.model import Task
from push_job.flower.api import Flower
from push_job.flower.routing import route
from push_job.flower.task import TaskFields, label_text, reported, since_of, time_of
from push_job.http.errors import TransportError

T = TypeVar("T")

#: Limits of one response: number of tasks and bytes.
MAX_TASKS, _MAX_BYTES = 1000, 16 * 2**20

#: The end of a pool process in the message of a WorkerLostError.
_PROCESS_END = re.compile(r"exited prematurely: ((?:signal|exitcode) -?[0-9]+(?: \([A-Z0-9]+\))?)")


class OptionalRequests:
    """Requests to one Flower that may fail.

    Attributes:
        flower: the Flower.
        until: deadline, a time of ``time.monotonic()``.
        unanswered: the information that is missing because of failed requests, with the reasons.
    """

    def __init__(self, flower: Flower, until: float) -> None:
        self.flower = flower
        self.until = until
        self.unanswered: dict[str, str] = {}

    def ask(self, request: Callable[[], T], about: str = "") -> T | None:
        """Return the result of `request`, or None if it fails.

        Args:
            request: the request.
            about: the information that is missing if the request fails; empty if its absence is not to be reported.
        """
        try:
            return request()
        except TransportError as error:
            address = self.flower.client.endpoint.address
            log.event(logging.DEBUG, "not answered", flower=address, about=about, error=str(error))
            if about:
                self.unanswered.setdefault(about, str(error))
            return None

    def tasks(self, limit: int, offset: int = 0, about: str = "", **params: str) -> tuple[Task, ...]:
        """Return a part of Flower's list of tasks, or none if the request fails.

        The task with the newest event is first.
        """

        def request() -> Any:
            path = "/api/tasks"
            return self.flower.get_json(path, self.until, max_bytes=_MAX_BYTES, limit=limit, offset=offset, **params)

        entries = self.ask(request, about)
        listed = entries.items() if isinstance(entries, dict) else ()
        return tuple(task_of(task_id, entry) for task_id, entry in listed if isinstance(entry, dict))


def task_of(task_id: str, entry: Mapping[str, Any]) -> Task:
    fields = TaskFields(**{name: entry[name] for name in TaskFields.__struct_fields__ if name in entry})
    since = next(reported([since_of(fields)]), None)
    received = time_of(fields.received)
    waits_for_eta = fields.eta is not None and since is not None and since > (received or 0.0)
    name, state, worker = (label_text(entry.get(key), "") for key in ("name", "state", "worker"))
    return Task(
        task_id,
        name,
        state,
        worker,
        route(entry.get("exchange"), entry.get("routing_key")),
        since=time_of(fields.timestamp) if since is None else since,
        sent=time_of(fields.sent),
        received=received,
        started=time_of(fields.started),
        eta=since if waits_for_eta else None,
        stamp=time_of(fields.timestamp),
        clock=fields.clock if type(fields.clock) is int else None,
        has_expired=state == "REVOKED"
        and (_time_in(entry.get("expires")) or math.inf) <= (time_of(fields.timestamp) or 0.0),
        lost_by=_end_of_process(entry.get("traceback")),
    )


def _end_of_process(traceback: Any) -> str:
    """Return how a pool process ended, from the message of a WorkerLostError."""
    found = _PROCESS_END.search(traceback) if isinstance(traceback, str) else None
    return found.group(1) if found else ""


def _time_in(text: Any) -> float | None:
    """Return the Unix time of a text in ISO 8601."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return datetime.fromisoformat(text).timestamp()
    return None
