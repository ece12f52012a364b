"""The class of the exception that failed a task, out of what Flower has of it: Python's ``repr``, or anything else."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from push_job.flower.task import TaskFields

#: What stands for a class that cannot be told.
UNKNOWN_CLASS = "unknown"

#: The longest name of a class, with its modules, in characters. Beyond that it is taken for something else.
_LONGEST = 100

#: A text this long may have lost its end on the way, as Flower's texts of 64 KiB do (see ``long_texts``).
_CUT = 300


def exception_class(text: Any) -> str:
    """``ValueError`` of ``ValueError('…')``, with its modules if they are told; UNKNOWN_CLASS of other texts.

    Nothing that may be a part of the message is taken for a class: a name has to be followed by parentheses at once.
    """
    if not isinstance(text, str) or not (text.endswith(")") or len(text) >= _CUT):
        return UNKNOWN_CLASS
    name, parenthesis, _ = text[: _LONGEST + 1].partition("(")
    return name if parenthesis and _is_name(name) else UNKNOWN_CLASS


@lru_cache(maxsize=256)  # there are few, and each is met again and again
def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def failure_of(task: TaskFields) -> str:
    """The class of the exception of a task that is in FAILURE."""
    return exception_class(task.exception)
