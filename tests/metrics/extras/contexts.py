"""An ExtraContext for unit tests.

Its tasks are given, and its Flower answers from a dictionary.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from prometheus_client.metrics_core import Metric

from push_job.flower.api import Flower
from push_job.flower.page import SharedIndex
from push_job.flower.table import TaskTable
from push_job.flower.task import TaskFields
from push_job.http.client import Client
from push_job.http.errors import TransportError
from push_job.metrics.extras.interface import Extra, ExtraContext
from push_job.settings import Endpoint
from tests.fakes.celery_flower import DirectAnswer, never
from tests.flower.tasks import page_of

#: Flower's time in Unix seconds.
NOW = 1_700_000_000.0

#: Values by the name of the sample and its label values.
Samples = dict[tuple[str, ...], float]


class Answers:
    """Stands in for a Client: answers each path with its JSON, and 404 to any other.

    Args:
        by_path: the document of each path, or a function of the request's arguments.
    """

    def __init__(self, by_path: Mapping[str, Any]) -> None:
        self.endpoint = Endpoint.parse("http://flower:5555", "--flower")
        self._by_path = by_path

    def get(self, path: str, _until: float, **params: Any) -> DirectAnswer:
        """See Client."""
        if path not in self._by_path:
            raise TransportError("it answered 404", status=404)
        document = self._by_path[path]
        return DirectAnswer(json.dumps(document(params) if callable(document) else document).encode(), NOW)


def samples_of(
    extra: Extra,
    tasks: Mapping[str, TaskFields] | None = None,
    answers: Mapping[str, Any] | None = None,
    *,
    label: Callable[[str], str] = str,
    own_metrics: tuple[Metric, ...] = (),
    **changes: Any,
) -> Samples:
    """Read an extra; return its samples by name and label values."""
    table = TaskTable(SharedIndex())
    table.merge(page_of(table.shared, tasks or {}, extra.columns, NOW))
    flower = Flower(cast(Client, Answers(answers or {})))
    fields: dict[str, Any] = {"buckets": (1.0,), "taken": frozenset(), "kept": {}, **changes}
    context = ExtraContext(
        flower=flower,
        tasks=table.by_kind(),
        now=NOW,
        label=label,
        until=never(),
        own_metrics=lambda: list(own_metrics),
        **fields,
    )
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in extra.read(context)
        for sample in family.samples
    }
