"""Print a Snapshot as tables.

Only ``show`` imports this module, because importing rich takes time.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from push_job.flower.task import STATES
from push_job.metrics.snapshot import Snapshot
from push_job.settings import Endpoint
from push_job.terminal.formatting import format_count, format_date, styles_wanted
from push_job.text import printable

#: The states in the order in which a task goes through them.
_STATE_ORDER = ("PENDING", "RECEIVED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED")

#: Characters in a line if there is no terminal to wrap it.
_UNWRAPPED = 10_000

#: Characters of a name before it is wrapped.
_NAME = 20

#: Characters in an abbreviated heading.
_SHORT = 5


@dataclass
class _Sheet:
    """A table.

    Attributes:
        names: headings of the first columns, which are text.
        numbers: headings of the other columns, which are numbers.
        short: abbreviated headings of the numbers, for a narrow terminal.
        rows: the cells.
    """

    names: list[str]
    numbers: list[str]
    short: list[str]
    rows: list[list[Text]] = field(default_factory=list)


def print_snapshot(flower: Endpoint, snapshot: Snapshot) -> None:
    """Print the workers, the task types and the families of the extras as tables.

    The table of task types has one column per state. Each family has its own table.
    """
    # A file or a pager has no width to wrap a table at.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _UNWRAPPED
    console = Console(width=width, color_system="auto" if styles_wanted() else None)
    live = sum(snapshot.workers.values())
    line = Text.assemble(
        (flower.address, "bold"),
        f": {format_count(live, 'live worker')}, {format_count(snapshot.task_count, 'task')}\n",
        overflow="fold",
    )
    console.print(line)
    _print(console, "Workers", _workers(snapshot))
    _print(console, "Tasks by type and state", _tasks(snapshot))
    for family in snapshot.extras:
        # The name by which a counter can be queried.
        title = f"{family.name}_total" if family.type == "counter" else family.name
        _print(console, title, _histogram(family) if family.type == "histogram" else _extra(family))


def _print(console: Console, title: str, sheet: _Sheet) -> None:
    """Print the widest form that fits, with enough room for the names."""
    longest = [max((row[index].cell_len for row in sheet.rows), default=0) for index in range(len(sheet.names))]
    wrappable = sum(max(0, length - _NAME) for length in longest)
    wide, narrow = _table(sheet, sheet.numbers), _table(sheet, sheet.short)
    if _width(console, wide) <= console.width:
        table = wide
    elif _width(console, narrow) - wrappable <= console.width:
        table = narrow
    else:
        table = _upright(sheet)
    console.print(Text(title, "italic"))
    console.print(table if sheet.rows else "none")
    console.print()


def _width(console: Console, table: Table) -> int:
    """Return the characters in a line of the unwrapped table."""
    return console.measure(table, options=console.options.update(max_width=_UNWRAPPED)).maximum


def _table(sheet: _Sheet, numbers: list[str]) -> Table:
    """Return the table with one line per row."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in sheet.names:
        table.add_column(Text(name), overflow="fold")
    for number in numbers:
        table.add_column(Text(number), justify="right", no_wrap=True)
    for row in sheet.rows:
        table.add_row(*row)
    return table


def _upright(sheet: _Sheet) -> Table:
    """Return the table with one line per value.

    Empty values are left out. The table fits any terminal.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in sheet.rows:
        for heading, value in zip([*sheet.names, *sheet.numbers], row, strict=True):
            if value:
                table.add_row(Text(heading), value)
        table.add_row()
    return table


def _workers(snapshot: Snapshot) -> _Sheet:
    sheet = _Sheet(["Worker", "Heartbeats"], [], [])
    for name, alive in sorted(snapshot.workers.items(), key=lambda worker: (not worker[1], worker[0])):
        seen = Text("seen", "green") if alive else Text("stopped", "red")
        sheet.rows.append([Text(printable(name)), seen])
    return sheet


def _tasks(snapshot: Snapshot) -> _Sheet:
    custom = sorted({state for _, state in snapshot.tallies} - set(STATES))
    states = [*_STATE_ORDER, *custom]
    headings = [printable(state.title()) for state in states]
    sheet = _Sheet(["Task type"], [*headings, "Mean, s"], [*map(_abbreviated, headings), "Mean, s"])
    totals = {name: 0 for name, _ in snapshot.tallies}
    for (name, _), tally in snapshot.tallies.items():
        totals[name] += tally.count
    for name in sorted(totals, key=lambda name: (-totals[name], name)):
        tallies = [snapshot.tallies.get((name, state)) for state in states]
        counts = [f"{tally.count:,}" if tally else "" for tally in tallies]
        succeeded = snapshot.tallies.get((name, "SUCCESS"))
        mean = f"{succeeded.seconds / succeeded.count:,.3f}" if succeeded else ""
        sheet.rows.append([Text(text) for text in (printable(name), *counts, mean)])
    return sheet


def _abbreviated(heading: str) -> str:
    return heading if len(heading) <= _SHORT else f"{heading[: _SHORT - 1]}."


def _extra(family: Metric) -> _Sheet:
    """Return one row per sample."""
    labels = sorted({label for sample in family.samples for label in sample.labels})
    sheet = _Sheet(labels, ["Value"], ["Value"])
    for sample in family.samples:
        is_time = family.name.endswith("_timestamp_seconds")
        value = format_date(sample.value) if is_time else f"{sample.value:,.6g}"
        sheet.rows.append([Text(text) for text in (*_values(sample, labels), value)])
    return sheet


def _histogram(family: Metric) -> _Sheet:
    """Return one row per histogram; a quantile is the upper bound of its bucket."""
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
    numbers = ["Count", "Mean", "Median up to", "95 % up to"]
    sheet = _Sheet(labels, numbers, numbers)
    rows: dict[tuple[str, ...], list[Sample]] = {}
    for sample in family.samples:
        rows.setdefault(tuple(_values(sample, labels)), []).append(sample)
    for row, samples in rows.items():
        count, total = (
            sum(sample.value for sample in samples if sample.name == f"{family.name}{part}")
            for part in ("_count", "_sum")
        )
        bounds = [
            next((s.labels["le"] for s in samples if "le" in s.labels and s.value >= share * count), "")
            for share in (0.5, 0.95)
        ]
        summary = [f"{total / count:,.3f}", *bounds] if count else ["", "", ""]
        sheet.rows.append([Text(text) for text in (*row, f"{count:,.0f}", *summary)])
    return sheet


def _values(sample: Sample, labels: list[str]) -> list[str]:
    return [printable(sample.labels.get(label, "")) for label in labels]
