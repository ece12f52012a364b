"""The content of a state file.

It is MessagePack, with arrays in the byte order of the machine.

A state is stored with all its fields, as its class declares them; a table of
tasks as its columns. So the file holds ids, task types, states and times, but
neither arguments nor results. What it says is checked against Flower like any
other state, so an old one costs time but is never wrong.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from push_job import __version__
from push_job.flower import totals
from push_job.flower.incremental.backoff import Backoff
from push_job.flower.incremental.list_order import ORDERS, ListOrder
from push_job.flower.incremental.state import ScrapeState, UnfinishedScrape, merge_left_out
from push_job.flower.page import SharedIndex, TaskPage
from push_job.flower.table import TaskTable
from push_job.flower.task import Column, TextColumn

T = TypeVar("T")


class UnusableError(Exception):
    """The content cannot be used; the message says why."""


class Saved(NamedTuple):
    """The saved state of a Flower, and its interrupted full scrape.

    Each of them is None if there is none.
    """

    state: ScrapeState | None = None
    unfinished: UnfinishedScrape | None = None


class _Content(msgspec.Struct, array_like=True):
    """The whole content of a state file.

    `state` and `unfinished` are decoded when it is known that they can be used.
    """

    version: str
    flower: str
    saved_at: float
    columns: set[str]
    state: msgspec.Raw
    unfinished: msgspec.Raw


class _Head(msgspec.Struct):
    """The fields of a state that are needed before the others."""

    full_at: float
    incremental: Backoff
    totals: totals.Totals | None


class _Tasks(msgspec.Struct, array_like=True):
    """A table of tasks."""

    now: float
    kinds: list[tuple[str, str]]
    texts: list[str]
    ids: list[str]
    kind_numbers: bytes
    seconds: bytes
    stamps: bytes
    columns: dict[str, bytes]


def encode(saved: Saved, flower: str) -> bytes:
    """Return the content for what is saved of the Flower with this URL."""
    state, unfinished = saved
    if state:
        merge_left_out(state)
    tables = [*([state.tasks] if state else []), *([unfinished.pages.tasks] if unfinished else [])]
    columns = {_name(column) for table in tables for column in table.columns}
    return msgspec.msgpack.encode((__version__, flower, time.time(), columns, *saved), enc_hook=_encode_object)


def decode(body: bytes, flower: str, columns: tuple[Column, ...]) -> tuple[Saved, str]:
    """Return the saved state of the Flower with this URL.

    Returns:
        The state and the interrupted full scrape, and the reason why only totals can be used. The reason is empty if
        everything can be used.

    Args:
        body: the content.
        flower: URL of the Flower.
        columns: the columns that are needed of each task.

    Raises:
        UnusableError: if nothing can be used.
    """
    content = _open(body, flower)
    reason = _check(content, columns)
    state = _decode(content.state, ScrapeState, totals.COLUMNS if reason else columns)
    unfinished = None if reason else _decode(content.unfinished, UnfinishedScrape, columns)
    if state and reason:
        state.counts = None  # so that all tasks are read, and compared with what is known of these
    return Saved(state, unfinished), reason


def decode_attempts(body: bytes, flower: str) -> Backoff | None:
    """Return the result of the last attempts of incremental scrapes, or None.

    Return None if the Flower with this URL has no state.

    Raises:
        UnusableError: if the content cannot be used.
    """
    head = _decode(_open(body, flower).state, _Head)
    return head.incremental if head else None


def _open(body: bytes, flower: str) -> _Content:
    try:
        content = msgspec.msgpack.decode(body, type=_Content)
    except msgspec.DecodeError:
        raise UnusableError("the file is damaged") from None
    if content.flower != flower:
        raise UnusableError("the file is of another Flower")
    return content


def _check(content: _Content, columns: tuple[Column, ...]) -> str:
    """Return the reason why only the totals can be used, or an empty text.

    The text is empty if everything can be used. Raises UnusableError if nothing can be used.
    """
    reason, head = "", _decode(content.state, _Head)
    if content.version != __version__:
        reason = "another version of push-job wrote the file"
    elif content.columns != {_name(column) for column in columns}:
        reason = "the file was written with other extras"
    if not (head.full_at if head else 0.0) <= content.saved_at <= time.time():
        raise UnusableError("the file is from the future")
    if reason and (head is None or head.totals is None or not {*totals.COLUMNS} <= {*columns}):
        raise UnusableError(reason)
    return reason


def _decode(raw: msgspec.Raw, wanted: type[T], columns: tuple[Column, ...] = ()) -> T | None:
    """Return an object of the wanted type.

    Its tasks have these columns. Raises UnusableError if the content is damaged.
    """
    hook = partial(_decode_object, columns)
    try:
        return msgspec.msgpack.decode(raw, type=wanted | None, dec_hook=hook)
    except (msgspec.DecodeError, ValueError, KeyError):
        raise UnusableError("the file is damaged") from None


# Types that msgspec does not know


def _encode_object(value: object) -> object:
    if isinstance(value, ListOrder):
        return value.name
    assert isinstance(value, TaskTable)  # noqa: S101 - there is no other type in a state
    page = value.compact()
    return _Tasks(
        now=value.now,
        kinds=value.shared.kinds,
        texts=value.shared.texts,
        ids=list(page.rows),
        kind_numbers=page.kinds.tobytes(),
        seconds=page.seconds.tobytes(),
        stamps=page.stamps.tobytes(),
        columns={_name(column): values.tobytes() for column, values in page.columns.items()},
    )


def _decode_object(columns: Iterable[Column], wanted: Any, value: Any) -> object:
    """Raise ValueError or KeyError if the value contradicts itself."""
    if wanted is ListOrder:
        return ORDERS[value]
    if get_origin(wanted) is Counter:
        [key] = get_args(wanted)
        return Counter(msgspec.convert(value, dict[key, int]))  # type: ignore[valid-type]  # known at runtime
    return _tasks_of(msgspec.convert(value, _Tasks), columns)


def _tasks_of(stored: _Tasks, columns: Iterable[Column]) -> TaskTable:
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
