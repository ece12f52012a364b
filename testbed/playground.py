"""`make playground`: run the demo shop and push every few seconds.

Its Prometheus has the project's rules and scrape interval, so that the dashboards work as in production.
"""

import argparse
import itertools
import sys
import time
import urllib.parse
from pathlib import Path

import yaml
from rich.console import Console

from push_job.metrics.extras import EXTRAS, stateless
from testbed.demo import heading, literal, show_services
from testbed.process import let_signals_interrupt
from testbed.queries import TASKS_BY_STATE
from testbed.services import ServiceError, Testbed
from testbed.workload import Customers, Shop, open_shop

SECONDS_BETWEEN_PUSHES = 5.0

EXTRA = ("--with", ",".join(name for name in stateless(EXTRAS) if name != "pools"))
"""Extras for the in-depth dashboard."""

ROOT = Path(__file__).resolve().parents[1]
PROMETHEUS = ROOT / "prometheus"
GRAFANA = ROOT / "grafana"


def graph_link(shop: Shop) -> str:
    """Return the URL of Prometheus' graph of successful tasks by type."""
    query = {"g0.expr": TASKS_BY_STATE.text(state="SUCCESS"), "g0.tab": "0", "g0.range_input": "5m"}
    return f"{shop.prometheus.url}/graph?{urllib.parse.urlencode(query)}"


def grafana_command(folder: Path, shop: Shop) -> str:
    """Return the command that runs Grafana with the playground's Prometheus."""
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    sources["datasources"][0]["url"] = shop.prometheus.url
    source = folder / "grafana-datasource.yml"
    source.write_text(yaml.safe_dump(sources), encoding="utf-8")
    source.chmod(0o644)
    mounts = {
        source: "/etc/grafana/provisioning/datasources/prometheus.yml",
        GRAFANA / "provisioning/dashboards": "/etc/grafana/provisioning/dashboards",
        GRAFANA / "dashboards": "/var/lib/grafana/dashboards",
    }
    volumes = " ".join(f"-v '{here}:{there}:ro'" for here, there in mounts.items())
    return (
        f"docker run --rm --network host -e GF_AUTH_ANONYMOUS_ENABLED=true {volumes} "
        f"{yaml.safe_load((ROOT / 'compose.yaml').read_text(encoding='utf-8'))['services']['grafana']['image']}"
    )


def show_dashboards(console: Console, folder: Path, shop: Shop) -> None:
    """Print how to open the dashboards, and the address for the links to Flower."""
    heading(console, "Dashboards:")
    literal(console, f"$ {grafana_command(folder, shop)}", style="cyan")
    literal(
        console,
        "Then open http://localhost:3000/d/celery-by-flower. To use your own Grafana on this machine, add "
        f"{shop.prometheus.url} as a Prometheus data source and import grafana/dashboards/*.json.\n"
        f"For links to Flower, append &var-flower_url={shop.flower.url} to the dashboard's URL.",
    )


def send_some_tasks(customers: Customers, push: int) -> None:
    """Send some orders and one less common task."""
    customers.buy(3 + push % 5)
    others = (
        customers.find_no_stock,
        customers.find_no_courier,
        customers.order_at_night,
        customers.cancel_a_reminder,
        customers.want_a_reminder,
        lambda: customers.ask_for_a_report(20),
    )
    others[push % len(others)]()


def push_until_interrupted(console: Console, shop: Shop) -> None:
    """Send tasks and push repeatedly; print failed pushes and continue."""
    with console.status("") as status:
        for push in itertools.count():
            send_some_tasks(shop.customers, push)
            time.sleep(SECONDS_BETWEEN_PUSHES)
            try:
                shop.push(*EXTRA)
            except ServiceError as error:
                literal(console, str(error), style="red")
            status.update(f"Last push at {time.strftime('%H:%M:%S')}. Press Ctrl-C to stop.")


def main() -> int:
    """Run until a signal, then return 0; 1 if a service could not be started."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=("redis", "rabbitmq"), default="redis")
    broker = parser.parse_args().broker
    let_signals_interrupt()
    console = Console(width=None if sys.stdout.isatty() else 100)
    try:
        with Testbed() as bed:
            name = {"redis": "Redis", "rabbitmq": "RabbitMQ"}[broker]
            heading(console, f"Starting {name}, Flower, two Celery workers, a Pushgateway and a Prometheus")
            interval = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))["global"][
                "scrape_interval"
            ]
            shop = open_shop(bed, sorted(PROMETHEUS.glob("rules/*.yml")), interval, on_rabbitmq=broker == "rabbitmq")
            show_services(console, shop)
            literal(console, f"\nLogs: {bed.folder}\nGraph: {graph_link(shop)}")
            show_dashboards(console, bed.folder, shop)
            heading(console, f"Pushing every {SECONDS_BETWEEN_PUSHES:g} seconds:")
            literal(console, f"$ push-job {' '.join([*shop.push_arguments(), *EXTRA])}", style="cyan")
            shop.customers.do_everything(shop.flower)
            literal(console, shop.push(*EXTRA))
            push_until_interrupted(console, shop)
    except ServiceError as error:
        print(f"playground: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        console.print("All services are stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
