"""A Snapshot as a table that a person likes to read; imported by ``show`` alone, for rich takes a while."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from rich import box
from rich.console import Console
from rich.table import Table

from push_job.flower.task import STATES
from push_job.flower.tasks import Tally
from push_job.metrics.snapshot import Snapshot
from push_job.settings import Endpoint

#: The order in which a task goes through them, which reads better than the alphabet's.
_COLUMNS = ("PENDING", "RECEIVED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED")

#: Characters in a line where there is no terminal to fold it.
_UNFOLDED = 10_000

#: Characters in a line at the least: in less, the numbers would leave no room for names.
_NARROWEST = 80

#: Characters in an abbreviated heading.
_SHORT = 5


def print_snapshot(flower: Endpoint, snapshot: Snapshot) -> None:
    """Print workers, then task types with a column a state, then a table for each family of the extras."""
    # What is no terminal (a file, a pager) has no width to fold a table into.
    console = Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=_UNFOLDED)
    console.width = max(console.width, _NARROWEST)
    live = sum(snapshot.workers.values())
    console.print(
        f"[bold]{flower.address}[/bold]: {live} live workers, {snapshot.task_count:,} tasks\n",
        highlight=False,
    )
    _print(console, "Workers", _workers(snapshot))
    tasks = _tasks(snapshot, str.title)
    if console.measure(tasks, options=console.options.update(max_width=_UNFOLDED)).maximum > console.width:
        tasks = _tasks(snapshot, _abbreviated)
    _print(console, "Tasks by type and state", tasks)
    for family in snapshot.extras:
        _print(console, family.name, _histogram(family) if family.type == "histogram" else _extra(family))


def _print(console: Console, title: str, table: Table) -> None:
    console.print(f"[italic]{title}[/italic]")
    console.print(table)
    console.print()


def _abbreviated(state: str) -> str:
    """A heading for narrow terminals, so that the names keep the room that they need."""
    return state.title() if len(state) <= _SHORT else f"{state.title()[: _SHORT - 1]}."


def _workers(snapshot: Snapshot) -> Table:
    table = _table(["Worker", "Heartbeats"], [])
    for name, alive in sorted(snapshot.workers.items()):
        table.add_row(_plain(name), "[green]seen[/green]" if alive else "[red]stopped[/red]")
    if not snapshot.workers:
        table.add_row("none", "")
    return table


def _tasks(snapshot: Snapshot, heading: Callable[[str], str]) -> Table:
    custom = sorted({state for _, state in snapshot.tallies} - set(STATES))
    states = [*_COLUMNS, *custom]
    totals = {name: 0 for name, _ in snapshot.tallies}
    table = _table(["Task type"], [heading(state) for state in states] + ["Mean, s"])
    for (name, _), tally in snapshot.tallies.items():
        totals[name] += tally.count
    for name in sorted(totals, key=lambda name: (-totals[name], name)):
        tallies = [snapshot.tallies.get((name, state)) for state in states]
        counts = [f"{tally.count:,}" if tally else "" for tally in tallies]
        table.add_row(_plain(name), *counts, _mean(snapshot.tallies.get((name, "SUCCESS"))))
    return table


def _extra(family: Metric) -> Table:
    """A row a sample."""
    labels = sorted({label for sample in family.samples for label in sample.labels})
    table = _table(labels, ["Value"])
    for sample in family.samples:
        table.add_row(*_values(sample, labels), f"{sample.value:,.6g}")
    return table


def _histogram(family: Metric) -> Table:
    """A row a histogram; of the quantiles, the bounds of the buckets that they are in."""
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
    table = _table(labels, ["Count", "Mean", "Median up to", "95 % up to"])
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
        told = [f"{total / count:,.3f}", *bounds] if count else ["", "", ""]
        table.add_row(*row, f"{count:,.0f}", *told)
    return table


def _table(labels: list[str], numbers: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for label in labels:
        table.add_column(label, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _values(sample: Sample, labels: list[str]) -> list[str]:
    return [_plain(sample.labels.get(label, "")) for label in labels]


def _mean(succeeded: Tally | None) -> str:
    return f"{succeeded.seconds / succeeded.count:,.3f}" if succeeded else ""


def _plain(text: str) -> str:
    """Keep rich from reading markup, and a terminal from reading control characters, in a name."""
    shown = "".join(c if c.isprintable() else "�" for c in text)
    return shown.replace("[", r"\[")
