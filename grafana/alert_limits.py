"""Limits of the alerts and names of recorded series, read from prometheus/rules."""

import re
from functools import cache
from pathlib import Path

import yaml

RULES = Path(__file__).parents[1] / "prometheus" / "rules"


def alert_limit(alert: str) -> float:
    """Return the limit in an alert's expression, e.g. 300 in `(…) > 300`.

    Raises:
        ValueError: There is no such alert, or its expression has not exactly one such limit.
    """
    expression = _expressions().get(alert)
    if expression is None:
        raise ValueError(f"prometheus/rules has no alert {alert}")
    limits = set(re.findall(r"\)\s+> ([\d.]+)\b", expression))
    if len(limits) != 1:
        raise ValueError(f"the expression of {alert} has {len(limits)} limits instead of one: {expression}")
    return float(limits.pop())


def age_limit() -> int:
    """Return the age in seconds after which the alerts take a push for old.

    Raises:
        ValueError: The rules do not agree on one limit.
    """
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.yml")))
    limits = {int(limit) for limit in re.findall(r"push_time_seconds [<>] (\d+)", text)}
    if len(limits) != 1:
        raise ValueError(f"the rules have {len(limits)} limits of the age of a push instead of one: {sorted(limits)}")
    return limits.pop()


@cache
def recorded_names() -> frozenset[str]:
    """Return the names of all recorded series."""
    return frozenset(rule["record"] for rule in _rules() if "record" in rule)


@cache
def _expressions() -> dict[str, str]:
    """Return the expression of each alert by its name."""
    return {rule["alert"]: rule["expr"] for rule in _rules() if "alert" in rule}


def _rules() -> list[dict[str, str]]:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RULES.glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]
