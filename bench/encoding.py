"""Measure the encoding of a push as protobuf and as text, without a server."""

import time
import tracemalloc
from collections.abc import Callable
from statistics import median

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily

from bench.cost import Cost
from push_job.flower.task import STATES
from push_job.metrics.registry import FamiliesCollector
from push_job.pushgateway.protobuf import encode

PROTOBUF = "protobuf"
TEXT = "text"


def cost_of_encoding(types: int, rounds: int) -> dict[str, Cost]:
    """Return the medians for `types` task types; `memory` is Python's peak."""
    family = GaugeMetricFamily("celery_task_types_by_state", "Tasks by type and state.", labels=["task_type", "state"])
    for number in range(types):
        for state in STATES:
            family.add_metric([f"shop.module_{number % 50}.step_{number}", state], number)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FamiliesCollector([family]))
    return {
        PROTOBUF: _cost(lambda: encode(registry.collect()), rounds),
        TEXT: _cost(lambda: generate_latest(registry), rounds),
    }


def _cost(encode_push: Callable[[], bytes], rounds: int) -> Cost:
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        encode_push()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    tracemalloc.start()
    encode_push()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Cost(median(walls), median(cpus), peak / 2**20)
