"""Services of the demo shop, and customers that send tasks in every state."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.command import run_push_job
from testbed.queries import JOB
from testbed.services import Broker, Flower, Prometheus, Pushgateway, ServiceError, Testbed, VirtualHost, Worker
from testbed.shop import NIGHT_QUEUE, shop_app

# A separate worker runs the slow reports, so that orders never wait behind them.
REPORTS_QUEUE = "reports"
ARTICLES = ("teapot", "kettle", "whisk", "ladle", "sieve")


class Customers:
    """Customers who send tasks to one broker."""

    def __init__(self, broker: Broker, seed: int = 1) -> None:
        """Create customers; the same seed sends the same tasks."""
        self._app = shop_app(broker.url)
        self._chance = random.Random(seed)
        self._order = 1000

    def buy(self, orders: int) -> list[str]:
        """Place orders, each with tasks for stock, receipt and courier.

        Returns:
            The ids of the tasks, which succeed.
        """
        ids = []
        for _ in range(orders):
            self._order += 1
            order, chance = self._order, self._chance
            ids += [
                self._send("shop.orders.place", order, chance.randrange(1, 9)),
                self._send("shop.stock.reserve", order, chance.choice(ARTICLES)),
                self._send("shop.mail.send_receipt", order, f"customer-{order}@shop.example"),
                self._send("shop.courier.book", order),
            ]
        return ids

    def find_no_stock(self) -> str:
        """Send a task that fails."""
        return self._send("shop.stock.reserve", self._order, self._chance.choice(ARTICLES), False)

    def find_no_courier(self) -> str:
        """Send a task that waits for a retry."""
        return self._send("shop.courier.book", self._order, False)

    def order_at_night(self) -> str:
        """Send a task that no worker fetches, so that it stays PENDING."""
        return self._send("shop.orders.place", self._order, queue=NIGHT_QUEUE)

    def want_a_reminder(self) -> str:
        """Send a task with an ETA in ten minutes, which a worker keeps."""
        return self._send("shop.vouchers.remind", self._order, countdown=600)

    def cancel_a_reminder(self) -> str:
        """Send a task with an ETA in two seconds and revoke it."""
        task = self._send("shop.vouchers.remind", self._order, countdown=2)
        self._app.control.revoke(task)
        return task

    def ask_for_a_report(self, seconds: float) -> str:
        """Send a slow task; further reports wait behind it."""
        return self._send("shop.reports.daily_sales", seconds, queue=REPORTS_QUEUE)

    def do_everything(self, flower: Flower) -> None:
        """Send tasks of every kind, and wait until Flower shows all seven states.

        Raises:
            ServiceError: Flower does not show them within a minute.
        """
        ids = {
            "STARTED": self.ask_for_a_report(120),
            "RECEIVED": self.ask_for_a_report(120),
            "REVOKED": self.cancel_a_reminder(),
            "PENDING": self.order_at_night(),
            "RETRY": self.find_no_courier(),
            "FAILURE": self.find_no_stock(),
        }
        self.want_a_reminder()
        bought = self.buy(15)
        for state, task in ids.items():
            flower.wait_for_task(task, state)
        for task in bought:
            flower.wait_for_task(task, "SUCCESS")

    def _send(self, name: str, *args: object, **options: object) -> str:
        return str(self._app.send_task(name, args, **options).id)


@dataclass(frozen=True)
class Shop:
    """The running services of the shop, and its customers."""

    broker: Broker
    flower: Flower
    workers: tuple[Worker, Worker]
    pushgateway: Pushgateway
    prometheus: Prometheus
    customers: Customers
    environment: Mapping[str, str]

    def push_arguments(self) -> list[str]:
        """Return the arguments of `push-job`."""
        addresses = ["--flower", self.flower.url, "--pushgateway", self.pushgateway.url]
        return ["push", *addresses, "--job", JOB]

    def push(self, *options: str) -> str:
        """Run `push-job push` with these additional options.

        Returns:
            The log.

        Raises:
            ServiceError: The exit code is not 0; contains the log.
        """
        done = run_push_job(*self.push_arguments(), *options, env=self.environment)
        if done.returncode:
            raise ServiceError(f"push-job exited with {done.returncode}: {done.stderr.strip()}")
        return done.stderr.strip()


def open_shop(
    bed: Testbed, rule_files: Sequence[Path] = (), scrape_interval: str = "1s", *, on_rabbitmq: bool = False
) -> Shop:
    """Start the services of the demo, and wait until Flower sees both workers.

    `rule_files` and `scrape_interval` are settings of Prometheus.
    """
    broker: Broker = bed.rabbitmq().virtual_host("shop") if on_rabbitmq else bed.redis()
    flower = bed.flower(broker, broker.flower_options if isinstance(broker, VirtualHost) else ())
    pushgateway = bed.pushgateway()
    prometheus = bed.prometheus(pushgateway, rule_files, scrape_interval)
    workers = (
        bed.worker(broker, name="shop-1"),
        bed.worker(broker, name="reports-1", concurrency=1, options=["-Q", REPORTS_QUEUE]),
    )
    for worker in workers:
        flower.wait_for_worker(worker.node)
    return Shop(broker, flower, workers, pushgateway, prometheus, Customers(broker), bed.environment)
