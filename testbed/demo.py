"""`make demo`: a demo shop, two pushes, and the dashboard's queries.

Flower's own number of tasks is printed next to the pushed one.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from testbed.command import ROOT
from testbed.process import let_signals_interrupt
from testbed.queries import CRUFT, DURATIONS_BY_STATE, STATES, TASKS_BY_STATE, WORKERS, Query
from testbed.services import Prometheus, ServiceError, Testbed
from testbed.workload import Shop, open_shop

Result = list[tuple[dict[str, str], float]]

# Long enough to contain both pushes, which rate() needs.
TIME_FRAME = "1m"
# Labels that are the same in every series of the demo.
HIDDEN_LABELS = {"__name__", "job", "instance"}


def heading(console: Console, text: str) -> None:
    """Print a blank line and the text in bold."""
    console.print(f"\n{text}", style="bold")


def literal(console: Console, text: str, style: str = "") -> None:
    """Print the text unchanged, without wrapping and markup."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def show_services(console: Console, shop: Shop) -> None:
    """Print one line per service."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("Broker", shop.broker.url)
    table.add_row("Flower", shop.flower.url)
    table.add_row("Pushgateway", shop.pushgateway.url)
    table.add_row("Prometheus", shop.prometheus.url)
    table.add_row("Celery workers", ", ".join(worker.node for worker in shop.workers))
    console.print(table)


def show_push(console: Console, shop: Shop) -> None:
    """Push, and print the command and its log."""
    literal(console, f"$ push-job {' '.join(shop.push_arguments())}", style="cyan")
    literal(console, shop.push())


def show_counts(console: Console, shop: Shop) -> None:
    """Print Flower's own number of tasks per state next to the pushed one.

    Raises:
        ServiceError: They differ.
    """
    tasks = shop.flower.client.get_json(f"{shop.flower.url}/api/tasks").values()
    listed = Counter(str(task["state"]) for task in tasks)
    query = "sum by (state) (celery_task_types_by_state)"
    pushed = {series["state"]: int(value) for series, value in result_of(shop.prometheus, query)}
    table = result_table(["tasks", *STATES])
    table.add_row("in Flower", *(number(listed[state]) for state in STATES))
    table.add_row("pushed", *(number(pushed.get(state, 0)) for state in STATES))
    console.print(table)
    if any(listed[state] != pushed.get(state) for state in STATES):
        raise ServiceError("Flower's list and the push differ")


@cache
def panels() -> tuple[tuple[str, str], ...]:
    """Return title and expression of each panel of the main dashboard."""
    board = json.loads((ROOT / "grafana/dashboards/celery-by-flower.json").read_text(encoding="utf-8"))
    return tuple((panel["title"], target["expr"]) for panel in _nested(board) for target in panel.get("targets", ()))


def _nested(parent: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in parent.get("panels", ()):
        yield panel
        yield from _nested(panel)


def panels_of(query: Query) -> str:
    """Return the titles of panels that show the query's metric in its state.

    At most three titles are returned.
    """
    metric, state = (re.search(pattern, query.raw) for pattern in (r"celery_\w+", r'state="(\w+)"'))
    wanted = [metric[0] if metric else "", state[1] if state else ""]
    titles = [title for title, expr in panels() if all(part in expr for part in wanted)]
    return ", ".join(list(dict.fromkeys(titles))[:3])


def heading_of_query(console: Console, query: Query, text: str) -> None:
    """Print what a query is about, the panels that show it, and the query."""
    heading(console, query.about)
    literal(console, f"On the dashboard: {panels_of(query)}")
    literal(console, text, style="cyan")


def result_of(prometheus: Prometheus, query: str) -> Result:
    """Return the result of a query.

    Raises:
        ServiceError: The result is empty, which is wrong for every query of the demo.
    """
    result = prometheus.query(query)
    if not result:
        raise ServiceError(f"Prometheus returned no result for {query}")
    return result


def result_table(columns: list[str]) -> Table:
    """Return a table with right-aligned columns for numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column.islower() and column != "value" else "right")
    return table


