"""What ``--with`` adds to a push: each extra reads what it needs and becomes metric families, or is left out.

The three families never depend on an extra: it is read after the tasks, once, and its failure is a log line and
``flower_scrape_extra_success`` 0.
"""

from __future__ import annotations

import logging
import math
import re
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from io import StringIO
from typing import Any, TextIO, cast

from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_fd_to_metric_families
from prometheus_client.samples import Sample

from push_job import log
from push_job.flower.api import Flower, FlowerError
from push_job.flower.task import label_text, wait_of
from push_job.flower.tasks import Tasks
from push_job.http.failures import TransportError
from push_job.metrics.registries import OWN_FAMILIES

WINDOW = " A picture of the tasks that Flower remembers, not a counter: use histogram_quantile without rate."

#: Families of Flower's own process, which say nothing about Celery and clash with the Pushgateway's own.
_PROCESS_FAMILIES = ("process_", "python_")

#: Names that stand for something else in every push; the last two are the Pushgateway's.
_TAKEN = {*OWN_FAMILIES, "flower_scrape_extra_success", "push_time_seconds", "push_failure_time_seconds"}

#: Labels that the Pushgateway sets to its own; renamed as Prometheus itself does when it scrapes such a server.
_EXPORTED = {"job": "exported_job", "instance": "exported_instance"}

#: What the Pushgateway's parser knows, and the label of each type that must be a number.
_BOUNDS = {"counter": None, "gauge": None, "unknown": None, "histogram": "le", "summary": "quantile"}

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)


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
    families: list[Metric] = []

    @cache
    def own_metrics() -> list[Metric] | TransportError:
        # A failure is remembered too: two extras need this, and one that hangs is not waited for twice.
        try:
            return _own_metrics(flower, until)
        except TransportError as error:
            return error

    sources: dict[str, Callable[[], list[Metric]]] = {
        "queues": lambda: queues(flower, until),
        "runtimes": lambda: [runtimes(tasks, label, buckets)],
        "waits": lambda: [waits(tasks, label, buckets)],
        "activity": lambda: activity(flower, _or_raise(own_metrics()), until),
        "flower-metrics": lambda: flower_metrics(
            flower, _or_raise(own_metrics()), _TAKEN.union(*map(_names, families))
        ),
    }
    success = _success_family()
    for name in names:
        error = None
        try:
            families += sources[name]()
        except TransportError as reason:
            error = str(reason)
        except Exception as bug:  # noqa: BLE001 - a mistake in an extra must not cost the three families
            error = f"a mistake in push-job: {type(bug).__name__}: {bug}; please report it"
        success.add_metric([name], int(error is None))
        if error is not None:
            log.event(
                logging.WARNING, "left out an extra", flower=flower.client.endpoint.address, extra=name, error=error
            )
    return [*families, success]


def all_left_out(names: Iterable[str]) -> Metric:
    """How each extra fared when the Pushgateway took none of them."""
    success = _success_family()
    for name in names:
        success.add_metric([name], 0)
    return success


def _success_family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "flower_scrape_extra_success",
        "Whether an extra (--with) could be read (1) or was left out (0).",
        labels=["extra"],
    )


def queues(flower: Flower, until: float) -> list[Metric]:
    """The length of each queue that the broker tells Flower. Raises FlowerError."""
    family = GaugeMetricFamily("celery_queue_length", "Messages waiting in the broker's queue.", labels=["queue"])
    answer = flower.get_json("/api/queues/length", until)
    entries = answer.get("active_queues") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FlowerError("its /api/queues/length is not what Flower answers")
    # On RabbitMQ's virtual host "/", Flower asks for the queues of all virtual hosts.
    own = [entry for entry in entries if entry.get("vhost", "/") == "/"] or entries
    lengths: dict[str, float] = defaultdict(float)
    for entry in own:
        # RabbitMQ counts those that workers hold among its messages; and has no number in a queue's first seconds.
        waiting = _number(entry.get("messages_ready", entry.get("messages")))
        if waiting is not None:
            lengths[label_text(entry.get("name"), "unknown")] += waiting
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
    return _histograms(family, tasks.values_of(wait_of), label, buckets)


