"""Numbers out of JSON and out of other servers' text, which may hold anything."""

from __future__ import annotations

import math
from typing import Any


def finite_number(value: Any) -> float | None:
    """The value if it is a finite number, or None."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e300 else None


def finite_numbers(values: Any) -> list[float]:
    """The finite numbers in a list; none in anything else."""
    numbers = [finite_number(value) for value in values] if isinstance(values, list) else []
    return [number for number in numbers if number is not None]


def float_or_nan(value: float | str) -> float:
    """The value, or NaN for what is none or an integer too large to be one."""
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
