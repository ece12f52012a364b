"""Celery application whose workers record each end and each retry of a task.

Each of them is a line in the file that the environment variable TRUTH_FILE names.
"""

import os
from typing import Any

from celery import Celery, Task, signals  # type: ignore[import-untyped]  # celery ships no types

app = Celery("truth", broker=os.environ.get("SHOP_BROKER_URL", "redis://127.0.0.1:6379/0"))
app.conf.update(task_ignore_result=True, worker_send_task_events=True, worker_prefetch_multiplier=8)
app.conf.update(broker_connection_retry_on_startup=True, broker_connection_max_retries=None)


class PaymentError(Exception):
    """The payment was refused."""


class StockError(Exception):
    """The article is out of stock."""


ERRORS = (PaymentError, StockError, ValueError, ZeroDivisionError)


@app.task(name="truth.quick")  # type: ignore[untyped-decorator]
def quick() -> None:
    """Succeed."""


@app.task(name="truth.fails")  # type: ignore[untyped-decorator]
def fails(number: int) -> None:
    """Fail with one of ERRORS."""
    raise ERRORS[number % len(ERRORS)](f"task {number}")


@app.task(name="truth.flaky", bind=True, max_retries=3)  # type: ignore[untyped-decorator]
def flaky(self: Task, failures: int) -> None:
    """Fail `failures` times; after three retries, for good."""
    if self.request.retries < failures:
        raise self.retry(exc=StockError("none"), countdown=0)


def _write(*fields: str) -> None:
    # One short write to a file that is open for appending is not mixed with others.
    number = os.open(os.environ["TRUTH_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(number, ("\t".join(fields) + "\n").encode())
    os.close(number)


@signals.task_success.connect  # type: ignore[untyped-decorator]
def _on_success(sender: Task, **_: Any) -> None:
    _write(sender.name, "SUCCESS")


@signals.task_failure.connect  # type: ignore[untyped-decorator]
def _on_failure(sender: Task, exception: BaseException, **_: Any) -> None:
    _write(sender.name, "FAILURE", type(exception).__name__)


@signals.task_retry.connect  # type: ignore[untyped-decorator]
def _on_retry(sender: Task, **_: Any) -> None:
    _write(sender.name, "RETRY")


@signals.task_revoked.connect  # type: ignore[untyped-decorator]
def _on_revoked(**_: Any) -> None:
    # A worker that receives an expired task sends no task-received, so Flower may not know the name.
    _write("any", "REVOKED")
