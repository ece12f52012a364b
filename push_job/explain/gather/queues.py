"""The broker's queues, as Flower reports them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from push_job.explain.gather.requests import OptionalRequests
from push_job.explain.model import Queue, Queues
from push_job.flower.api import FlowerError
from push_job.flower.task import label_text
from push_job.metrics.extras.numbers import finite_number
from push_job.metrics.extras.queues import QueuesEmptyError, ask_queues


def queues_of(requests: OptionalRequests) -> Queues:
    try:
        entries = ask_queues(requests.flower, requests.until)
    except QueuesEmptyError as error:
        return Queues(None, str(error), empty=True)
    except FlowerError as error:
        return Queues(None, str(error), refused=error.status == 500)
    return Queues(_of_entries(entries))


def _of_entries(entries: Iterable[Mapping[str, Any]]) -> tuple[Queue, ...]:
    found = []
    for entry in entries:
        ready, held, consumers = (
            finite_number(entry.get(key)) for key in ("messages_ready", "messages_unacknowledged", "consumers")
        )
        ready = finite_number(entry.get("messages")) if ready is None else ready
        if ready is not None:
            name = label_text(entry.get("name"), "unknown")
            found.append(
                Queue(name, int(ready), *(None if number is None else int(number) for number in (held, consumers)))
            )
    return tuple(found)
