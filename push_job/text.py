"""Make text from outside (servers, tasks, files) safe to print and log."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus


def printable(text: str) -> str:
    """Replace every character that a terminal would obey or hide by ``�``.

    That covers control characters (C0, C1, DEL), bidirectional overrides and
    line separators.
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else "�" for char in text)


def one_line(text: object, limit: int) -> str:
    """Return `text` on one line, printable and at most `limit` characters long."""
    return printable(" ".join(str(text).split()))[:limit]


def is_utf8(text: str) -> bool:
    """Return whether `text` can be encoded as UTF-8.

    An environment variable or an argument may hold bytes that cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Redactor:
    """Replaces secrets in text by ``***``.

    Apply it to text from outside only: a secret may be a common word, and
    redacting it in our own messages would alter them and reveal it.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _encoded_forms(secret)}
        # Longest first: a secret inside another one must not leave a rest.
        self._forms = sorted((form for form in forms if form), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "***")
        return text


def _encoded_forms(secret: str) -> Iterable[str]:
    """Yield the secret as it is and in encoded forms.

    The encodings are those of URLs, HTML, JSON and Python.
    """
    yield secret
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield from (repr(secret)[1:-1], json.dumps(secret)[1:-1], html.escape(secret))
