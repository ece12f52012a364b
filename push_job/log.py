"""Log lines on stderr, as logfmt or JSON, with every secret blotted out."""

from __future__ import annotations

import contextlib
import html
import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

logger = logging.getLogger("push_job")

_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")


class Redactor:
    """Replaces secrets in text, also where they were encoded for a URL, for HTML, as JSON or by Python."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _spellings(secret)}
        # The longest first, so that a secret within another one leaves nothing of it.
        self._forms = sorted((form for form in forms if form), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "***")
        return text


class _Formatter(logging.Formatter):
    """A record as ordered fields: ts (RFC 3339, UTC), level, msg, then what the caller gave by name."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "ts": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "msg": self._redact(record.getMessage()),
        }
        for name, value in getattr(record, "fields", {}).items():
            if value is not None:
                fields[name] = self._redact(value) if isinstance(value, str) else value
        if record.exc_info:
            fields["traceback"] = self._redact(self.formatException(record.exc_info))
        return fields


class LogfmtFormatter(_Formatter):
    """``key=value`` pairs, quoted where a value has spaces (https://brandur.org/logfmt)."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={_logfmt(value)}" for name, value in self.fields(record).items())


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record))


def event(level: int, message: str, **fields: str | float | None) -> None:
    """Log one line; a field that is None is left out."""
    logger.log(level, message, extra={"fields": fields})


def cycle_failed(bug: Exception) -> None:
    """Log what was raised in a turn and caught nowhere."""
    event(logging.ERROR, "the turn failed", error=f"{type(bug).__name__}: {bug}")
    logger.debug("traceback", exc_info=bug)


class _StderrHandler(logging.Handler):
    """Writes to what sys.stderr is at the time, so that lines and a terminal's progress do not mix."""

    def emit(self, record: logging.LogRecord) -> None:
        # A log that cannot be written (full, closed, none at all) must not make a good push fail.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()


def set_up(log_format: str, *, verbose: bool, redact: Redactor) -> None:
    """Send the job's log lines to stderr in `log_format`, ``logfmt`` or ``json``."""
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter(redact) if log_format == "json" else LogfmtFormatter(redact))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False


def _spellings(secret: str) -> Iterable[str]:
    yield secret
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield from (repr(secret)[1:-1], json.dumps(secret)[1:-1], html.escape(secret))


def _logfmt(value: str | float | bool) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    # JSON's quoting keeps a line one line, whatever the text holds.
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
