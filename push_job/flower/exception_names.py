"""Find the class of the exception that made a task fail.

The class name is taken from the ``repr`` of the exception, or else from the traceback, but never from a message.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from push_job.flower.task import TaskFields

#: Name for an exception class that is not known.
UNKNOWN_CLASS = "unknown"

#: Maximum length of a class name with its modules, in characters.
_MAX_LENGTH = 100

#: Length in characters from which a text may have been truncated, as Flower's texts of 64 KiB are (see ``long_texts``).
_TRUNCATED_FROM = 300

#: Class that Celery uses for the exception of a process that was killed or exceeded its hard time limit.
_PLACEHOLDER = "ExceptionWithTraceback"

#: First line of a traceback. The last one in a text belongs to the exception that was raised.
_HEAD = "Traceback (most recent call last):\n"


def exception_class(text: Any) -> str:
    """Return the class in the ``repr`` of an exception, or UNKNOWN_CLASS.

    For the text ``ValueError('…')`` it is ``ValueError``. For a text of another format it is UNKNOWN_CLASS.

    The name must be followed directly by a parenthesis, so that no part of a message is returned.
    """
    if not isinstance(text, str) or not (text.endswith(")") or len(text) >= _TRUNCATED_FROM):
        return UNKNOWN_CLASS
    name, parenthesis, _ = text[: _MAX_LENGTH + 1].partition("(")
    return name if parenthesis and _is_name(name) else UNKNOWN_CLASS


def class_in_traceback(text: Any) -> str:
    """Return the class that a traceback ends with, or UNKNOWN_CLASS.

    For a traceback that ends with ``ValueError: …`` it is ``ValueError``. For other texts it is UNKNOWN_CLASS.

    The name is on the first line after the frames that is not indented. Later lines belong to the message and may look
    like the end of a traceback too.
    """
    if not isinstance(text, str):
        return UNKNOWN_CLASS
    frames = _after_first_chain(text)
    for line in frames.split("\n"):
        if line and not line.startswith(" "):
            name = line[: _MAX_LENGTH + 1].partition(":")[0]
            return name if _is_name(name) else UNKNOWN_CLASS
    return UNKNOWN_CLASS


def _after_first_chain(text: str) -> str:
    """Return the frames of the last raised exception, and the text after them."""
    if not text.startswith(_HEAD):
        return ""
    *_, last = _CHAINED.split(text)
    return last[len(_HEAD) :] if last.startswith(_HEAD) else ""


#: Separators that Python writes between the tracebacks of chained exceptions.
_CHAINED = re.compile(
    r"\n(?:During handling of the above exception, another exception occurred:"
    r"|The above exception was the direct cause of the following exception:)\n\n"
    r"(?=Traceback \(most recent call last\):\n)"
)


@lru_cache(maxsize=256)  # there are few different names
def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def failure_of(task: TaskFields) -> str:
    """Return the class of the exception of a task that is in FAILURE."""
    name = exception_class(task.exception)
    if name not in (UNKNOWN_CLASS, _PLACEHOLDER):
        return name
    found = class_in_traceback(task.traceback)
    return name if found == UNKNOWN_CLASS else found


def last_failure_of(task: TaskFields) -> str:
    """Return the exception class of a task that has failed, or an empty text.

    The task may be in another state than FAILURE: it has run again since, or its last ``task-retried`` arrived late.
    """
    return "" if task.failed is None else failure_of(task)
