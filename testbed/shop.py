"""Celery application of a small demo shop, which the test bed's workers run.

SHOP_BROKER_URL is the workers' broker. Tasks are sent by name:
`shop_app(broker_url).send_task("shop.orders.place", (1,))`.
"""

import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Celery, Task  # type: ignore[import-untyped]  # celery ships no types

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

# A queue that no worker of the test bed consumes, so that its tasks stay PENDING.
NIGHT_QUEUE = "night"


class OutOfStockError(Exception):
    """The article is out of stock."""


class CourierAwayError(Exception):
    """The courier's booking service is unavailable."""


def shop_app(broker_url: str) -> Celery:
    """Return a Celery application that can send and revoke tasks by name."""
    shop = Celery("shop", broker=broker_url)
    shop.conf.update(
        task_ignore_result=True,
        task_send_sent_event=True,  # tasks that no worker has fetched are PENDING, with their name
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
    """Take 0.02 seconds per item."""
    time.sleep(0.02 * items)
    return {"order": order, "items": items}


@task("shop.stock.reserve")
def reserve_stock(order: int, sku: str, available: bool = True) -> str:
    """Raise OutOfStockError unless the article is available."""
    time.sleep(random.uniform(0.01, 0.05))
    if not available:
        raise OutOfStockError(f"{sku} for order {order}")
    return sku


@task("shop.mail.send_receipt")
def send_receipt(order: int, address: str) -> str:
    """Succeed."""
    time.sleep(random.uniform(0.02, 0.1))
    return f"receipt {order} to {address}"


@task("shop.courier.book", bind=True, max_retries=3)
def book_courier(self: Task, order: int, reachable: bool = True) -> str:
    """Succeed if the courier is reachable, otherwise retry in the night queue."""
    time.sleep(random.uniform(0.01, 0.05))
    if not reachable:
        raise self.retry(exc=CourierAwayError(f"order {order}"), countdown=60, queue=NIGHT_QUEUE)
    return f"parcel {order}"


@task("shop.reports.daily_sales")
def daily_sales(seconds: float = 60) -> str:
    """Run for `seconds`."""
    time.sleep(seconds)
    return "daily sales"


@task("shop.vouchers.remind")
def remind_of_voucher(customer: int) -> str:
    """Succeed quickly; usually sent with an ETA."""
    return f"reminded customer {customer}"