def number(value: float) -> str:
    """Format integers without, other numbers with three decimals."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}"


def show_query(console: Console, prometheus: Prometheus, query: Query) -> None:
    """Print a query and its result, one row per series, in Prometheus' order."""
    text = query.text(time_frame=TIME_FRAME)
    heading_of_query(console, query, text)
    result = result_of(prometheus, text)
    labels = [label for label in result[0][0] if label not in HIDDEN_LABELS]
    table = result_table([*labels, "value"])
    for series, value in result:
        table.add_row(*(series[label] for label in labels), number(value))
    console.print(table)


def show_query_for_each_state(console: Console, prometheus: Prometheus, query: Query, label: str) -> None:
    """Print a query for all states, one row per task type, one column per state."""
    heading_of_query(console, query, query.text())
    console.print("The same for the other states. Each column is the result of one query:")
    results = {
        state: {series[label]: value for series, value in result_of(prometheus, query.text(state=state))}
        for state in STATES
    }
    if missing := [state for state, result in results.items() if not result]:
        raise ServiceError(f"no task is in state {', '.join(missing)}")
    table = result_table([label, *STATES])
    for task_type in sorted(set().union(*results.values())):
        cells = [results[state].get(task_type) for state in STATES]
        table.add_row(task_type, *("" if cell is None else number(cell) for cell in cells))
    console.print(table)


def check_every_state(prometheus: Prometheus) -> None:
    """Check that Prometheus has tasks in each of the seven states.

    Raises:
        ServiceError: A state has no tasks.
    """
    for state in STATES:
        if not sum(value for _, value in prometheus.query(TASKS_BY_STATE.text(state=state))):
            raise ServiceError(f"Prometheus has no task in state {state}")


def show_all(console: Console, bed: Testbed) -> None:
    """Run the demo on an empty test bed."""
    heading(console, "1. Starting Redis, Flower, two Celery workers, a Pushgateway and a Prometheus")
    shop = open_shop(bed)
    show_services(console, shop)

    heading(console, "2. Sending tasks: orders, cancellations, failures, retries and slow reports")
    shop.customers.do_everything(shop.flower)
    console.print(f"Flower has tasks in every state: {', '.join(STATES)}.", highlight=False)

    heading(console, "3. Pushing with push-job, and again after ten more orders")
    show_push(console, shop)
    shop.prometheus.wait_for_scrape()
    console.print("Sending ten more orders.")
    for task in shop.customers.buy(10):
        shop.flower.wait_for_task(task, "SUCCESS")
    show_push(console, shop)
    shop.prometheus.wait_for_scrape()

    heading(console, "4. The tasks that Flower lists, and those that were pushed")
    show_counts(console, shop)

    heading(console, "5. Results of the dashboard's queries, after Prometheus has scraped the Pushgateway")
    console.print("(The labels job and instance are not shown.)")
    show_query(console, shop.prometheus, WORKERS)
    show_query_for_each_state(console, shop.prometheus, TASKS_BY_STATE, "task_type")
    show_query_for_each_state(console, shop.prometheus, DURATIONS_BY_STATE, "name")
    for query in CRUFT:
        show_query(console, shop.prometheus, query)
    check_every_state(shop.prometheus)


def main() -> int:
    """Run the demo. Return 0, 1 after an error, or 130 after a signal."""
    let_signals_interrupt()
    # Without a terminal, rich would use 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 100)
    try:
        with Testbed() as bed:
            show_all(console, bed)
    except ServiceError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; all services are stopped", file=sys.stderr)
        return 130
    heading(console, "Done. All services are stopped.")
    literal(console, "Next: `make playground` keeps them running, with a push every few seconds. For your own Flower:")
    literal(
        console, "$ .venv/bin/push-job check --flower http://FLOWER:5555 --pushgateway http://PUSHGATEWAY:9091", "cyan"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
