"""The content of a state file: MessagePack, with arrays in the byte order of the machine.

It holds ids, task types, states and times, but neither arguments nor results.
What it says is checked against Flower like any other state, so an old one costs
time but is never wrong.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from push_job import __version__
from push_job.flower import totals
from push_job.flower.full_scrape import PagesRead
from push_job.flower.incremental.backoff import Backoff
from push_job.flower.incremental.event_counts import EventCounts, EventKind, Sender
from push_job.flower.incremental.list_order import ORDERS
from push_job.flower.incremental.state import BegunScrape, ScrapeState, count_left_out
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import Column, TextColumn


class UnusableError(Exception):
    """The content cannot be used; the message says why."""


class Saved(NamedTuple):
    """What is saved of a Flower: its state, and a full scrape that was begun, if there is one."""

    state: ScrapeState | None = None
    begun: BegunScrape | None = None


class _StoredCounts(msgspec.Struct, array_like=True):
    """EventCounts as they are stored."""

    started: float
    cpu: float
    by_sender: list[tuple[str, bool, int]]
    by_kind: list[tuple[str, str, int]]
    digest: str


class _StoredTasks(msgspec.Struct, array_like=True):
    """A table of tasks as it is stored."""

    now: float
    kinds: list[tuple[str, str]]
    texts: list[str]
    ids: list[str]
    kind_numbers: bytes
    seconds: bytes
    stamps: bytes
    columns: dict[str, bytes]


class _StoredState(msgspec.Struct, array_like=True):
    """A ScrapeState as it is stored."""

    full_at: float
    order: str
    front: int
    end: int
    surplus: list[tuple[str, str, int]]
    sent_at: dict[str, float]
    counts: _StoredCounts | None
    kept: dict[str, dict[str, float]]
    has_room: bool
    changes_by_events_alone: bool
    unplaced: list[str]
    incremental: Backoff
    pages: Backoff
    tasks: _StoredTasks
    totals: totals.Totals | None


class _StoredScrape(msgspec.Struct, array_like=True):
    """A BegunScrape as it is stored."""

    at: float
    before: _StoredCounts
    end: int
    page_count: int
    page_size: int
    entered: int
    tasks: _StoredTasks


class _Stored(msgspec.Struct, array_like=True):
    """The whole content."""

    version: str
    flower: str
    saved_at: float
    state: _StoredState | None
    begun: _StoredScrape | None


def encode(saved: Saved, flower: str) -> bytes:
    """Return the content for what is saved of the Flower with this URL."""
    state, begun = saved
    return msgspec.msgpack.encode(
        _Stored(
            version=__version__,
            flower=flower,
            saved_at=time.time(),
            state=_encode_state(state) if state else None,
            begun=_encode_begun(begun) if begun else None,
        )
    )


def decode(body: bytes, flower: str, columns: tuple[Column, ...]) -> tuple[Saved, str]:
    """Return what is saved of the Flower with this URL, and why only totals can be used; empty if everything can.

    Args:
        body: the content.
        flower: URL of the Flower.
        columns: the columns that are needed of each task.

    Raises:
        UnusableError: if nothing can be used.
    """
    try:
        stored = msgspec.msgpack.decode(body, type=_Stored)
        reason = _check(stored, flower, columns)
        state = _decode_state(stored.state, totals.COLUMNS if reason else columns) if stored.state else None
        begun = _decode_begun(stored.begun, columns) if stored.begun and not reason else None
    except (msgspec.DecodeError, ValueError, KeyError):
        raise UnusableError("the file is damaged") from None
    if state and reason:
        state.counts = None  # so that all tasks are read, and compared with what is known of these
    return Saved(state, begun), reason


def decode_attempts(body: bytes, flower: str) -> Backoff | None:
    """Return how the last attempts of incremental scrapes of the Flower with this URL ended; None if it has no state.

    Raises:
        UnusableError: if the content cannot be used.
    """
    try:
        stored = msgspec.msgpack.decode(body, type=_Stored)
    except msgspec.DecodeError:
        raise UnusableError("the file is damaged") from None
    if stored.flower != flower:
        raise UnusableError("the file is of another Flower")
    return stored.state.incremental if stored.state else None


def _check(stored: _Stored, flower: str, columns: tuple[Column, ...]) -> str:
    """Return why only the totals can be used; empty if everything can.

    Raises:
        UnusableError: if the content belongs to another version, Flower or time.
    """
    reason, state = "", stored.state
    names = {_name(column) for column in columns}
    if stored.version != __version__:
        reason = "another version of push-job wrote the file"
    elif any(part and part.tasks.columns.keys() != names for part in (state, stored.begun)):
        reason = "the file was written with other extras"
    if stored.flower != flower:
        raise UnusableError("the file is of another Flower")
    if not (state.full_at if state else 0.0) <= stored.saved_at <= time.time():
        raise UnusableError("the file is from the future")
    if reason and (state is None or state.totals is None or not {*totals.COLUMNS} <= {*columns}):
        raise UnusableError(reason)
    return reason


def _encode_state(state: ScrapeState) -> _StoredState:
    count_left_out(state)
    return _StoredState(
        full_at=state.full_at,
        order=state.order.name,
        front=state.front,
        end=state.end,
        surplus=[(*kind, count) for kind, count in state.surplus.items()],
        sent_at=state.sent_at,
        counts=_encode_counts(state.counts) if state.counts else None,
        kept=state.kept,
        has_room=state.has_room,
        changes_by_events_alone=state.changes_by_events_alone,
        unplaced=sorted(state.unplaced),
        incremental=state.incremental,
        pages=state.pages,
        tasks=_encode_tasks(state.tasks),
        totals=state.totals,
    )


def _decode_state(stored: _StoredState, columns: tuple[Column, ...]) -> ScrapeState:
    """Raise ValueError or KeyError if the content contradicts itself."""
    return ScrapeState(
        tasks=_decode_tasks(stored.tasks, columns),
        counts=_decode_counts(stored.counts) if stored.counts else None,
        order=ORDERS[stored.order],
        full_at=stored.full_at,
        front=stored.front,
        end=stored.end,
        surplus=Counter({EventKind(event, name): count for event, name, count in stored.surplus}),
        sent_at=stored.sent_at,
        kept=stored.kept,
        has_room=stored.has_room,
        changes_by_events_alone=stored.changes_by_events_alone,
        unplaced=set(stored.unplaced),
        incremental=stored.incremental,
        pages=stored.pages,
        totals=stored.totals,
    )


def _encode_begun(begun: BegunScrape) -> _StoredScrape:
    pages = begun.pages
    return _StoredScrape(
        at=begun.at,
        before=_encode_counts(begun.before),
        end=pages.end,
        page_count=pages.page_count,
        page_size=pages.page_size,
        entered=pages.entered,
        tasks=_encode_tasks(pages.tasks),
    )


def _decode_begun(stored: _StoredScrape, columns: tuple[Column, ...]) -> BegunScrape:
    tasks = _decode_tasks(stored.tasks, columns)
    pages = PagesRead(tasks, stored.end, stored.page_count, stored.page_size, stored.entered)
    return BegunScrape(pages, _decode_counts(stored.before), stored.at)


def _encode_counts(counts: EventCounts) -> _StoredCounts:
    return _StoredCounts(
        counts.started,
        counts.cpu,
        [(*sender, count) for sender, count in counts.by_sender.items()],
        [(*kind, count) for kind, count in counts.by_kind.items()],
        counts.digest,
    )


def _decode_counts(stored: _StoredCounts) -> EventCounts:
    return EventCounts(
        stored.started,
        stored.cpu,
        Counter({Sender(name, is_client): count for name, is_client, count in stored.by_sender}),
        Counter({EventKind(event, name): count for event, name, count in stored.by_kind}),
        stored.digest,
    )


def _encode_tasks(tasks: TaskTable) -> _StoredTasks:
    page = tasks.compact()
    return _StoredTasks(
        now=tasks.now,
        kinds=tasks.shared.kinds,
        texts=tasks.shared.texts,
        ids=list(page.rows),
        kind_numbers=page.kinds.tobytes(),
        seconds=page.seconds.tobytes(),
        stamps=page.stamps.tobytes(),
        columns={_name(column): values.tobytes() for column, values in page.columns.items()},
    )


def _decode_tasks(stored: _StoredTasks, columns: Iterable[Column]) -> TaskTable:
    """Raise ValueError or KeyError if the content contradicts itself."""
    shared = SharedIndex(stored.kinds, stored.texts)
    shared.rows = list(range(len(stored.ids)))
    page = TaskPage(shared, columns, stored.now)
    page.rows = dict(zip(stored.ids, shared.rows, strict=True))
    page.kinds.frombytes(stored.kind_numbers)
    page.seconds.frombytes(stored.seconds)
    page.stamps.frombytes(stored.stamps)
    for column, values in page.columns.items():
        values.frombytes(stored.columns[_name(column)])
    numbers = (page.seconds, page.stamps, *page.columns.values())
    lengths = {len(stored.ids), len(page.rows), len(page.kinds), *(len(values) for values in numbers)}
    if len(lengths) != 1 or max(page.kinds, default=-1) >= len(stored.kinds):
        raise ValueError
    tasks = TaskTable(shared)
    tasks.merge(page)
    return tasks


def _name(column: Column) -> str:
    function = column.of if isinstance(column, TextColumn) else column
    return f"{function.__module__}.{getattr(function, '__qualname__', '')}"
