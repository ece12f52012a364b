"""List and delete the groups of a job on a Pushgateway.

They are found by the ``push_time_seconds`` that a Pushgateway adds to each
group.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from push_job.flower.metrics_text import parse_sample
from push_job.http.client import Client, open_client
from push_job.http.errors import TransportError
from push_job.pushgateway.client import PushgatewayClient, date_of, explain_push_error
from push_job.pushgateway.verification import metrics_lines
from push_job.settings import Settings

_PUSH_TIME = b"push_time_seconds{"


@dataclass(frozen=True)
class Group:
    """A group on the Pushgateway.

    Attributes:
        labels: the grouping key with ``job``.
        age: seconds since its last push, by the Pushgateway's clock.
    """

    labels: dict[str, str]
    age: float

    def __str__(self) -> str:
        return " ".join(f'{name}="{value}"' for name, value in self.labels.items())


def groups_of(client: Client, job: str, until: float) -> list[Group]:
    """Return the groups whose ``job`` label is `job`, oldest push first.

    Raises:
        TransportError: if the ``/metrics`` of the Pushgateway cannot be read.
    """
    found = []
    with contextlib.closing(client.get("/metrics", until)) as answer:
        now = date_of(answer)
        for line in metrics_lines(answer):
            if line.startswith(_PUSH_TIME):
                with contextlib.suppress(ValueError):
                    sample = parse_sample(line.decode("utf-8", "replace"))
                    if sample.labels.get("job") == job:
                        labels = {"job": job, **{name: value for name, value in sample.labels.items() if name != "job"}}
                        found.append(Group(labels, max(0.0, now - sample.value)))
    return sorted(found, key=lambda group: (-group.age, str(group)))


def all_groups(settings: Settings) -> list[Group]:
    """Return the groups of the job. Raises PushgatewayError."""
    until = time.monotonic() + settings.deadline
    with contextlib.closing(open_client(settings.pushgateway, settings)) as client:
        try:
            return client.retrying(lambda: groups_of(client, settings.job, until), until)
        except TransportError as error:
            raise explain_push_error(error, client.endpoint) from error


def delete_each(settings: Settings, groups: Iterable[Group]) -> Iterator[Group]:
    """Delete groups, and yield each one that is gone. Raises PushgatewayError."""
    with contextlib.closing(open_client(settings.pushgateway, settings)) as client:
        pushgateway = PushgatewayClient(client)
        for group in groups:
            pushgateway.delete(group.labels, time.monotonic() + settings.deadline)
            yield group
