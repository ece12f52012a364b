"""``push-job check``: tries each Flower and the Pushgateway step by step; says what is wrong and how to mend it."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.metrics_core import Metric

from push_job.checks.connectivity import Step, UnreachableError, reach
from push_job.flower.api import Flower
from push_job.flower.decoding import DecodingError, decode_json
from push_job.flower.page import SharedIndex
from push_job.flower.table import TaskTable
from push_job.flower.task import STATES
from push_job.http.client import Answer, Client
from push_job.http.errors import TransportError
from push_job.metrics import families
from push_job.metrics.extras import columns_of, families_with, read_extras
from push_job.metrics.registry import FamiliesCollector
from push_job.pushgateway.client import PushgatewayClient, PushgatewayError, explain_push_error
from push_job.settings import PAGE_SIZE, Endpoint, Settings
from push_job.terminal.formatting import time_words

#: Seconds by which two clocks may differ before the ages of tasks look wrong to a person.
_CLOCK_TOLERANCE = 30

#: Seconds without a task event after which that is worth a look.
_LONG_AGO = 3600

#: The label of the throw-away group; its instance is random, so two checks do not meet.
CHECK_JOB = "push_job_check"

_STATUS_LIMIT = 2**20

#: The most bytes of what a Pushgateway holds, which is read a line at a time, and of a line.
_METRICS_LIMIT = 2**31
_LINE_LIMIT = 2**20
_NO_METRICS = "its /metrics is not what a Pushgateway answers; is this one?"


class Check:
    """Tries servers, the Flowers first: what their extras read is then looked for at the Pushgateway."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._extras: list[Metric] = []

    def flower(self, flower: Endpoint) -> Iterator[Step]:
        """Try a Flower; the first step that fails is the last one where the others could not succeed."""
        settings = self._settings
        until = time.monotonic() + settings.deadline
        with contextlib.closing(Client(flower, settings.timeout)) as client:
            api = Flower(client, (*families.COLUMNS, *columns_of(settings.extras)))
            try:
                yield from reach(flower, settings.timeout)
                workers = api.workers(until)
                yield Step(True, "it is Flower, and its API may be read")
                rows, now, version = _worker_list(api, until)
                yield Step(True, version)
                yield _clock(now)
                live = sum(workers.values())
                yield _workers(live, len(workers))
                tasks = TaskTable(SharedIndex())
                page = api.page(tasks.shared, 0, settings.page_size or PAGE_SIZE, until)
                tasks.merge(page)
                yield Step(True, f"its newest tasks can be read, {len(tasks):,} in one request")
                yield _events(api, tasks, max(page.stamps, default=0.0), rows, now, live, until)
                yield from self._try_extras(api, tasks, until)
            except (TransportError, UnreachableError) as error:
                yield Step(False, str(error))

    def pushgateway(self) -> Iterator[Step]:
        """Try the Pushgateway, leaving nothing behind there."""
        settings = self._settings
        until = time.monotonic() + settings.deadline
        with contextlib.closing(Client(settings.pushgateway, settings.timeout)) as client:
            try:
                yield from reach(settings.pushgateway, settings.timeout)
                yield Step(True, f"it is a Pushgateway, {_version(client, until)}")
                yield _push_and_delete(client, until)
                yield self._clash(client, until)
            except TransportError as error:
                yield Step(False, str(explain_push_error(error, client.endpoint.credentials)))
            except (PushgatewayError, UnreachableError) as error:
                yield Step(False, str(error))

    def _try_extras(self, api: Flower, tasks: TaskTable, until: float) -> Iterator[Step]:
        """Read what ``--with`` asks for, as far as it can be told from these tasks."""
        names = self._settings.extras
        for name in names:
            *found, success = read_extras([name], api, tasks.by_kind(), str, self._settings.buckets, until, {})
            self._extras += found
            if success.samples[0].value:
                yield Step(True, f"the extra {name} can be read")
            else:
                yield Step(False, f"the extra {name} cannot be read: push leaves it out, for the reason logged above")

    def _clash(self, client: Client, until: float) -> Step:
        """Families that others push with another type, which makes the Pushgateway refuse ours."""
        settings = self._settings
        ours = {family.name: family.type for family in families_with(settings.extras)}
        ours.update(_types(generate_latest(_registry(self._extras)).splitlines()))
        own_groups = [settings.group_labels(flower).items() for flower in settings.flowers]
        try:
            answer = client.get("/metrics", until)
        except TransportError as error:
            if error.status != 404:
                raise
            return Step(None, "whether other jobs' families clash with ours cannot be told: it has no /metrics")
        with contextlib.closing(answer):
            for name, kind, labels in _other_families(_lines(answer), ours):
                if any(group <= labels.items() for group in own_groups):
                    continue
                group = ", ".join(f'{key}="{labels[key]}"' for key in ("job", "instance") if labels.get(key))
                return Step(
                    False,
                    f"{name} is there as a {kind}, of {group}, and clashes with what is pushed from here:"
                    " delete that group, or stop what pushes it",
                )
        return Step(True, "no family there clashes with ours")


