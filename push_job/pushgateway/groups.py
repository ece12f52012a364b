"""List the groups of a job on a Pushgateway.

They are found by the ``push_time_seconds`` that a Pushgateway adds to each
group.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from push_job.flower.metrics_text import parse_sample
from push_job.http.client import Client
from push_job.pushgateway.client import date_of
from push_job.pushgateway.verification import metrics_lines

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
