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
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else LogfmtFormatter())
    logger.handlers[:] = [handler]
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


class _Formatter(logging.Formatter):
    """Formatter that turns a record into ordered fields.

    The fields are ts (RFC 3339, UTC), level, msg, then the caller's fields.
    """

    @staticmethod
    def fields(record: logging.LogRecord) -> dict[str, Any]:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "ts": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
        }
        fields |= {name: value for name, value in getattr(record, "fields", {}).items() if value is not None}
        return fields


class LogfmtFormatter(_Formatter):
    """``key=value`` pairs; values with spaces are quoted (https://brandur.org/logfmt)."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={_logfmt(value)}" for name, value in self.fields(record).items())


class JsonFormatter(_Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record))


class _StderrHandler(logging.Handler):
    """Handler that writes to the current sys.stderr.

    Log lines and a progress display then do not mix.
    """

    def emit(self, record: logging.LogRecord) -> None:
        # A log that cannot be written (full, closed, missing) must not make a good push fail.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()


def _logfmt(value: str | float | bool) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    # JSON's quoting keeps the value on one line; newlines of a traceback become \n.
    return printable(json.dumps(text, ensure_ascii=False))
