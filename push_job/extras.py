"""What ``--with`` adds to a push: each extra reads what it needs and becomes metric families, or is left out.

The three families never depend on an extra: it is read after the tasks, once, and its failure is a log line and
``flower_scrape_extra_success`` 0.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from push_job import log
from push_job.flower import Flower, FlowerError
from push_job.snapshot import Tasks, label_text
from push_job.transport import TransportError

WINDOW = " A picture of the tasks that Flower remembers, not a counter: use histogram_quantile without rate."

#: Families of Flower's own process, which say nothing about Celery and clash with the Pushgateway's own.
_PROCESS_FAMILIES = ("process_", "python_")


def read_extras(
    names: Iterable[str],
    flower: Flower,
    tasks: Tasks,
    label: Callable[[str], str],
    buckets: tuple[float, ...],
    until: float,
) -> list[Metric]:
    """The families of the extras called `names`, and how each fared.

    `label` maps a task type to the one it is counted under; `until` is a moment of ``time.monotonic()``.
    """
    sources: dict[str, Callable[[], list[Metric]]] = {
        "queues": lambda: queues(flower, until),
        "runtimes": lambda: [runtimes(tasks, label, buckets)],
        "waits": lambda: [waits(tasks, label, buckets)],
        "activity": lambda: activity(flower, until),
        "flower-metrics": lambda: flower_metrics(flower, until),
    }
    success = GaugeMetricFamily(
        "flower_scrape_extra_success",
        "Whether an extra (--with) could be read (1) or was left out (0).",
        labels=["extra"],
    )
    families: list[Metric] = []
    for name in names:
        try:
            families += sources[name]()
        except (TransportError, ValueError) as error:
            success.add_metric([name], 0)
            log.event(
                logging.WARNING,
                "left out an extra",
                flower=flower.client.endpoint.address,
                extra=name,
                error=str(error),
            )
        else:
            success.add_metric([name], 1)
    return [*families, success]


def queues(flower: Flower, until: float) -> list[Metric]:
    """The length of each queue that the broker tells Flower. Raises FlowerError."""
    family = GaugeMetricFamily("celery_queue_length", "Messages waiting in the broker's queue.", labels=["queue"])
    answer = flower.get_json("/api/queues/length", until)
    entries = answer.get("active_queues") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        raise FlowerError("its /api/queues/length is not what Flower answers")
    lengths: dict[str, float] = {}
    for entry in entries:
        name, messages = (
            (entry.get("name"), _number(entry.get("messages"))) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(name, str) or messages is None:
            raise FlowerError("its /api/queues/length has a queue without a name or a number of messages")
        lengths[label_text(name, "unknown")] = messages
    # For RabbitMQ, Flower answers an empty list when the management API fails; it always knows a queue otherwise.
    if not lengths:
        raise FlowerError("it knows no queue's length; with RabbitMQ, is its management API reachable (--broker-api)?")
    for name, messages in sorted(lengths.items()):
        family.add_metric([name], messages)
    return [family]


def runtimes(tasks: Tasks, label: Callable[[str], str], buckets: tuple[float, ...]) -> Metric:
    """The runtimes of finished tasks as a histogram by task type."""
    family = HistogramMetricFamily(
        "celery_task_runtime_seconds", f"Runtime of finished tasks.{WINDOW}", labels=["name"]
    )
    return _histograms(family, tasks.runtimes(), label, buckets)


def waits(tasks: Tasks, label: Callable[[str], str], buckets: tuple[float, ...]) -> Metric:
    """How long started tasks waited as a histogram by task type."""
    family = HistogramMetricFamily(
        "celery_task_wait_seconds",
        f"Time from received (or sent, or the ETA, whichever is latest) to started.{WINDOW}",
        labels=["name"],
    )
    return _histograms(family, tasks.waits(), label, buckets)


def activity(flower: Flower, until: float) -> list[Metric]:
    """What each worker's last heartbeat said, as Flower's list of workers shows it. Raises FlowerError."""
    workers, now, _ = flower.worker_list(until)
    gauges = {
        name: GaugeMetricFamily(f"celery_worker_{name}", text, labels=["worker"])
        for name, text in (
            ("active_tasks", "Tasks that the worker is executing, as its last heartbeat said."),
            ("processed_tasks", "Tasks that the worker has processed since it started."),
            ("last_heartbeat_age_seconds", "Seconds since Flower last heard of the worker."),
            ("prefetched_tasks", "Tasks that the worker has fetched and not yet started."),
        )
    }
    load = GaugeMetricFamily("celery_worker_load_average", "The worker's load average.", labels=["worker", "period"])
    for name, worker in sorted(workers.items()):
        for gauge, value in (("active_tasks", worker.get("active")), ("processed_tasks", worker.get("processed"))):
            if (number := _number(value)) is not None:
                gauges[gauge].add_metric([name], number)
        if times := _numbers(worker.get("heartbeats")):
            gauges["last_heartbeat_age_seconds"].add_metric([name], max(0.0, now - max(times)))
        for period, average in zip(("1m", "5m", "15m"), _numbers(worker.get("loadavg")), strict=False):
            load.add_metric([name, period], average)
    for name, fetched in sorted(_prefetched(flower, until).items()):
        if name in workers:
            gauges["prefetched_tasks"].add_metric([name], fetched)
    return [*gauges.values(), load]


def flower_metrics(flower: Flower, until: float) -> list[Metric]:
    """Flower's own families, but for those of its process. Raises FlowerError or ValueError."""
    return [family for family in _own_metrics(flower, until) if not family.name.startswith(_PROCESS_FAMILIES)]


def _own_metrics(flower: Flower, until: float) -> list[Metric]:
    text = flower.get_text("/metrics", until)
    families = list(text_string_to_metric_families(text))
    if not any(family.name.startswith("flower_") for family in families):
        raise FlowerError("its /metrics has no families of Flower (it has them from 1.0 on)")
    return families


def _prefetched(flower: Flower, until: float) -> dict[str, float]:
    """Tasks prefetched by each worker; Flower counts them by task type."""
    counts: dict[str, float] = defaultdict(float)
    for family in _own_metrics(flower, until):
        if family.name == "flower_worker_prefetched_tasks":
            for sample in family.samples:
                counts[sample.labels.get("worker", "")] += sample.value
    return counts


def _histograms(
    family: HistogramMetricFamily,
    values: Mapping[str, Iterable[float]],
    label: Callable[[str], str],
    buckets: tuple[float, ...],
) -> HistogramMetricFamily:
    joined: dict[str, list[Iterable[float]]] = defaultdict(list)
    for name, seconds in values.items():
        joined[label(name)].append(seconds)
    bounds = [*buckets, float("inf")]
    for name, groups in sorted(joined.items()):
        ordered = sorted(second for group in groups for second in group)
        counts = [(_le(bound), bisect_right(ordered, bound)) for bound in bounds]
        family.add_metric([name], counts, math.fsum(ordered))
    return family


def _le(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)


def _number(value: Any) -> float | None:
    """The value if it is a finite number, or None."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e300 else None


def _numbers(values: Any) -> list[float]:
    """The finite numbers in a list; none in anything else."""
    numbers = [_number(value) for value in values] if isinstance(values, list) else []
    return [number for number in numbers if number is not None]
