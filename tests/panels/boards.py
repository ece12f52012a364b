"""Read the dashboards as Grafana does, and replace variables in queries.

Grafana's Prometheus data source replaces variables as follows (public/app/plugins/datasource/prometheus):

- A variable with several values, or with "All", is escaped for a regular expression, and the escapes are escaped again
for
  the string. Several values become `(one|other)`. A custom value for "All" is inserted unchanged.
- In any other variable, only backslashes and single quotes are escaped.
- `${name:regex}` is always escaped for a regular expression.
- A name that is not a variable, such as `$1` of label_replace, stays.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "grafana" / "dashboards"
BOARDS = ("celery-by-flower", "celery-by-flower-in-depth", "celery-by-flower-task-type")

ALL = "$__all"

Values = Mapping[str, str | list[str]]

REFERENCE = re.compile(r"\$(?P<plain>\w+)|\$\{(?P<braced>\w+)(?::(?P<format>\w+))?\}")


@dataclass(frozen=True)
class PanelQuery:
    """One query of a dashboard.

    Attributes:
        board: the dashboard's file, without `.json`.
        where: the panel's or annotation's title.
        ref: the query's letter; empty for an annotation.
        instant: query one instant instead of a range.
    """

    board: str
    where: str
    ref: str
    expr: str
    instant: bool

    def __str__(self) -> str:
        """Return the name of the test."""
        return f"{self.board}: {self.where} {self.ref}".strip()


def load(board: str) -> Any:
    """Return the JSON of a dashboard."""
    return json.loads((FOLDER / f"{board}.json").read_text(encoding="utf-8"))


def panels(board: str) -> Iterator[dict[str, Any]]:
    """Yield every panel, including those in collapsed rows, without row headings."""
    for panel in load(board)["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def annotations(board: str) -> list[dict[str, Any]]:
    """Return every annotation."""
    found: list[dict[str, Any]] = load(board)["annotations"]["list"]
    return found


@functools.cache
def variables(board: str) -> dict[str, dict[str, Any]]:
    """Return every variable by its name."""
    return {variable["name"]: variable for variable in load(board)["templating"]["list"]}


def queries_of(board: str) -> list[PanelQuery]:
    """Return every query of every panel and annotation."""
    found = [
        PanelQuery(board, panel["title"], target["refId"], target["expr"], target["instant"])
        for panel in panels(board)
        for target in panel["targets"]
    ]
    return found + [PanelQuery(board, event["name"], "", event["expr"], False) for event in annotations(board)]


def filled_in(text: str, board: str, values: Values) -> str:
    """Replace the variables in a text; `values` override the saved values."""
    known = variables(board)
    built_in = {"__range": "3600s", "__interval": "15s", "__rate_interval": "60s"}

    def value_of(match: re.Match[str]) -> str:
        name = match["plain"] or match["braced"]
        if name in built_in:
            return built_in[name]
        if name not in known:
            return match.group()
        value = values.get(name, known[name]["current"]["value"])
        if match["format"] == "regex":
            return re.sub(r"[\\^$*+?.()|\[\]{}/]", lambda special: "\\" + special.group(), str(value))
        assert match["format"] is None, f"no rule for {match.group()}"
        return _formatted(known[name], value)

    return REFERENCE.sub(value_of, text)


def _formatted(variable: dict[str, Any], value: str | list[str]) -> str:
    if value in (ALL, [ALL]):
        everything = variable["allValue"]
        assert isinstance(everything, str)
        return everything
    if not (variable["multi"] or variable["includeAll"]):
        assert isinstance(value, str)
        return value.replace("\\", "\\\\").replace("'", "\\\\'")
    chosen = [_for_regex(one) for one in ([value] if isinstance(value, str) else value)]
    return chosen[0] if len(chosen) == 1 else f"({'|'.join(chosen)})"


def _for_regex(value: str) -> str:
    escaped = value.replace("\\", "\\\\\\\\")
    return re.sub(r"[$^*{}\[\]'+?.()|]", lambda match: "\\\\" + match.group(), escaped)
