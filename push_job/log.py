"""Log lines on stderr, as logfmt or JSON.

A message is a stable event name such as ``pushed``; everything that varies is
in fields. Text from outside is redacted and made printable where it enters the
process (see `push_job.http.errors`); only tracebacks are redacted here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from push_job.text import Redactor, printable

logger = logging.getLogger("push_job")

_PLAIN = re.compile(r"[^\s\"=\\]+")

_redact = Redactor()


def set_up(log_format: str, *, verbose: bool, redact: Redactor) -> None:
    """Send the log to stderr.

    Args:
        log_format: ``logfmt`` or ``json``.
        verbose: whether debug lines are written.
        redact: removes secrets from tracebacks and from the text of unexpected errors.
    """
    global _redact  # noqa: PLW0603  # like the logger, there is one for the process
    _redact = redact
    logger.handlers[:] = [_StderrHandler(json.dumps if log_format == "json" else _as_logfmt)]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False


def event(level: int, message: str, **fields: str | float | None) -> None:
    """Log one line; fields that are None are left out."""
    logger.log(level, message, extra={"fields": fields})


def bug_text(bug: Exception, **fields: str | float | None) -> str:
    """Return one line about an unexpected error.

    Log the traceback of the error at debug level, with `fields`.
    """
    event(logging.DEBUG, "traceback", **fields, traceback=_redact("".join(traceback.format_exception(bug))))
    return f"bug in push-job: {type(bug).__name__}: {printable(_redact(str(bug)))}; please report it"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a line in their order.

    They are ts (RFC 3339, UTC), level, msg, then the caller's fields.
    """
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    fields: dict[str, Any] = {
        "ts": f"{stamp}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "msg": record.getMessage(),
    }
    return fields | {name: value for name, value in getattr(record, "fields", {}).items() if value is not None}


class _StderrHandler(logging.Handler):
    """Handler that writes to the current sys.stderr.

    Log lines and a progress display then do not mix.

    Args:
        form: makes a line of its fields.
    """

    def __init__(self, form: Callable[[dict[str, Any]], str]) -> None:
        super().__init__()
        self._form = form

    def emit(self, record: logging.LogRecord) -> None:
        # A log that cannot be written (full, closed, missing) must not make a good push fail.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"{self._form(_fields(record))}\n")
            sys.stderr.flush()


def _as_logfmt(fields: dict[str, Any]) -> str:
    """Return the fields as ``key=value`` pairs (https://brandur.org/logfmt)."""
    return " ".join(f"{name}={_logfmt(value)}" for name, value in fields.items())


def _logfmt(value: str | float | bool) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    # JSON's quoting keeps the value on one line; newlines of a traceback become \n.
    return printable(json.dumps(text, ensure_ascii=False))
