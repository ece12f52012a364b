"""Numbers from JSON and from text of other servers, which may be invalid."""

from __future__ import annotations

import math
from typing import Any


def finite_number(value: Any) -> float | None:
    """Return the value as a float if it is a finite number, otherwise None."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e300 else None


def finite_numbers(values: Any) -> list[float]:
    """Return the finite numbers of a list; an empty list for anything else."""
    numbers = [finite_number(value) for value in values] if isinstance(values, list) else []
    return [number for number in numbers if number is not None]


def float_or_nan(value: float | str) -> float:
    """Return the value as a float; NaN if it is invalid or too large."""
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
