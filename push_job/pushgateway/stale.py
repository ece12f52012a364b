"""Find and delete groups that nobody pushes any more."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator

from push_job.http.client import open_client
from push_job.http.errors import TransportError
from push_job.pushgateway.client import PushgatewayClient, explain_push_error
from push_job.pushgateway.groups import Group, groups_of
from push_job.settings import Settings


def stale_groups(settings: Settings, seconds: float) -> list[Group]:
    """Return the groups of the job that were last pushed more than `seconds` ago.

    Raises:
        PushgatewayError: if the groups cannot be listed.
    """
    return [group for group in all_groups(settings) if group.age > seconds]


def all_groups(settings: Settings) -> list[Group]:
    """Return the groups of the job. Raises PushgatewayError."""
    until = time.monotonic() + settings.deadline
    with contextlib.closing(open_client(settings.pushgateway, settings)) as client:
        try:
            return client.retrying(lambda: groups_of(client, settings.job, until), until)
        except TransportError as error:
            raise explain_push_error(error, client.endpoint) from error


def delete_groups(settings: Settings, groups: Iterable[Group]) -> Iterator[Group]:
    """Delete groups, and yield each one that is gone. Raises PushgatewayError."""
    with contextlib.closing(open_client(settings.pushgateway, settings)) as client:
        pushgateway = PushgatewayClient(client, settings.job)
        for group in groups:
            grouping_key = {name: value for name, value in group.labels.items() if name != "job"}
            pushgateway.delete(grouping_key, time.monotonic() + settings.deadline)
            yield group
