"""From the bytes of ``/api/tasks`` to tasks, a piece of the body at a time.

Flower answers with one JSON object, ``{"<id>": {<task>}, "<id>": {<task>}, ...}``, of about a kilobyte a task. To hold
no more than a piece of it, the stream is cut after a task wherever ``}, "<id>": {`` is found, however it is spaced: a
proxy may have written the JSON anew. The cut may fall inside a task: those bytes can also lie in a text or in a nested
object. Then the piece does not decode, because a JSON parser reads from left to right: a piece that begins at a task
and parses with a ``}`` put behind it can only have ended at the end of a task. So a cut that decodes is a right one,
and one that does not is tried again with more of the stream.

If no cut is found in much of the stream, a task has a huge text in it, and that is cut (see ``long_texts``).

Flower writes what Python's ``json`` writes. That is not always strict JSON (NaN, lone surrogates), so what the
fast decoder refuses is given to ``json`` before it is called broken.
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

#: The end of a task and the beginning of the next one, whose first quote the group ends before.
_BETWEEN = re.compile(rb'\}(\s*,\s*)"[^"\\]*"\s*:\s*\{')

#: The id of a piece's first task, or the beginning of it.
_FIRST_ID = re.compile(rb'\s*\{\s*"([^"]{0,100})')

#: The most bytes to hold while looking for the end of a task. What is decoded can take twenty times the room of its
#: bytes.
PIECE_LIMIT = 4 * 2**20

#: Bytes without the end of a task after which long texts are looked for.
_LARGE = 2**20

#: Bytes to decode at a time, if the body has so many: fewer calls, and still little memory.
_PIECE = 256 * 1024

#: What decodes to each kind of fields.
_DECODERS: dict[type[TaskFields], msgspec.json.Decoder[dict[str, TaskFields]]] = {
    TaskFields: msgspec.json.Decoder(dict[str, TaskFields]),
    EventFields: msgspec.json.Decoder(dict[str, EventFields]),
}


class DecodingError(Exception):
    """The body is not what it should be; the message says what it is instead.

    `damaged`: it looks like a good one that broke on its way, so asking again may help.
    """

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


def decode_tasks(chunks: Iterable[bytes], fields: type[TaskFields] = TaskFields) -> Iterator[dict[str, TaskFields]]:
    """Yield the tasks of a body by id, a piece at a time, in its order; an entry that is no object has no field set.

    Raises DecodingError when the body is no JSON object, is cut short, or has entries none of which is an object.
    """
    chunks = iter(chunks)
    held = bytearray()
    enough = _PIECE  # bytes to hold before the next try, doubled after one in vain
    odd = has_tasks = False
    for chunk in chunks:
        held += chunk
        if len(held) < enough:
            continue
        cut = _last_cut(held)
        if cut is not None:
            end, begin = cut
            # Cut in place: to copy each piece would cost as much as to decode it.
            rest, between = held[begin:], held[end:begin]
            held[end:] = b"}"
            try:
                tasks, objects = decode_piece(held, fields)
            except DecodingError:
                held[end:] = between + rest
            else:
                yield tasks
                odd, has_tasks = odd or objects < len(tasks), has_tasks or objects > 0
                held = bytearray(b"{") + rest
                enough = _PIECE
                continue
        if len(held) >= _LARGE:
            held = cut_long_texts(held, chunks)
        if len(held) >= PIECE_LIMIT:
            raise _too_large(held)
        enough = max(_PIECE, min(2 * len(held), PIECE_LIMIT))
    tasks, objects = decode_piece(held, fields)
    yield tasks
    if (odd or objects < len(tasks)) and not (has_tasks or objects):
        raise DecodingError("what it holds are no tasks; is this Flower's address?")


def _last_cut(text: bytearray) -> tuple[int, int] | None:
    """Where a task ends, perhaps, and where the next one begins: the last such place, or None."""
    at = len(text)
    while (at := text.rfind(b"}", 0, at)) >= 0:
        if between := _BETWEEN.match(text, at):
            return between.span(1)
    return None


def _too_large(text: bytearray) -> DecodingError:
    first = _FIRST_ID.match(text)
    task_id = first[1].decode("utf-8", "replace") if first else ""
    return DecodingError(
        f"its task {task_id!r} is larger than {PIECE_LIMIT // 2**20} MiB, and not by one long text:"
        " restart Flower, which then forgets it, and have its events say less"
    )


def decode_piece(text: bytes | bytearray, fields: type[TaskFields] = TaskFields) -> tuple[dict[str, TaskFields], int]:
    """Decode one whole JSON object of tasks; how many of them are objects too. Raises DecodingError."""
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
    """Decode JSON as Python writes it; raises DecodingError with a word on what it looks like."""
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
            raise DecodingError("its JSON is broken or cut short", damaged=True) from None
        raise DecodingError("it is not JSON") from None


def _int(digits: str) -> float:
    """Python refuses to read thousands of digits; no number of ours has a hundred."""
    return int(digits) if len(digits) < 100 else math.nan


def _pick(entry: Any, fields: type[TaskFields]) -> TaskFields:
    if not isinstance(entry, dict):
        return fields()
    return fields(**{name: entry[name] for name in fields.__struct_fields__ if name in entry})


def _kind_of(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", list: "a list", str: "a string", int: "a number"}
    return names.get(type(value), "a number")
