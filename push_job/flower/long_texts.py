"""Long texts in a body of JSON are cut while it is read, so that one huge exception text needs no memory.

Celery cuts arguments and results to a kilobyte each, but no exception and no traceback. None of the fields that are
read is longer than a label, so what is cut off changes nothing that is counted. Only a field's value is cut, never an
id: two ids that begin alike would become one task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Bytes of a text that is cut. Nothing that Celery or Flower writes on purpose is as long.
_LONG = 64 * 1024

#: Bytes that are kept of it: more than a label has, though its signs be escapes of twelve bytes.
_KEPT = 4096

#: A quote and the backslashes right before it: an odd number of them makes it a part of the text.
_QUOTE = re.compile(rb'(?<!\\)(\\*)"')

#: What stands before a field's value; an entry of a list has no colon, nor has an id.
_COLON = re.compile(rb":\s*\Z")


def cut_long_texts(body: bytearray, rest: Iterator[bytes]) -> bytearray:
    """`body`, the beginning of some JSON, with its long texts cut; `rest` is what follows it.

    If `body` ends inside a long text, `rest` is read up to that text's end.
    """
    cut = bytearray()
    start = body.find(b'"') + 1
    while start:
        end = _end_of_text(body, start)
        length = (len(body) if end is None else end) - start
        if length > _LONG and _COLON.search(body[max(0, start - 20) : start - 1]):
            cut += body[:start] + _beginning(bytes(body[start : start + _KEPT]))
            body = _from_end_of_text(body[start:], rest)
            end = 0
        if end is None:
            break
        start = body.find(b'"', end + 1) + 1
    return cut + body


def _end_of_text(body: bytearray, start: int) -> int | None:
    """Where the quote is that ends the text that begins at `start`; None if it is not in `body`."""
    return next((quote.end() - 1 for quote in _QUOTE.finditer(body, start) if len(quote[1]) % 2 == 0), None)


def _from_end_of_text(body: bytearray, rest: Iterator[bytes]) -> bytearray:
    """What follows the text that `body` begins in, from its last quote on; nothing if it does not end at all."""
    while (end := _end_of_text(body, 0)) is None:
        chunk = next(rest, None)
        if chunk is None:
            return bytearray()
        backslashes = len(body) - len(body.rstrip(b"\\"))
        body = bytearray(b"\\" * (backslashes % 2)) + chunk
    return body[end:]


def _beginning(text: bytes) -> bytes:
    """The text without what may be half an escape or half a character at its end."""
    escape = text.rfind(b"\\", len(text) - 6)
    whole = text[:escape].rstrip(b"\\") if escape >= 0 else text
    return whole.decode("utf-8", "ignore").encode()
