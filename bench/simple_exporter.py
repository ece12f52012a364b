"""A simple exporter: `python simple_exporter.py FLOWER PUSHGATEWAY JOB`.

It reads all tasks in one request, decodes them with `json` and increments a gauge for each task. push-job is compared
with it, so it is as fast as this approach can be. Exporters in use read the list once per family, or loop over every
field of every task.
"""

import sys
import time
from typing import Any

import requests
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway


def export(flower: str, pushgateway: str, job: str) -> None:
    """Read Flower's workers and tasks, count them and push."""
    registry = CollectorRegistry()
    workers = Gauge("celery_workers", "Workers.", ["app"], registry=registry)
    types = Gauge("celery_task_types_by_state", "Tasks.", ["task_type", "state"], registry=registry)
    durations = Gauge("celery_task_duration_seconds_by_state", "Seconds.", ["name", "state"], registry=registry)
    for name, alive in requests.get(f"{flower}/api/workers?status=1", timeout=300).json().items():
        workers.labels(app=name).set(alive)
    tasks = requests.get(f"{flower}/api/tasks", timeout=300).json()
    now = time.time()
    for task in tasks.values():
        types.labels(task_type=task["name"], state=task["state"]).inc()
        durations.labels(name=task["name"], state=task["state"]).inc(_seconds(task, now))
    push_to_gateway(pushgateway, job=job, registry=registry)


def _seconds(task: dict[str, Any], now: float) -> float:
    if task["state"] in ("RECEIVED", "STARTED"):
        since: float = task[task["state"].lower()]
        return now - since
    return task["runtime"] or 0.0


if __name__ == "__main__":
    export(*sys.argv[1:])
