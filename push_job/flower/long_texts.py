"""Shorten long texts in a JSON body while it is read.

A huge exception then needs little memory.

Celery cuts arguments and results to a kilobyte each, but neither exceptions nor
tracebacks. No field that is read needs more than a label's length, so shortening
changes nothing that is counted. Only values of fields are shortened, never ids:
two ids with the same beginning would become one task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Bytes from which a text is shortened. Neither Celery nor Flower writes a text of this length on purpose.
_LONG = 64 * 1024

#: Bytes that are kept of it: more than a label has, even if each character is an escape of twelve bytes.
_KEPT = 4096

#: A quote and the backslashes before it; an odd number of them makes it a part of the text.
_QUOTE = re.compile(rb'(?<!\\)(\\*)"')

#: The text before a field's value; an entry of a list and an id have no colon before them.
_COLON = re.compile(rb":\s*\Z")


def cut_long_texts(body: bytearray, rest: Iterator[bytes]) -> bytearray:
    """Return `body` with its long texts shortened.

    Args:
        body: the beginning of some JSON.
        rest: the chunks after it; if `body` ends inside a long text, they are read up to that text's end.
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
    """Return the position of the quote that ends a text, or None.

    The text starts at `start`. Return None if its end is not in `body`.
    """
    return next((quote.end() - 1 for quote in _QUOTE.finditer(body, start) if len(quote[1]) % 2 == 0), None)


def _from_end_of_text(body: bytearray, rest: Iterator[bytes]) -> bytearray:
    """Return the rest from the closing quote of a text.

    `body` starts in this text. Return an empty rest if the text never ends.
    """
    while (end := _end_of_text(body, 0)) is None:
        chunk = next(rest, None)
        if chunk is None:
            return bytearray()
        backslashes = len(body) - len(body.rstrip(b"\\"))
        body = bytearray(b"\\" * (backslashes % 2)) + chunk
    return body[end:]


def _beginning(text: bytes) -> bytes:
    """Return the text without a partial escape or character at its end."""
    escape = text.rfind(b"\\", len(text) - 6)
    backslashes = len(text[: escape + 1]) - len(text[: escape + 1].rstrip(b"\\"))
    # An even number of them is complete: each pair is one backslash of the text.
    whole = text[:escape] if backslashes % 2 else text
    return whole.decode("utf-8", "ignore").encode()
