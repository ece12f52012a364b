"""Counters of events in Flower's own metrics."""

from __future__ import annotations

from collections import Counter

from prometheus_client.metrics_core import Metric

from push_job.explain.gather.requests import OptionalRequests
from push_job.metrics.extras.numbers import finite_number
from push_job.metrics.extras.own_metrics import read_own_metrics

#: Names of Flower's own metric families.
_STARTED_AT, _EVENTS = "process_start_time_seconds", "flower_events"


def counters_of(requests: OptionalRequests) -> tuple[float | None, Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Return `started_at`, `events` and `received` of Facts, as Flower counts them."""
    wanted = {_STARTED_AT, _EVENTS}
    families: list[Metric] = (
        requests.ask(lambda: read_own_metrics(requests.flower, requests.until, wanted.__contains__)) or []
    )
    started_at, events, received = None, Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for sample in (sample for family in families for sample in family.samples):
        value = finite_number(sample.value)
        if sample.name == _STARTED_AT:
            started_at = value
        elif sample.name == f"{_EVENTS}_total" and value is not None:
            worker, task, event = (sample.labels.get(label, "") for label in ("worker", "task", "type"))
            events[task, event] += int(value)
            if event == "task-received":
                received[worker, task] += int(value)
    return started_at, events, received
