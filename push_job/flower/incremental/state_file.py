"""Keep the state of a Flower in a file, so that a one-shot job can scrape incrementally.

The file is replaced completely or not at all: a new one is written, flushed and
renamed over the old one, readable by its owner only. A symbolic link to it stays
a link. It holds ids, task types, states and times, but neither arguments nor
results.

A file that is missing, cut off, damaged, from the future, of another version or
of another Flower is not used; one log line says why. What a file says is checked
against Flower like any other state, so an old file costs time but is never wrong.
A file that is not a state file is never overwritten.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from push_job import __version__, log
from push_job.flower import totals
from push_job.flower.incremental.backoff import Backoff
from push_job.flower.incremental.event_counts import EventCounts, EventKind, Sender
from push_job.flower.incremental.list_order import ORDERS
from push_job.flower.incremental.state import ScrapeState, count_left_out
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import Column, TextColumn

#: The beginning of every state file, and of one in the current format. The SHA-256 of the rest follows.
_ANY_MAGIC = b"push-job state "
_MAGIC = _ANY_MAGIC + b"1\n"

#: Bytes of a state file; 2,000,000 tasks take 160 MB.
_SIZE_LIMIT = 2**29

#: Seconds after which a temporary file of a killed process is removed.
_ABANDONED = 3600.0


class _StoredCounts(msgspec.Struct, array_like=True):
    """EventCounts as they are stored."""

    started: float
    cpu: float
    by_sender: list[tuple[str, bool, int]]
    by_kind: list[tuple[str, str, int]]
    digest: str


class _Stored(msgspec.Struct, array_like=True):
    """The content of the file, as MessagePack. Arrays are in the byte order of the machine."""

    version: str
    flower: str
    saved_at: float
    full_at: float
    now: float
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
    kinds: list[tuple[str, str]]
    texts: list[str]
    ids: list[str]
    kind_numbers: bytes
    seconds: bytes
    stamps: bytes
    columns: dict[str, bytes]
    totals: totals.Totals | None = None


class _UnusableError(Exception):
    """The file cannot be used; the message says why."""


class _ForeignFileError(Exception):
    """The path leads to something that is not a state file; it must not be changed."""


class StateFile:
    """The state file of one Flower.

    Args:
        path: the file.
        flower: URL of the Flower.
        address: the Flower's ``instance``, for the log.

    Attributes:
        reason: why the file could not be used; empty if it could.
    """

    def __init__(self, path: Path, flower: str, address: str) -> None:
        self._path = path
        self._flower = flower
        self._address = address
        self._is_foreign = False
        self.reason = ""

    def load(self, columns: Iterable[Column]) -> ScrapeState | None:
        """Return the saved state, with these columns; None if the file cannot be used."""
        level = logging.INFO
        try:
            return self._load(tuple(columns))
        except FileNotFoundError:
            reason = "the file does not exist yet"
        except OSError as error:
            reason = error.strerror or str(error)
        except _UnusableError as error:
            reason = str(error)
        except _ForeignFileError as error:
            level, reason, self._is_foreign = logging.ERROR, str(error), True
        self.reason = reason
        self._log(level, "no state; reading all tasks", reason)
        return None

    def save(self, state: ScrapeState) -> None:
        """Write the state. A failure is logged and nothing else: the scrape is still worth pushing."""
        if self._is_foreign:  # which `load` has logged
            return
        try:
            self._write(_encode(state, self._flower))
        except OSError as error:
            reason = error.strerror or str(error)
        except _ForeignFileError as error:
            reason = str(error)
        except Exception as bug:  # noqa: BLE001 - what was scraped can be pushed anyway
            reason = log.bug_text(bug, flower=self._address)
        else:
            return
        self._log(logging.WARNING, "state file not written", reason)

    def _log(self, level: int, message: str, reason: str) -> None:
        log.event(level, message, flower=self._address, state_file=str(self._path), reason=reason)

    def _load(self, columns: tuple[Column, ...]) -> ScrapeState:
        with _open(self._path) as file:
            _check_is_state_file(file)
            if file.read(len(_MAGIC)) != _MAGIC:
                raise _UnusableError("the file is of another version")
            digest = file.read(hashlib.sha256().digest_size)
            body = file.read(_SIZE_LIMIT)
        if hashlib.sha256(body).digest() != digest:
            raise _UnusableError("the file is damaged")
        try:
            stored = msgspec.msgpack.decode(body, type=_Stored)
            reason = self._check(stored, columns)
            state = _decode(stored, columns if reason is None else totals.COLUMNS)
        except (msgspec.DecodeError, ValueError, KeyError):
            raise _UnusableError("the file is damaged") from None
        if reason is not None:
            state.counts = None  # so that all tasks are read, and compared with what is known of these
            self._log(logging.INFO, "only totals of the state used; reading all tasks", reason)
        return state

    def _check(self, stored: _Stored, columns: tuple[Column, ...]) -> str | None:
        """Return why only the totals can be used; None if everything can.

        Raises:
            _UnusableError: if the content belongs to another version, Flower or time.
        """
        reason = None
        if stored.version != __version__:
            reason = "another version of push-job wrote the file"
        elif stored.columns.keys() != {_name(column) for column in columns}:
            reason = "the file was written with other extras"
        if stored.flower != self._flower:
            raise _UnusableError("the file is of another Flower")
        if not stored.full_at <= stored.saved_at <= time.time():
            raise _UnusableError("the file is from the future")
        if reason is not None and (stored.totals is None or not {*totals.COLUMNS} <= {*columns}):
            raise _UnusableError(reason)
        return reason

    def _write(self, body: bytes) -> None:
        with contextlib.suppress(FileNotFoundError), _open(self._path) as existing:
            _check_is_state_file(existing)
        path = Path(os.path.realpath(self._path))  # renaming over a link would remove the link
        folder, prefix = path.parent, f".{path.name}."
        _remove_abandoned(folder, prefix)
        number, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=folder)  # readable by its owner only
        try:
            with open(number, "wb") as file:
                file.write(_MAGIC)
                file.write(hashlib.sha256(body).digest())
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def _open(path: Path) -> BinaryIO:
    """Open a file for reading, without waiting if it is a pipe or a terminal."""
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _check_is_state_file(file: BinaryIO) -> None:
    """Raise _ForeignFileError unless the file is empty or a state file; leave its position at the beginning."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise _ForeignFileError("the path is not a regular file; it is left unchanged")
    beginning = file.read(len(_ANY_MAGIC))
    if beginning and beginning != _ANY_MAGIC:
        raise _ForeignFileError("the file is not a state file; it is left unchanged")
    if status.st_size > _SIZE_LIMIT:
        raise _UnusableError("the file is too large")
    file.seek(0)


