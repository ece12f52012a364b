"""Query Prometheus over its HTTP API as Grafana does, at a given time."""

import urllib.parse
from typing import Any

from testbed.services import Client, Prometheus
from tests.panels.boards import PanelQuery, Values, filled_in

Labels = frozenset[tuple[str, str]]
Answer = dict[Labels, float]
Graph = dict[Labels, dict[float, float]]


def answer(prometheus: Prometheus, query: str, at: float) -> Answer:
    """Return the result of a query at a time (Unix seconds), by labels."""
    result = _result(prometheus, "query", query=query, time=str(at))
    return {_labels(series["metric"]): float(series["value"][1]) for series in result}


def graph(prometheus: Prometheus, query: str, start: float, end: float) -> Graph:
    """Return the result of a query at each second, by labels and time."""
    # Prometheus uses milliseconds. More digits could exclude the last step.
    times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": "1"}
    result = _result(prometheus, "query_range", query=query, **times)
    return {_labels(series["metric"]): {float(at): float(value) for at, value in series["values"]} for series in result}


def shown(prometheus: Prometheus, query: PanelQuery, values: Values, at: float, past: float = 30) -> Answer:
    """Return the numbers that a panel or annotation shows at a time.

    `past` is the length of the graph in seconds.
    """
    text = filled_in(query.expr, query.board, values)
    if query.instant:
        return answer(prometheus, text, at)
    right_end = {}
    for labels, points in graph(prometheus, text, start=at - past, end=at).items():
        last = max(points)
        if last > at - 0.5:
            right_end[labels] = points[last]
    return right_end


def offered(prometheus: Prometheus, board: str, variable: dict[str, Any], values: Values, at: float) -> list[str]:
    """Return the values of a variable, whose query is `label_values(series, label)`.

    Raises:
        ValueError: The query has another form.
    """
    text = filled_in(variable["query"]["query"], board, values)
    inside = text.removeprefix("label_values(").removesuffix(")")
    series, comma, label = inside.rpartition(", ")
    if not comma or inside == text:
        raise ValueError(f"not label_values(series, label): {text}")
    times = {"start": str(at - 60), "end": str(at)}
    found: list[str] = _result(prometheus, f"label/{label}/values", **{"match[]": series}, **times)
    return found


def _result(prometheus: Prometheus, path: str, **parameters: str) -> Any:
    answered = Client().get_json(f"{prometheus.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
    data = answered["data"]
    return data["result"] if isinstance(data, dict) else data


def _labels(labels: dict[str, str]) -> Labels:
    return frozenset((name, value) for name, value in labels.items() if name != "__name__")
