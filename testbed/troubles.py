"""A Celery application whose tasks cause problems.

It is for tests of `push-job explain`.

The environment variable SHOP_BROKER_URL is the broker. TROUBLES_CONF is a JSON object with further Celery settings.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Celery, Task, chord  # type: ignore[import-untyped]  # celery ships no types
from celery.exceptions import Ignore, Reject  # type: ignore[import-untyped]

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def troubles_app(broker_url: str, **conf: Any) -> Celery:
    """Return the application for a broker; `conf` are Celery settings."""
    celery = Celery("troubles", broker=broker_url)
    defaults = {
        "task_send_sent_event": True,
        "worker_send_task_events": True,
        "worker_prefetch_multiplier": 4,
        "broker_connection_retry_on_startup": True,
        "task_ignore_result": "result_backend" not in conf,
    }
    celery.conf.update({**defaults, **conf})
    return celery


app = troubles_app(
    os.environ.get("SHOP_BROKER_URL", "redis://127.0.0.1:6379/0"), **json.loads(os.environ.get("TROUBLES_CONF", "{}"))
)


def task(name: str, **options: Any) -> Callable[[AnyFunction], AnyFunction]:
    """Register a function as a task of the workers' application."""

    def register(function: AnyFunction) -> AnyFunction:
        app.task(name=name, **options)(function)
        return function

    return register


class ValidationError(ValueError):
    """An exception like pydantic's ValidationError.

    Its repr is its message, which has several lines.
    """

    def __repr__(self) -> str:
        return "1 validation error for Order\nprice\n  Input should be a valid number"

    __str__ = __repr__


class RpcError(Exception):
    """Like an error of gRPC, whose repr has no class name before a parenthesis."""

    def __repr__(self) -> str:
        return "<_InactiveRpcError of RPC that terminated with:\n\tstatus = UNAVAILABLE>"


@task("t.quick")
def quick() -> int:
    """Succeed at once."""
    return 1


@task("t.tick")
def tick() -> None:
    """Succeed; used as a periodic task."""


@task("t.sleep")
def sleep(seconds: float) -> float:
    """Run for `seconds`."""
    time.sleep(seconds)
    return seconds


@task("t.sleep_late", acks_late=True)
def sleep_late(seconds: float) -> None:
    """Run for `seconds`; the message is acknowledged afterwards."""
    time.sleep(seconds)


@task("t.fail")
def fail(kind: str = "value") -> None:
    """Raise an exception of this kind."""
    if kind == "validation":
        raise ValidationError
    if kind == "rpc":
        raise RpcError
    if kind == "reject":
        raise Reject("no", requeue=False)
    if kind == "exit":
        raise SystemExit(1)
    raise ValueError(kind)


@task("t.maybe")
def maybe(succeed: bool) -> int:
    """Succeed or fail."""
    return 1 if succeed else 1 // 0


@task("t.encode")
def encode() -> object:
    """Return an object that cannot be serialized."""
    return object()


@task("t.ignore")
def ignore() -> None:
    """Raise Ignore, so that Celery sends no event of the end."""
    raise Ignore


@task("t.kill")
def kill() -> None:
    """Kill the process, like the kernel when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


@task("t.kill_again", acks_late=True, reject_on_worker_lost=True)
def kill_again() -> None:
    """Kill the process; the broker delivers the task again."""
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


@task("t.limit", time_limit=1)
def limit() -> None:
    """Exceed the hard time limit."""
    time.sleep(30)


@task("t.soft_limit", soft_time_limit=1)
def soft_limit() -> None:
    """Exceed the soft time limit."""
    time.sleep(30)


@task("t.retry", bind=True, max_retries=None)
def retry(self: Task) -> None:
    """Retry without limit."""
    raise self.retry(countdown=0.2, exc=ValueError("not yet"))


@task("t.flaky", bind=True, max_retries=3)
def flaky(self: Task, countdown: float = 0.2) -> int:
    """Succeed at the second attempt, after `countdown` seconds."""
    if not self.request.retries:
        raise self.retry(countdown=countdown)
    return 1


@task("t.collect")
def collect(results: list[int]) -> int:
    """Sum the results of a chord."""
    return sum(results)


@task("t.chord")
def start_chord(body_id: str) -> None:
    """Start a chord whose body has this id."""
    body = app.signature("t.collect").set(task_id=body_id)
    chord([app.signature("t.quick") for _ in range(3)], app=app)(body)


@task("t.rated", rate_limit="1/h")
def rated() -> None:
    """Run at most once per hour."""


@task("t.progress", bind=True)
def progress(self: Task, seconds: float) -> None:
    """Report a custom state and run for `seconds`."""
    self.send_event("task-progress", done=1)
    time.sleep(seconds)
