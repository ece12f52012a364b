"""A Flower without a process, on Celery's own state of events.

A real Flower keeps a `celery.events.state.State`, and so does this one. That
state forgets the task that was touched least recently, and merges events that
arrive out of order. Only the list's order, which is that of a Flower version,
the filters and the counters are written here.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from operator import attrgetter
from typing import Any, TypeVar

from celery.events.state import State, Task  # type: ignore[import-untyped]  # celery ships no types

from push_job.http.errors import TransportError
from push_job.settings import Endpoint

T = TypeVar("T")

#: Seconds of CPU time per answer, as of a Flower with few tasks.
_ANSWER_CPU = 0.005

#: The order of Flower 2.2's list, and of those before.
BY_STAMP, BY_CLOCK = "by stamp", "by clock"

#: The fields that Flower shows of a task.
_SHOWN = tuple(name for name in Task._fields if name not in ("root", "parent", "children"))
_shown_of = attrgetter(*_SHOWN)


class CeleryFlower:
    """Takes events and gives the answers of a Flower.

    Args:
        order: the order of its list, BY_STAMP or BY_CLOCK.
        room: number of tasks that it remembers.
        started: start time of its process, a Unix time; 0.0 if it is not exported.

    Attributes:
        now: its Unix time.
        counting_since: Unix time at which its counters started; None if that is not exported.
        cached_metrics: an old answer to /metrics, sent instead of a new one, and its Unix time (None: hidden).
        before_answer: called with the path before an answer is made.
        on_answer: called with path and parameters when an answer is made, after `before_answer`.
        requests: path and parameters of each request.
    """

    def __init__(self, order: str, room: int, started: float = 1.0) -> None:
        self.order = order
        self.room = room
        self.started = started
        self.now = 1_700_000_000.0
        self.state: Any = State(max_tasks_in_memory=room)
        self.counters: Counter[tuple[str, str, str]] = Counter()
        self.before_answer: Callable[[str], None] = lambda _path: None
        self.on_answer: Callable[[str, Mapping[str, Any]], None] = lambda _path, _params: None
        self.counting_since: float | None = started or 1.0
        self.cached_metrics: tuple[str, float | None] | None = None
        self.answers = 0
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, uuid: str, hostname: str, stamp: float, clock: int, **fields: Any) -> None:
        """Take one event."""
        self.state.event(
            dict(fields, type=kind, uuid=uuid, hostname=hostname, timestamp=stamp, clock=clock, local_received=self.now)
        )
        task = self.state.tasks[uuid]  # this touches it, as Flower does
        self.counters[hostname, kind, fields.get("name") or task.name or ""] += 1

    def tasks(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the list as it is now."""
        return [(uuid, self._as_dict(task)) for uuid, task in self.listed()]

    def listed(self) -> list[tuple[str, Any]]:
        """Return id and Celery's own task of each entry of the list."""
        if self.order == BY_CLOCK:
            return list(self.state.tasks_by_time())
        known = self.state.tasks.data.items()
        return sorted(known, key=lambda item: (item[1].timestamp or 0, item[0]), reverse=True)

    @staticmethod
    def _as_dict(task: Any) -> dict[str, Any]:
        shown = dict(zip(_SHOWN, _shown_of(task), strict=True))
        shown["worker"] = task.worker.hostname if task.worker else None
        return shown

    def answer(self, path: str, params: Mapping[str, Any]) -> bytes:
        """Return the body of the answer to a GET."""
        self.before_answer(path)
        self.requests.append((path, dict(params)))
        self.answers += 1
        self.on_answer(path, params)
        if path == "/metrics":
            return (self.cached_metrics[0] if self.cached_metrics else self.metrics()).encode()
        if path == "/api/workers":
            return b"{}"
        listed = self.listed()
        if "workername" in params:
            listed = [item for item in listed if self._is_of(item[1], params["workername"].strip())]
        if "state" in params:
            listed = [item for item in listed if self._is_in(item[1], params["state"])]
        offset = params.get("offset", 0)
        page = listed[offset : offset + params["limit"]] if "limit" in params else listed
        return json.dumps({uuid: self._as_dict(task) for uuid, task in page}).encode()

    def _is_of(self, task: Any, name: str) -> bool:
        if self.order == BY_CLOCK and not task.worker:
            return True
        return bool(task.worker) and task.worker.hostname == name

    def _is_in(self, task: Any, state: str) -> bool:
        return bool(task.state == state or (self.order == BY_STAMP and task.state.casefold() == state.casefold()))

    def metrics(self) -> str:
        """Return its /metrics."""
        lines = ["# TYPE flower_events_total counter"]
        for (worker, kind, name), count in self.counters.items():
            labels = f'task="{name}",type="{kind}",worker="{worker}"'
            lines.append(f"flower_events_total{{{labels}}} {float(count)}")
            if self.counting_since is not None:
                lines.append(f"flower_events_created{{{labels}}} {self.counting_since}")
        return "\n".join(
            [
                *lines,
                *([f"process_start_time_seconds {self.started}"] if self.started else []),
                "# TYPE process_cpu_seconds_total counter",
                f"process_cpu_seconds_total {self.answers * _ANSWER_CPU}",
                "",
            ]
        )


class DirectClient:
    """Stand-in for a Client that asks a CeleryFlower without a socket.

    `flower` may be replaced.
    """

    def __init__(self, flower: CeleryFlower) -> None:
        self.flower = flower
        self.endpoint = Endpoint.parse("http://flower:5555", "--flower")

    def get(self, path: str, _until: float, **params: Any) -> "DirectAnswer":
        """See Client."""
        body = self.flower.answer(path, params)
        cached = self.flower.cached_metrics if path == "/metrics" else None
        return DirectAnswer(body, cached[1] if cached and cached[1] else self.flower.now)

    def retrying(self, attempt: Callable[[], T], _until: float) -> T:
        """See Client; this one tries twice."""
        with contextlib.suppress(TransportError):
            return attempt()
        return attempt()


class DirectAnswer:
    """Stands in for an Answer."""

    def __init__(self, body: bytes, now: float) -> None:
        self._body = body
        self.headers = {"Date": formatdate(int(now), usegmt=True)}

    def chunks(self, _limit: int) -> Iterator[bytes]:
        """See Answer."""
        yield self._body

    def close(self) -> None:
        """See Answer."""


def never() -> float:
    """Return a deadline of ``time.monotonic()`` that does not come."""
    return time.monotonic() + 1e6
