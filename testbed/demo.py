"""`make demo`: a small shop on real services, two pushes, the answers to the dashboard's queries."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from testbed.process import let_signals_interrupt
from testbed.queries import CRUFT, DURATIONS_BY_STATE, STATES, TASKS_BY_STATE, WORKERS, Query
from testbed.services import Prometheus, ServiceError, Testbed
from testbed.workload import Shop, open_shop

Answer = list[tuple[dict[str, str], float]]

# Long enough to hold both pushes, which is what rate() compares.
TIME_FRAME = "1m"
# The same in every series of the demo, which has one Flower and one job.
LEFT_OUT = {"__name__", "job", "instance"}


def heading(console: Console, text: str) -> None:
    """A blank line and the text, bold."""
    console.print(f"\n{text}", style="bold")


def literal(console: Console, text: str, style: str = "") -> None:
    """The text as it is: not wrapped, nothing in it taken for markup."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def show_services(console: Console, shop: Shop) -> None:
    """One line a service."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("Redis", shop.redis.url)
    table.add_row("Flower", shop.flower.url)
    table.add_row("Pushgateway", shop.pushgateway.url)
    table.add_row("Prometheus", shop.prometheus.url)
    table.add_row("Celery workers", ", ".join(worker.node for worker in shop.workers))
    console.print(table)


def show_push(console: Console, shop: Shop) -> None:
    """The command as a user types it, then what it logs."""
    literal(console, f"$ push-job {' '.join(shop.push_arguments())}", style="cyan")
    literal(console, shop.push())


def answer_of(prometheus: Prometheus, query: str) -> Answer:
    """What Prometheus returns.

    Raises:
        ServiceError: nothing, which each of the demo's queries should not.
    """
    answer = prometheus.query(query)
    if not answer:
        raise ServiceError(f"Prometheus has no answer to {query}")
    return answer


def answer_table(columns: list[str]) -> Table:
    """A table whose columns after the first are numbers if their name is no label's."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column.islower() and column != "value" else "right")
    return table


def number(value: float) -> str:
    """Whole numbers as such, others with three decimals."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}"


def show_query(console: Console, prometheus: Prometheus, query: Query) -> None:
    """The query and its answer, one row a series, in Prometheus's order."""
    text = query.text(time_frame=TIME_FRAME)
    heading(console, query.about)
    literal(console, text, style="cyan")
    answer = answer_of(prometheus, text)
    labels = [label for label in answer[0][0] if label not in LEFT_OUT]
    table = answer_table([*labels, "value"])
    for series, value in answer:
        table.add_row(*(series[label] for label in labels), number(value))
    console.print(table)


def show_query_for_each_state(console: Console, prometheus: Prometheus, query: Query, label: str) -> None:
    """The query and its answers, one row a task type, one column a state."""
    heading(console, query.about)
    literal(console, query.text(), style="cyan")
    console.print("and the same for each other state; a column is one query's answer:")
    answers = {
        state: {series[label]: value for series, value in answer_of(prometheus, query.text(state=state))}
        for state in STATES
    }
    if missing := [state for state, answer in answers.items() if not answer]:
        raise ServiceError(f"no task is in state {', '.join(missing)}")
    table = answer_table([label, *STATES])
    for task_type in sorted(set().union(*answers.values())):
        cells = [answers[state].get(task_type) for state in STATES]
        table.add_row(task_type, *("" if cell is None else number(cell) for cell in cells))
    console.print(table)


def check_every_state(prometheus: Prometheus) -> None:
    """The point of the demo: each of the seven states has tasks, and that is what Prometheus knows.

    Raises:
        ServiceError: a state has none.
    """
    for state in STATES:
        if not sum(value for _, value in prometheus.query(TASKS_BY_STATE.text(state=state))):
            raise ServiceError(f"Prometheus knows no task in state {state}")


def show_all(console: Console, bed: Testbed) -> None:
    """The whole demo, on a test bed that is still empty."""
    heading(console, "1. Starting Redis, Flower, two Celery workers, a Pushgateway and a Prometheus")
    shop = open_shop(bed)
    show_services(console, shop)

    heading(console, "2. The shop's customers order, cancel, find no stock, ask for slow reports")
    shop.customers.do_everything(shop.flower)
    console.print(f"Flower has tasks in every state: {', '.join(STATES)}.", highlight=False)

    heading(console, "3. push-job pushes what Flower knows, and again after some more orders")
    show_push(console, shop)
    shop.prometheus.wait_for_scrape()
    console.print("Ten more orders come in.")
    for task in shop.customers.buy(10):
        shop.flower.wait_for_task(task, "SUCCESS")
    show_push(console, shop)
    shop.prometheus.wait_for_scrape()

    heading(console, "4. Prometheus has scraped the Pushgateway; the dashboard's queries and their answers")
    console.print("(Each series has the labels job and instance too; they are left out here.)")
    show_query(console, shop.prometheus, WORKERS)
    show_query_for_each_state(console, shop.prometheus, TASKS_BY_STATE, "task_type")
    show_query_for_each_state(console, shop.prometheus, DURATIONS_BY_STATE, "name")
    for query in CRUFT:
        show_query(console, shop.prometheus, query)
    check_every_state(shop.prometheus)


def main() -> int:
    """Run the demo; its exit code: 0, 1 with one line if something went wrong, 130 after Ctrl-C or SIGTERM."""
    let_signals_interrupt()
    # Without a terminal rich assumes 80 columns, whatever reads it.
    console = Console(width=None if sys.stdout.isatty() else 100)
    try:
        with Testbed() as bed:
            show_all(console, bed)
    except ServiceError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything is stopped", file=sys.stderr)
        return 130
    heading(console, "Done: everything is stopped. `make playground` keeps it running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