def _worker_list(api: Flower, until: float) -> tuple[dict[str, dict[str, Any]], float, str]:
    """What Flower's page of workers knows, Flower's Unix time, and what the page's place tells of the version."""
    try:
        rows, now, path = api.worker_list(until)
    except TransportError:  # a proxy may keep the page from us, which is no fault
        return {}, time.time(), "its version is not known (Flower does not tell it)"
    newer = "2.0 or newer" if path == "/workers" else "1.2 or older"
    return rows, now, f"its version is {newer} (Flower does not tell it more exactly)"


def _clock(now: float) -> Step:
    off = now - time.time()
    if abs(off) <= _CLOCK_TOLERANCE:
        return Step(True, "its clock agrees with this machine's")
    side = "ahead of" if off > 0 else "behind"
    return Step(False, f"its clock is {abs(off):,.0f} s {side} this machine's: set both by NTP")


def _workers(live: int, known: int) -> Step:
    if live:
        return Step(True, f"it sees {live} live of {known} known workers")
    if known:
        return Step(False, f"none of the {known} workers that it knows sends heartbeats: are they running?")
    return Step(False, "it sees no worker: is one running, with the same broker as Flower, and heartbeats on?")


def _events(
    api: Flower, tasks: TaskTable, newest: float, rows: dict[str, dict[str, Any]], now: float, live: int, until: float
) -> Step:
    """Whether task events arrive; `newest` is the Unix time of the last one.

    Workers tell how many tasks they have processed, with or without events.
    """
    processed = sum(row["processed"] for row in rows.values() if isinstance(row.get("processed"), int))
    # A PENDING task was sent; that says nothing of workers, which are others than senders.
    from_workers = any(state != "PENDING" for _, state in tasks.tally()) or any(
        api.has_task_in(state, until) for state in STATES if len(tasks) and state != "PENDING"
    )
    if len(tasks) and (from_workers or not processed):
        age = now - newest
        if age < -_CLOCK_TOLERANCE:
            return Step(
                False,
                f"the newest task event is {time_words(-age)} ahead of Flower's clock:"
                " set the clocks of all workers and senders by NTP",
            )
        return Step(
            True if age < _LONG_AGO else None, f"task events arrive, the newest one {time_words(max(0.0, age))} ago"
        )
    if processed:
        what = "all task events are those of senders" if len(tasks) else "no task event arrived"
        return Step(
            False,
            f"workers have processed {processed:,} tasks, but {what}:"
            " start workers with -E (or worker_send_task_events = True), or Flower with --enable-events",
        )
    return Step(None if live else False, "no task event has arrived yet, nor has a task run that could tell why")


def _version(client: Client, until: float) -> str:
    """What a Pushgateway says of its version (https://github.com/prometheus/pushgateway#query-api)."""
    path = "/api/v1/status"
    try:
        found = decode_json(client.get(path, until).body(_STATUS_LIMIT))
    except DecodingError as error:
        raise UnreachableError(f"it answered {path}, but {error}: is this a Pushgateway?") from None
    if not isinstance(found, dict) or found.get("status") != "success":
        raise UnreachableError(f"its {path} is not what a Pushgateway answers; is this one?")
    for key in ("data", "build_information", "version"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else "of unknown version"


def _push_and_delete(client: Client, until: float) -> Step:
    registry = CollectorRegistry()
    Gauge("push_job_check", "A try by push-job check; it deletes its group at once.", registry=registry).set(1)
    gateway, group = PushgatewayClient(client, CHECK_JOB), {"instance": secrets.token_hex(8)}
    try:
        gateway.push(registry, group, until)
    finally:
        gateway.delete(group, until)
    return Step(True, "it takes a push and a delete")


def _registry(metrics: Iterable[Metric]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FamiliesCollector(metrics))
    return registry


def _lines(answer: Answer) -> Iterator[bytes]:
    """The lines of a text that may be too long to hold."""
    rest = b""
    for chunk in answer.chunks(_METRICS_LIMIT):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > _LINE_LIMIT:
            raise UnreachableError(_NO_METRICS)
    yield rest


def _types(lines: Iterable[bytes]) -> dict[str, str]:
    """Each family's type, from its line of type."""
    parts = (line.decode("utf-8", "replace").split(" ") for line in lines if line.startswith(b"# TYPE "))
    return {words[2]: words[3] for words in parts if len(words) == 4}


def _other_families(lines: Iterable[bytes], ours: dict[str, str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Of the families that cannot be beside `ours`, each sample: the family's name and type, and its labels."""
    from prometheus_client.parser import text_string_to_metric_families  # it takes a while to import

    clash = None
    for line in lines:
        if line.startswith(b"# TYPE "):
            clash = next((named for named in _types([line]).items() if not _go_together(named, ours)), None)
        elif clash and line and not line.startswith(b"#"):
            try:
                (family,) = text_string_to_metric_families(line.decode("utf-8", "replace"))
            except ValueError:
                raise UnreachableError(_NO_METRICS) from None
            yield *clash, family.samples[0].labels


def _go_together(named: tuple[str, str], ours: dict[str, str]) -> bool:
    """Whether a Pushgateway takes a family beside ours: no name, also of samples, stands for two things."""
    name, kind = named
    if name in ours:
        return ours[name] == kind
    return ours.keys().isdisjoint(_sample_names(name, kind)) and not any(
        name in _sample_names(*our) for our in ours.items()
    )


def _sample_names(name: str, kind: str) -> set[str]:
    parts = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}.get(kind, ())
    return {name, *(f"{name}{part}" for part in parts)}
