"""A Snapshot as a table that a person likes to read; imported by ``show`` alone, for rich takes a while."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from rich.console import Console
from rich.table import Table

from push_job.settings import Endpoint
from push_job.snapshot import Snapshot, Tally
from push_job.task import STATES

#: The order in which a task goes through them, which reads better than the alphabet's.
_COLUMNS = ("PENDING", "RECEIVED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED")


def print_snapshot(flower: Endpoint, snapshot: Snapshot) -> None:
    """Print workers, then task types with a column a state, then a table for each family of the extras."""
    console = Console()
    live = sum(snapshot.workers.values())
    console.print(
        f"[bold]{flower.address}[/bold]: {live} live workers, {snapshot.task_count:,} tasks\n",
        highlight=False,
    )
    console.print(_workers(snapshot))
    console.print()
    console.print(_tasks(snapshot))
    console.print()
    for family in snapshot.extras:
        console.print(f"[italic]{family.name}[/italic]")
        console.print(_histogram(family) if family.type == "histogram" else _extra(family))
        console.print()


def _workers(snapshot: Snapshot) -> Table:
    table = Table(title="Workers", title_justify="left")
    table.add_column("Worker")
    table.add_column("Heartbeats")
    for name, alive in sorted(snapshot.workers.items()):
        table.add_row(_plain(name), "[green]seen[/green]" if alive else "[red]stopped[/red]")
    if not snapshot.workers:
        table.add_row("none", "")
    return table


def _tasks(snapshot: Snapshot) -> Table:
    custom = sorted({state for _, state in snapshot.tasks} - set(STATES))
    states = [*_COLUMNS, *custom]
    table = Table(title="Tasks by type and state", title_justify="left")
    table.add_column("Task type", overflow="fold")
    for state in states:
        table.add_column(state.title(), justify="right")
    table.add_column("Mean runtime", justify="right")
    totals = {name: 0 for name, _ in snapshot.tasks}
    for (name, _), tally in snapshot.tasks.items():
        totals[name] += tally.count
    for name in sorted(totals, key=lambda name: (-totals[name], name)):
        tallies = [snapshot.tasks.get((name, state)) for state in states]
        counts = [f"{tally.count:,}" if tally else "" for tally in tallies]
        table.add_row(_plain(name), *counts, _mean(snapshot.tasks.get((name, "SUCCESS"))))
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
    table = Table()
    for label in labels:
        table.add_column(label, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right")
    return table


def _values(sample: Sample, labels: list[str]) -> list[str]:
    return [_plain(sample.labels.get(label, "")) for label in labels]


def _mean(succeeded: Tally | None) -> str:
    return f"{succeeded.seconds / succeeded.count:,.3f} s" if succeeded else ""


def _plain(text: str) -> str:
    """Keep rich from reading markup, and a terminal from reading control characters, in a name."""
    shown = "".join(c if c.isprintable() else "�" for c in text)
    return shown.replace("[", r"\[")