def activity(flower: Flower, own_metrics: Iterable[Metric], until: float) -> list[Metric]:
    """What each worker's last heartbeat said, as Flower's list of workers shows it. Raises FlowerError.

    `own_metrics` are Flower's own, which alone know what was prefetched.
    """
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
    for name, fetched in sorted(_prefetched(own_metrics).items()):
        if name in workers:
            gauges["prefetched_tasks"].add_metric([name], fetched)
    return [*gauges.values(), load]


def flower_metrics(flower: Flower, own_metrics: Iterable[Metric], taken: set[str]) -> list[Metric]:
    """Flower's own families, but for those of its process and those that the Pushgateway would refuse.

    It refuses a push whole, so a family that clashes with one of the names in `taken` is left out with a log line.
    """
    passed: list[Metric] = []
    left_out: list[str] = []
    for family in map(_as_pushed, own_metrics):
        if family.name.startswith(_PROCESS_FAMILIES) or not family.samples:
            continue
        if taken.isdisjoint(_names(family)) and _is_valid(family):
            passed.append(family)
            taken = taken | _names(family)
        else:
            left_out.append(family.name)
    if left_out:
        log.event(
            logging.WARNING,
            "left out families of Flower's /metrics that clash with others or are not valid",
            flower=flower.client.endpoint.address,
            families=" ".join(left_out)[:200],
        )
    return passed


def _or_raise(families: list[Metric] | TransportError) -> list[Metric]:
    if isinstance(families, TransportError):
        raise families
    return families


def _own_metrics(flower: Flower, until: float) -> list[Metric]:
    """What Flower answers to ``/metrics``; raises FlowerError."""
    text = flower.get_text("/metrics", until)
    try:
        families = list(text_fd_to_metric_families(cast(TextIO, _lines(text, until))))  # it only iterates over them
    except ValueError as error:
        raise FlowerError("its /metrics is not in Prometheus' text format") from error
    if not any(family.name.startswith("flower_") for family in families):
        raise FlowerError("its /metrics has no families of Flower (it has them from 1.0 on)")
    return families


def _lines(text: str, until: float) -> Iterator[str]:
    """The lines of a text, as long as there is time: a megabyte takes the parser a third of a second."""
    for line in StringIO(text):
        if time.monotonic() > until:
            raise FlowerError("its /metrics was too long to be read before the deadline")
        yield line


def _as_pushed(family: Metric) -> Metric:
    """The family without timestamps, which the Pushgateway refuses, and with labels that it leaves alone."""
    pushed = Metric(family.name, family.documentation, family.type)
    for sample in family.samples:
        labels = {_EXPORTED.get(name, name): value for name, value in sample.labels.items()}
        pushed.samples.append(Sample(sample.name, labels, _float(sample.value)))
    return pushed


def _names(family: Metric) -> set[str]:
    return {family.name, *(sample.name for sample in family.samples)}


def _is_valid(family: Metric) -> bool:
    """Whether the Pushgateway's parser takes the family, which is stricter than ours."""
    names = _names(family).union(*(sample.labels for sample in family.samples))
    series = {(sample.name, frozenset(sample.labels.items())) for sample in family.samples}
    return (
        family.type in _BOUNDS
        and all(_NAME.fullmatch(name) for name in names)
        and len(series) == len(family.samples)
        and not any(math.isnan(_float(sample.labels.get(_BOUNDS[family.type] or "", "0"))) for sample in family.samples)
    )


def _prefetched(own_metrics: Iterable[Metric]) -> dict[str, float]:
    """Tasks prefetched by each worker; Flower counts them by task type."""
    counts: dict[str, float] = defaultdict(float)
    for family in own_metrics:
        if family.name == "flower_worker_prefetched_tasks":
            for sample in family.samples:
                counts[sample.labels.get("worker", "")] += _float(sample.value)
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


def _float(value: float | str) -> float:
    """The value, or NaN for what is none or an integer too large to be one."""
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
