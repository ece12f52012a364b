"""The class of the exception that failed a task.

It comes from the exception's ``repr`` or else from the traceback, never from a message.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from push_job.flower.task import TaskFields

#: Stands for a class that is not known.
UNKNOWN_CLASS = "unknown"

#: The longest name of a class, with its modules, in characters. Anything longer is not taken for one.
_LONGEST = 100

#: A text this long may have lost its end on the way, as Flower's texts of 64 KiB do (see ``long_texts``).
_CUT = 300

#: Celery's stand-in for the exception of a process that was killed or ran into its hard time limit.
_STAND_IN = "ExceptionWithTraceback"

#: The line before the frames of a traceback. The last one in the text begins the exception that was raised.
_HEAD = "Traceback (most recent call last):\n"


def exception_class(text: Any) -> str:
    """``ValueError`` of ``ValueError('…')``; UNKNOWN_CLASS of other texts.

    Nothing that may be a part of the message is taken for a class: a name has to be followed by parentheses at once.
    """
    if not isinstance(text, str) or not (text.endswith(")") or len(text) >= _CUT):
        return UNKNOWN_CLASS
    name, parenthesis, _ = text[: _LONGEST + 1].partition("(")
    return name if parenthesis and _is_name(name) else UNKNOWN_CLASS


def class_in_traceback(text: Any) -> str:
    """``ValueError`` of a traceback of ``ValueError: …``; UNKNOWN_CLASS of others.

    The name is on the first line after the frames that is not indented: a message may have more lines, and some of
    them may look like the end of a traceback too.
    """
    if not isinstance(text, str):
        return UNKNOWN_CLASS
    frames = _after_first_chain(text)
    for line in frames.split("\n"):
        if line and not line.startswith(" "):
            name = line[: _LONGEST + 1].partition(":")[0]
            return name if _is_name(name) else UNKNOWN_CLASS
    return UNKNOWN_CLASS


def _after_first_chain(text: str) -> str:
    """The frames of the exception that was raised last, and what follows them."""
    if not text.startswith(_HEAD):
        return ""
    *_, last = _CHAINED.split(text)
    return last[len(_HEAD) :] if last.startswith(_HEAD) else ""


#: What Python writes between the tracebacks of a chain of exceptions.
_CHAINED = re.compile(
    r"\n(?:During handling of the above exception, another exception occurred:"
    r"|The above exception was the direct cause of the following exception:)\n\n"
    r"(?=Traceback \(most recent call last\):\n)"
)


@lru_cache(maxsize=256)  # there are few, and each is met again and again
def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def failure_of(task: TaskFields) -> str:
    """The class of the exception of a task that is in FAILURE."""
    name = exception_class(task.exception)
    if name not in (UNKNOWN_CLASS, _STAND_IN):
        return name
    found = class_in_traceback(task.traceback)
    return name if found == UNKNOWN_CLASS else found
