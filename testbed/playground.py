"""`make playground`: the demo's shop kept running, with a push every few seconds, until Ctrl-C."""

import itertools
import sys
import time
import urllib.parse

from rich.console import Console

from testbed.demo import heading, literal, show_services
from testbed.process import let_signals_interrupt
from testbed.queries import TASKS_BY_STATE
from testbed.services import ServiceError, Testbed
from testbed.workload import Customers, Shop, open_shop

SECONDS_BETWEEN_PUSHES = 5.0


def graph_link(shop: Shop) -> str:
    """Prometheus's own graph of the successful tasks by type."""
    query = {"g0.expr": TASKS_BY_STATE.text(state="SUCCESS"), "g0.tab": "0", "g0.range_input": "5m"}
    return f"{shop.prometheus.url}/graph?{urllib.parse.urlencode(query)}"


def shop_a_little(customers: Customers, turn: int) -> None:
    """What happens between two pushes: always some orders, the rarer things now and then."""
    customers.buy(3 + turn % 5)
    rarer = (
        customers.find_no_stock,
        customers.find_no_courier,
        customers.order_at_night,
        customers.cancel_a_reminder,
        customers.want_a_reminder,
        lambda: customers.ask_for_a_report(20),
    )
    rarer[turn % len(rarer)]()


def keep_shopping(console: Console, shop: Shop) -> None:
    """Orders and pushes, again and again; a failed push is shown and the next one comes."""
    with console.status("") as status:
        for turn in itertools.count():
            shop_a_little(shop.customers, turn)
            time.sleep(SECONDS_BETWEEN_PUSHES)
            try:
                shop.push()
            except ServiceError as error:
                literal(console, str(error), style="red")
            status.update(f"Last push at {time.strftime('%H:%M:%S')}. Ctrl-C stops everything.")


def main() -> int:
    """Run until Ctrl-C or SIGTERM; the exit code: 0 then, 1 with one line if something could not be started."""
    let_signals_interrupt()
    console = Console(width=None if sys.stdout.isatty() else 100)
    try:
        with Testbed() as bed:
            heading(console, "Starting Redis, Flower, two Celery workers, a Pushgateway and a Prometheus")
            shop = open_shop(bed)
            show_services(console, shop)
            literal(console, f"\nLogs: {bed.folder}\nGraph: {graph_link(shop)}")
            heading(console, f"A push every {SECONDS_BETWEEN_PUSHES:g} seconds, like this one:")
            literal(console, f"$ push-job {' '.join(shop.push_arguments())}", style="cyan")
            shop.customers.do_everything(shop.flower)
            literal(console, shop.push())
            keep_shopping(console, shop)
    except ServiceError as error:
        print(f"playground: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        console.print("Everything is stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
