"""A Flower's Memory in a file, so that a one-shot job is warm too.

The file is written whole or not at all: a new one, flushed and renamed over the old one, for its owner only. A link to
it stays, and what is no file is left alone. It holds ids, task types, states and times, never arguments or results.
Whatever is wrong with a file (missing, cut, damaged, of another version, of another Flower, from the future, too old)
makes it none, with one line in the log; so does a disk that does not take it. What it says is checked against Flower
like any memory, so an old file is slow and never false.
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

import msgspec

from push_job import __version__, log
from push_job.flower.incremental.event_counts import EventCounts, Sender
from push_job.flower.incremental.state import Memory
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import Column, TextColumn

#: What every file begins with; the digest of the rest follows. A change of what is in it is another version.
_MAGIC = b"push-job memory 2\n"

_LARGEST = 2**30

#: Seconds after which what a killed process left half written is removed.
_ABANDONED = 3600.0


class _Kept(msgspec.Struct, array_like=True):
    """The file's content after its digest, as MessagePack; numbers are in the machine's order of bytes."""

    version: str
    flower: str
    saved_at: float
    whole_at: float
    now: float
    by_stamp: bool
    front: int
    end: int
    spare: int
    latecomers: list[tuple[str, bool]]
    sent_at: dict[str, float]
    started: float
    received: int
    counts: list[tuple[str, bool, int]] | None
    kept: dict[str, dict[str, float]]
    kinds: list[tuple[str, str]]
    texts: list[str]
    ids: list[str]
    kind_numbers: bytes
    seconds: bytes
    stamps: bytes
    columns: dict[str, bytes]
    digest: str
    worked: float
    by_events_alone: bool
    unplaced: list[str]


class _NoMemoryError(Exception):
    """The file is of no use; the message says why."""


class StateFile:
    """The file at `path` with what is remembered of the Flower at the URL `flower`, whose ``instance`` is `address`."""

    def __init__(self, path: Path, flower: str, address: str) -> None:
        self._path = path
        self._flower = flower
        self._address = address

    def load(self, columns: Iterable[Column]) -> Memory | None:
        """What was saved last, with these columns; None if it is of no use."""
        try:
            return self._load(tuple(columns))
        except FileNotFoundError:
            reason = "there is no such file yet"
        except OSError as error:
            reason = error.strerror or str(error)
        except _NoMemoryError as error:
            reason = str(error)
        log.event(
            logging.INFO, "nothing is remembered", flower=self._address, state_file=str(self._path), reason=reason
        )
        return None

    def save(self, memory: Memory) -> None:
        """Write it, or log why that was not possible."""
        try:
            self._write(_MAGIC, _encoded(memory, self._flower))
        except OSError as error:
            reason = error.strerror or str(error)
        except Exception as bug:  # noqa: BLE001 - what was read can be pushed all the same
            reason = f"a mistake in push-job: {type(bug).__name__}: {bug}; please report it"
        else:
            return
        log.event(
            logging.WARNING,
            "the memory file could not be written",
            flower=self._address,
            state_file=str(self._path),
            reason=reason,
        )

    def _load(self, columns: tuple[Column, ...]) -> Memory:
        # What is no file (a pipe, a terminal) could keep a reader waiting.
        with open(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                raise _NoMemoryError("it is no memory file")
            content = file.read(_LARGEST)
        body = memoryview(content)[len(_MAGIC) + hashlib.sha256().digest_size :]
        if not content.startswith(_MAGIC):
            raise _NoMemoryError("it is no memory file, or one of another version")
        if hashlib.sha256(body).digest() != content[len(_MAGIC) : len(content) - len(body)]:
            raise _NoMemoryError("it is damaged")
        try:
            kept = msgspec.msgpack.decode(body, type=_Kept)
            self._check(kept, columns)
            return _decoded(kept, columns)
        except (msgspec.DecodeError, ValueError):
            raise _NoMemoryError("it is damaged") from None

    def _check(self, kept: _Kept, columns: tuple[Column, ...]) -> None:
        if kept.version != __version__:
            raise _NoMemoryError("another version of push-job wrote it")
        if kept.flower != self._flower:
            raise _NoMemoryError("it is of another Flower")
        if kept.columns.keys() != {_name(column) for column in columns}:
            raise _NoMemoryError("it was written for other extras")
        if not kept.whole_at <= kept.saved_at <= time.time():
            raise _NoMemoryError("it is from the future")

    def _write(self, *parts: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(self._path).st_mode):
                raise OSError("what is there is no file, and is left as it is")
        path = Path(os.path.realpath(self._path))  # to rename it over a link would take the link away
        folder, prefix = path.parent, f".{path.name}."
        self._remove_abandoned(folder, prefix)
        number, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=folder)  # it is readable by its owner only
        try:
            with open(number, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    @staticmethod
    def _remove_abandoned(folder: Path, prefix: str) -> None:
        for path in folder.glob(f"{glob.escape(prefix)}*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()


def _encoded(memory: Memory, flower: str) -> bytes:
    """The digest and the content."""
    tasks, counts = memory.tasks, memory.counts
    ids, batch = tasks.as_one_batch()
    body = msgspec.msgpack.encode(
        _Kept(
            version=__version__,
            flower=flower,
            saved_at=time.time(),
            whole_at=memory.whole_at,
            now=tasks.now,
            by_stamp=memory.by_stamp,
            front=memory.front,
            end=memory.end,
            spare=memory.spare,
            latecomers=sorted(memory.latecomers),
            sent_at=memory.sent_at,
            started=counts.started if counts else 0.0,
            received=counts.received if counts else 0,
            counts=[(*source, count) for source, count in counts.by_sender.items()] if counts else None,
            kept=memory.kept,
            kinds=tasks.shared.kinds,
            texts=tasks.shared.texts,
            ids=ids,
            kind_numbers=batch.kinds.tobytes(),
            seconds=batch.seconds.tobytes(),
            stamps=batch.stamps.tobytes(),
            columns={_name(column): values.tobytes() for column, values in batch.columns.items()},
            digest=counts.digest if counts else "",
            worked=counts.worked if counts else 0.0,
            by_events_alone=memory.by_events_alone,
            unplaced=sorted(memory.unplaced),
        )
    )
    return hashlib.sha256(body).digest() + body


def _decoded(kept: _Kept, columns: tuple[Column, ...]) -> Memory:
    """Raises ValueError where it contradicts itself."""
    shared = SharedIndex(kept.kinds, kept.texts)
    shared.rows = list(range(len(kept.ids)))
    batch = TaskPage(shared, columns, kept.now)
    batch.rows = dict(zip(kept.ids, shared.rows, strict=True))
    batch.kinds.frombytes(kept.kind_numbers)
    batch.seconds.frombytes(kept.seconds)
    batch.stamps.frombytes(kept.stamps)
    for column, values in batch.columns.items():
        values.frombytes(kept.columns[_name(column)])
    numbers = (batch.seconds, batch.stamps, *batch.columns.values())
    lengths = {len(kept.ids), len(batch.kinds), *(len(values) for values in numbers)}
    if len(lengths) != 1 or len(batch.rows) != len(kept.ids) or max(batch.kinds, default=-1) >= len(kept.kinds):
        raise ValueError
    tasks = TaskTable(shared)
    tasks.merge(batch)
    counts = None
    if kept.counts is not None:
        by_sender = Counter({Sender(name, is_client): count for name, is_client, count in kept.counts})
        counts = EventCounts(kept.started, by_sender, kept.received, kept.digest, kept.worked)
    return Memory(
        tasks,
        counts,
        kept.by_stamp,
        kept.whole_at,
        kept.front,
        {Sender(name, is_client) for name, is_client in kept.latecomers},
        kept.spare,
        kept.end,
        kept.sent_at,
        kept=kept.kept,
        by_events_alone=kept.by_events_alone,
        unplaced=set(kept.unplaced),
    )


def _name(column: Column) -> str:
    function = column.of if isinstance(column, TextColumn) else column
    return f"{function.__module__}.{getattr(function, '__qualname__', '')}"
