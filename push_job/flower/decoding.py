"""Decode the body of ``/api/tasks`` into tasks, one piece at a time.

Flower answers with one JSON object, ``{"<id>": {<task>}, "<id>": {<task>}, ...}``,
of about one kilobyte per task. To hold only a piece of it at a time, the stream
is cut after a task:

1. Find the last ``}, "<id>": {`` in what was received, with any white space.
2. Cut after its ``}`` and decode the piece with a ``}`` appended.
3. If that fails, the cut was inside a text or a nested object. Put the rest back
   and try again with more of the stream.

A cut that decodes is right: a JSON parser reads from left to right, so a piece
that starts at a task and parses with a ``}`` appended ends at the end of a task.

If no cut is found in a large part of the stream, a task contains a huge text,
which is shortened (see `long_texts`).

Flower writes what Python's ``json`` writes. That is not always strict JSON (NaN,
lone surrogates), so ``json`` tries what the fast decoder rejects.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from push_job.flower.long_texts import cut_long_texts
from push_job.flower.task import EventFields, TaskFields

#: The end of a task and the beginning of the next one; the group ends before the next one's first quote.
_BETWEEN = re.compile(rb'\}(\s*,\s*)"[^"\\]*"\s*:\s*\{')

#: The beginning of the id of a piece's first task.
_FIRST_ID = re.compile(rb'\s*\{\s*"([^"]{0,100})')

#: Bytes to hold at most while looking for the end of a task. Decoded, they can take twenty times as much memory.
PIECE_LIMIT = 4 * 2**20

#: Bytes without the end of a task after which long texts are shortened.
_LARGE = 2**20

#: Bytes to decode at a time: few calls, and little memory.
_PIECE = 256 * 1024

#: The decoder for each set of fields.
_DECODERS: dict[type[TaskFields], msgspec.json.Decoder[dict[str, TaskFields]]] = {
    TaskFields: msgspec.json.Decoder(dict[str, TaskFields]),
    EventFields: msgspec.json.Decoder(dict[str, EventFields]),
}


class DecodingError(Exception):
    """The body is not an object of tasks; the message says what it is instead.

    Attributes:
        damaged: it looks like a good body that was damaged on its way, so the request may be repeated.
    """

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


def decode_tasks(chunks: Iterable[bytes], fields: type[TaskFields] = TaskFields) -> Iterator[dict[str, TaskFields]]:
    """Yield the tasks of a body by id, one piece at a time, in its order.

    An entry that is not an object becomes a task without any field.

    Raises:
        DecodingError: if the body is not a JSON object, is cut off, or has entries and none of them is an object.
    """
    chunks = iter(chunks)
    held = bytearray()
    enough = _PIECE  # bytes to hold before the next attempt, doubled after a failed one
    entries = objects = 0
    for chunk in chunks:
        held += chunk
        if len(held) < enough:
            continue
        cut = _last_cut(held)
        if cut is not None:
            end, begin = cut
            # Cut in place: copying each piece would cost as much as decoding it.
            rest, between = held[begin:], held[end:begin]
            held[end:] = b"}"
            try:
                tasks, found = decode_piece(held, fields)
            except DecodingError:
                held[end:] = between + rest
            else:
                yield tasks
                entries, objects = entries + len(tasks), objects + found
                held = bytearray(b"{") + rest
                enough = _PIECE
                continue
        if len(held) >= _LARGE:
            held = cut_long_texts(held, chunks)
        if len(held) >= PIECE_LIMIT:
            raise _too_large(held)
        enough = max(_PIECE, min(2 * len(held), PIECE_LIMIT))
    tasks, found = decode_piece(held, fields)
    yield tasks
    if entries + len(tasks) and not objects + found:
        raise DecodingError("it does not hold tasks; is this Flower's address?")


def _last_cut(text: bytearray) -> tuple[int, int] | None:
    """Return the last possible boundary between two tasks, or None.

    The boundary begins after the ``}`` of one task, and ends before the id of the next one.
    """
    at = len(text)
    while (at := text.rfind(b"}", 0, at)) >= 0:
        if between := _BETWEEN.match(text, at):
            return between.span(1)
    return None


def _too_large(text: bytearray) -> DecodingError:
    first = _FIRST_ID.match(text)
    task_id = first[1].decode("utf-8", "replace") if first else ""
    return DecodingError(
        f"its task {task_id!r} is larger than {PIECE_LIMIT // 2**20} MiB, and not because of one long text;"
        " restart Flower to make it forget the task, and send smaller events"
    )


def decode_piece(text: bytes | bytearray, fields: type[TaskFields] = TaskFields) -> tuple[dict[str, TaskFields], int]:
    """Decode a complete JSON object of tasks.

    Returns:
        The tasks by id, and the number of entries that are objects.

    Raises:
        DecodingError: if the text is not a JSON object.
    """
    try:
        tasks = _DECODERS[fields].decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    else:
        return tasks, len(tasks)
    entries = decode_json(text)
    if not isinstance(entries, dict):
        raise DecodingError(f"it is {_kind_of(entries)}, not an object of tasks")
    objects = sum(isinstance(entry, dict) for entry in entries.values())
    return {task_id: _pick(entry, fields) for task_id, entry in entries.items()}, objects


def decode_json(text: bytes | bytearray) -> Any:
    """Decode JSON as Python writes it.

    Raises:
        DecodingError: if the text is not such JSON. The message says what it looks like.
    """
    try:
        return json.loads(text, parse_int=_int)
    except RecursionError:
        raise DecodingError("it is nested too deeply") from None
    except ValueError:
        start = text[:200].lstrip()
        if not start:
            raise DecodingError("it is empty", damaged=True) from None
        if start.startswith(b"<"):
            raise DecodingError("it is a web page, not JSON") from None
        if start.startswith((b"{", b"[")):
            raise DecodingError("its JSON is invalid or cut off", damaged=True) from None
        raise DecodingError("it is not JSON") from None


def _int(digits: str) -> float:
    """Convert an integer, or return NaN if it is too long.

    Python rejects an integer with thousands of digits. No valid number has a hundred.
    """
    return int(digits) if len(digits) < 100 else math.nan


def _pick(entry: Any, fields: type[TaskFields]) -> TaskFields:
    if not isinstance(entry, dict):
        return fields()
    return fields(**{name: entry[name] for name in fields.__struct_fields__ if name in entry})


def _kind_of(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", list: "a list", str: "a string", int: "a number"}
    return names.get(type(value), "a number")