def _remove_abandoned(folder: Path, prefix: str) -> None:
    for path in folder.glob(f"{glob.escape(prefix)}*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def _encode(state: ScrapeState, flower: str) -> bytes:
    count_left_out(state)
    page = state.tasks.compact()
    return msgspec.msgpack.encode(
        _Stored(
            version=__version__,
            flower=flower,
            saved_at=time.time(),
            full_at=state.full_at,
            now=state.tasks.now,
            order=state.order.name,
            front=state.front,
            end=state.end,
            surplus=[(*kind, count) for kind, count in state.surplus.items()],
            sent_at=state.sent_at,
            counts=_encode_counts(state.counts),
            kept=state.kept,
            has_room=state.has_room,
            changes_by_events_alone=state.changes_by_events_alone,
            unplaced=sorted(state.unplaced),
            incremental=state.incremental,
            pages=state.pages,
            kinds=state.tasks.shared.kinds,
            texts=state.tasks.shared.texts,
            ids=list(page.rows),
            kind_numbers=page.kinds.tobytes(),
            seconds=page.seconds.tobytes(),
            stamps=page.stamps.tobytes(),
            columns={_name(column): values.tobytes() for column, values in page.columns.items()},
            totals=state.totals,
        )
    )


def _encode_counts(counts: EventCounts | None) -> _StoredCounts | None:
    if counts is None:
        return None
    return _StoredCounts(
        counts.started,
        counts.cpu,
        [(*sender, count) for sender, count in counts.by_sender.items()],
        [(*kind, count) for kind, count in counts.by_kind.items()],
        counts.digest,
    )


def _decode(stored: _Stored, columns: tuple[Column, ...]) -> ScrapeState:
    """Raise ValueError or KeyError if the content contradicts itself."""
    return ScrapeState(
        tasks=_decode_tasks(stored, columns),
        counts=_decode_counts(stored.counts),
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


def _decode_tasks(stored: _Stored, columns: tuple[Column, ...]) -> TaskTable:
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


def _decode_counts(stored: _StoredCounts | None) -> EventCounts | None:
    if stored is None:
        return None
    return EventCounts(
        stored.started,
        stored.cpu,
        Counter({Sender(name, is_client): count for name, is_client, count in stored.by_sender}),
        Counter({EventKind(event, name): count for event, name, count in stored.by_kind}),
        stored.digest,
    )


def _name(column: Column) -> str:
    function = column.of if isinstance(column, TextColumn) else column
    return f"{function.__module__}.{getattr(function, '__qualname__', '')}"
