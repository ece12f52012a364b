"""``push-job check``: test each server step by step.

There is one module per kind of server.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from push_job.checks.flower import check_flower
from push_job.checks.grafana import check_grafana
from push_job.checks.prometheus import check_prometheus
from push_job.checks.pushgateway import check_pushgateway
from push_job.checks.step import ServerCheck
from push_job.settings import Settings


def check_servers(settings: Settings) -> Iterator[ServerCheck]:
    """Yield the check of each server, in the order in which data flows.

    The Flowers come first: the families of their extras are then looked for on the Pushgateway.
    """
    extras: list[Metric] = []
    for flower in settings.flowers:
        yield "Flower", flower.address, check_flower(flower, settings, extras)
    yield "Pushgateway", settings.pushgateway.address, check_pushgateway(settings, extras)
    if settings.prometheus:
        yield "Prometheus", settings.prometheus.address, check_prometheus(settings.prometheus, settings)
    if settings.grafana:
        yield "Grafana", settings.grafana.address, check_grafana(settings.grafana, settings)
