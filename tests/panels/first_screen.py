"""Content of the first screen in each of the twelve states.

Run as a module, it writes docs/panels.md.
"""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.services import Prometheus, Testbed
from tests.panels.ask import shown
from tests.panels.boards import BOARDS, ROOT, PanelQuery, Values, panels
from tests.panels.incidents import NOTHING_PUSHED, TWELVE, State, fill

PAGE = ROOT / "docs" / "panels.md"
BEGIN, END = "<!-- generated: states -->\n\n", "\n<!-- end of states -->"

FIRST_SCREEN = 20
"""Height of the first screen in grid cells: 760 pixels, which 1600 x 1000 pixels have below Grafana's own controls."""

Shown = dict[tuple[tuple[str, str], ...], float]

COLOUR_NAMES = {"#7b8087": "grey"}


@dataclass(frozen=True)
class Screen:
    """What the first screen of the main dashboard shows.

    Attributes:
        tiles: text and colour of each tile, by title.
        wrong: rows of "What is wrong now": level, what, which, how much.
        alerts: rows of the alert list: severity, alert, where.
    """

    tiles: dict[str, tuple[str, str]] = field(default_factory=dict)
    wrong: list[tuple[str, ...]] = field(default_factory=list)
    alerts: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Incidents:
    """Two Prometheus servers with the twelve states.

    Attributes:
        states: the server with all states except for the next one.
        nothing: the server to which nothing was pushed.
        at: time of all queries (Unix seconds).
    """

    states: Prometheus
    nothing: Prometheus
    at: float

    def prometheus(self, state: State) -> Prometheus:
        """Return the server with this state."""
        return self.nothing if state is NOTHING_PUSHED else self.states

    def shown(self, state: State, query: PanelQuery) -> Shown:
        """Return what a query shows now in a state, by labels."""
        values: Values = {} if state is NOTHING_PUSHED else {"job": [state.job]}
        return by_labels(self.prometheus(state), query, values, self.at)

    def screen(self, state: State) -> Screen:
        """Return what the first screen shows in a state."""
        screen = Screen()
        for panel in first_panels():
            if panel["type"] == "timeseries":
                continue
            results = self.shown(state, query_of(panel))
            if panel["type"] == "stat":
                ((labels, level),) = results.items()
                screen.tiles[panel["title"]] = (dict(labels)["text"], colour(panel, level))
            else:
                rows = screen.wrong if panel["title"].startswith("What") else screen.alerts
                rows += _rows(panel, results)
        return screen


def by_labels(prometheus: Prometheus, query: PanelQuery, values: Values, at: float) -> Shown:
    """Return what a query shows at a time, by labels."""
    found = shown(prometheus, query, values, at)
    return {tuple(sorted(labels)): value for labels, value in found.items()}


def at_once(folder: Path) -> list[Path]:
    """Write copies of the rules whose alerts fire at once, and return their paths."""
    copies = []
    for path in sorted(ROOT.glob("prometheus/rules/*.yml")):
        copies.append(folder / f"at-once-{path.name}")
        copies[-1].write_text(re.sub(r"for: \d+m", "for: 0s", path.read_text(encoding="utf-8")), encoding="utf-8")
    return copies


def start(testbed: Testbed) -> Incidents:
    """Return the servers with the states."""
    pushgateway, rules = testbed.pushgateway(), at_once(testbed.folder)
    states, nothing = (testbed.prometheus(pushgateway, rule_files=rules, scrape_interval="500ms") for _ in range(2))
    fill(states, ROOT / "prometheus/rules/celery.yml")
    # Rules use what other rules have recorded, so one evaluation is not enough.
    for _ in range(4):
        states.wait_for_scrape()
    nothing.wait_for_scrape()
    return Incidents(states, nothing, time.time())


def first_panels() -> list[dict[str, Any]]:
    """Return the panels of the first screen of the main dashboard."""
    return [panel for panel in panels(BOARDS[0]) if panel["gridPos"]["y"] < FIRST_SCREEN]


def query_of(panel: dict[str, Any]) -> PanelQuery:
    """Return the only query of a panel."""
    (target,) = panel["targets"]
    return PanelQuery(BOARDS[0], panel["title"], target["refId"], target["expr"], target["instant"])


def colour(panel: dict[str, Any], level: float) -> str:
    """Return the colour of the panel's thresholds at a level."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    last: str = [step["color"] for step in steps if step["value"] is None or level >= step["value"]][-1]
    return COLOUR_NAMES.get(last, last)


def _rows(panel: dict[str, Any], results: Shown) -> list[tuple[str, ...]]:
    """Return the cells of a table, worst first."""
    columns = panel["transformations"][1]["options"]["include"]["names"]
    texts = {
        override["matcher"]["options"]: setting["value"][0]["options"]
        for override in panel["fieldConfig"]["overrides"]
        for setting in override["properties"]
        if setting["id"] == "mappings" and setting["value"][0]["type"] == "value"
    }
    headings = panel["transformations"][2]["options"]["renameByName"]

    def cell(column: str, labels: dict[str, str], value: float) -> str:
        text = " ".join(labels.get(column, f"{value:g}" if column == "Value" else "").split())
        known = texts.get(headings[column], {}).get(text)
        return known["text"] if known else text

    order = ("wrong", "critical", "check", "warning", "ok", "unknown")
    rows = [tuple(cell(column, dict(labels), value) for column in columns) for labels, value in results.items()]
    return sorted(rows, key=lambda row: (order.index(row[0]), row))


def written(incidents: Incidents) -> str:
    """Return docs/panels.md with a table of each state."""
    sections = [section for state in TWELVE for section in _section(state, incidents.screen(state))]
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return before + BEGIN + "\n".join(sections) + END + after


def _section(state: State, screen: Screen) -> list[str]:
    shown = [f"{text} ({colour})" for text, colour in screen.tiles.values()]
    heads = [re.sub(r" \(.*\)", "", title) for title in screen.tiles]
    wrong = "; ".join(f"{level}: {' '.join(filter(None, cells))}" for level, *cells in screen.wrong)
    alerts = "; ".join(f"{alert} {where}".strip() for _, alert, where in screen.alerts)
    return [
        f"### {state.title}",
        "",
        state.text,
        "",
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
        f"| {' | '.join(shown)} |",
        "",
        f"What is wrong now: {wrong}.",
        f"Alerts: {alerts}.",
        "",
    ]


def main() -> None:
    """Write docs/panels.md."""
    with Testbed() as testbed:
        PAGE.write_text(written(start(testbed)), encoding="utf-8")
        print(Path(PAGE))


if __name__ == "__main__":
    main()
