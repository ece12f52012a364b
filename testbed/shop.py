"""A small invented shop as a Celery application: what the test bed's workers run.

The workers' broker comes from SHOP_BROKER_URL. Tasks are sent by name:
`shop_app(broker_url).send_task("shop.orders.place", (1,))`.
"""

import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Celery, Task  # type: ignore[import-untyped]  # celery ships no types

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

# Worked off outside opening hours: no worker of the test bed serves it, so what is sent there stays put.
NIGHT_QUEUE = "night"


class OutOfStockError(Exception):
    """The shelf is empty."""


class CourierAwayError(Exception):
    """The courier's booking service does not answer."""


def shop_app(broker_url: str) -> Celery:
    """The shop's Celery application for this broker: without the tasks' code, enough to send and revoke."""
    shop = Celery("shop", broker=broker_url)
    shop.conf.update(
        task_ignore_result=True,
        task_send_sent_event=True,  # a task that no worker has fetched yet shows as PENDING, with its name
        worker_send_task_events=True,
        worker_prefetch_multiplier=4,
        worker_max_tasks_per_child=None,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": 3600},
    )
    return shop


app = shop_app(os.environ.get("SHOP_BROKER_URL", "redis://127.0.0.1:6379/0"))


def task(name: str, **options: Any) -> Callable[[AnyFunction], AnyFunction]:
    """Register the function with the workers' application under this name."""

    def register(function: AnyFunction) -> AnyFunction:
        app.task(name=name, **options)(function)
        return function

    return register


@task("shop.orders.place")
def place_order(order: int, items: int = 1) -> dict[str, int]:
    """Takes a few hundredths of a second for each item."""
    time.sleep(0.02 * items)
    return {"order": order, "items": items}


@task("shop.stock.reserve")
def reserve_stock(order: int, sku: str, available: bool = True) -> str:
    """Fails with OutOfStockError unless the article is available."""
    time.sleep(random.uniform(0.01, 0.05))
    if not available:
        raise OutOfStockError(f"{sku} for order {order}")
    return sku


@task("shop.mail.send_receipt")
def send_receipt(order: int, address: str) -> str:
    """Succeeds."""
    time.sleep(random.uniform(0.02, 0.1))
    return f"receipt {order} to {address}"


@task("shop.courier.book", bind=True, max_retries=3)
def book_courier(self: Task, order: int, reachable: bool = True) -> str:
    """Succeeds if the courier is reachable, else is retried at night."""
    time.sleep(random.uniform(0.01, 0.05))
    if not reachable:
        raise self.retry(exc=CourierAwayError(f"order {order}"), countdown=60, queue=NIGHT_QUEUE)
    return f"parcel {order}"


@task("shop.reports.daily_sales")
def daily_sales(seconds: float = 60) -> str:
    """Slow: runs for so many seconds."""
    time.sleep(seconds)
    return "daily sales"


@task("shop.vouchers.remind")
def remind_of_voucher(customer: int) -> str:
    """Quick; meant to be sent with an ETA."""
    return f"reminded customer {customer}"
