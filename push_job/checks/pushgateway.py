"""Check the Pushgateway: its version, a push and a delete, and clashing families.

A family of another job clashes if the Pushgateway cannot hold it together with ours.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from push_job.checks.connectivity import check_connection
from push_job.checks.step import CheckError, Step
from push_job.flower.decoding import DecodingError, decode_json
from push_job.flower.metrics_text import LINE_LIMIT, parse_sample
from push_job.http.client import Answer, Client, open_client
from push_job.http.errors import TransportError
from push_job.metrics.extras import families_with
from push_job.metrics.families import sample_names
from push_job.metrics.registry import registry_of
from push_job.pushgateway.client import PushgatewayClient, PushgatewayError, explain_push_error
from push_job.pushgateway.encoding import ENCODINGS
from push_job.pushgateway.groups import groups_of
from push_job.pushgateway.verification import (
    NOT_STORED,
    NotStoredError,
    check_stored,
    metrics_lines,
    poll,
    victoriametrics_rows,
)
from push_job.settings import Settings
from push_job.terminal.formatting import format_duration
from push_job.text import one_line, printable

#: The job label of the temporary group and the name of its sample. Its instance is random, so that two checks do not
#: meet.
CHECK_JOB = "push_job_check"

_STATUS = "/api/v1/status"
_STATUS_LIMIT = 2**20
_VERSION_LENGTH = 60

#: Lines of another server's ``/metrics`` by which it is recognized.
_LINES_TO_RECOGNIZE = 20_000

#: Seconds without a push after which a group is reported, and groups that are named.
_STALE = 3600.0
_GROUPS_SHOWN = 5

#: Bytes of everything that a Pushgateway holds; it is read line by line.
_METRICS_LIMIT = 2**31

#: Path below which VictoriaMetrics accepts a Pushgateway's requests.
_IMPORT_PATH = "/api/v1/import/prometheus"
_IMPORT = f"a URL that ends in {_IMPORT_PATH} (docs/victoriametrics.md)"

_NOT_A_PUSHGATEWAY = "its /metrics is not what a Pushgateway answers; is this one?"


def check_pushgateway(settings: Settings, extras: Iterable[Metric]) -> Iterator[Step]:
    """Yield the steps for the Pushgateway; they leave nothing behind on it.

    Args:
        settings: the settings of the run.
        extras: families of the extras that a push would contain.
    """
    until = time.monotonic() + settings.deadline
    with contextlib.closing(open_client(settings.pushgateway, settings)) as client:
        try:
            yield from check_connection(settings.pushgateway, settings.timeout)
            if (rows := victoriametrics_rows(client, until)) is not None:
                yield from _victoriametrics(client, settings, rows, until)
                return
            yield _identity(client, until)
            yield _push_and_delete(client, settings, extras, until)
            yield _clash(client, settings, extras, until)
            yield from _stale_groups(client, settings, until)
        except TransportError as error:
            yield Step(False, str(explain_push_error(error, client.endpoint)))
        except (PushgatewayError, CheckError) as error:
            yield Step(False, str(error))


def _victoriametrics(client: Client, settings: Settings, rows: float, until: float) -> Iterator[Step]:
    """Yield the steps for a VictoriaMetrics.

    `rows` is the number of rows that it has received before. One sample of a fixed series stays on it.
    """
    if settings.push_format != "text":
        raise CheckError(
            f"it is VictoriaMetrics, which stores nothing of protobuf; set --push-format text and {_IMPORT}"
        )
    if _IMPORT_PATH not in client.endpoint.url:
        raise CheckError(f"it is VictoriaMetrics; set {_IMPORT}")
    yield Step(True, "it is VictoriaMetrics or vmagent")
    _test_client(client, settings).push(_test_registry(), {"job": CHECK_JOB}, until)
    if rows < math.inf and not poll(lambda: (victoriametrics_rows(client, until) or 0.0) > rows, until):
        raise CheckError(NOT_STORED)
    yield Step(True, "it accepts a push")


def _identity(client: Client, until: float) -> Step:
    """Identify the server by a Pushgateway's status.

    The status: https://github.com/prometheus/pushgateway#query-api.
    """
    try:
        found = decode_json(client.retrying(lambda: client.get(_STATUS, until).body(_STATUS_LIMIT), until))
    except (DecodingError, TransportError) as error:
        if isinstance(error, TransportError) and (error.status in (None, 400) or error.transient):
            raise
        return _other_server(client, until)
    if not isinstance(found, dict) or found.get("status") != "success":
        return _other_server(client, until)
    for key in ("data", "build_information", "version"):
        found = found.get(key) if isinstance(found, dict) else None
    version = one_line(found, _VERSION_LENGTH) if isinstance(found, str) else "of unknown version"
    return Step(True, f"it is a Pushgateway, {version}")


def _other_server(client: Client, until: float) -> Step:
    """Identify another server by its own metrics.

    Raises CheckError if the server cannot take pushes.
    """
    try:
        with contextlib.closing(client.get("/metrics", until)) as answer:
            names = [line for _, line in zip(range(_LINES_TO_RECOGNIZE), metrics_lines(answer), strict=False)]
    except TransportError as error:
        return Step(None, f"its version is unknown: {error} to {_STATUS} and /metrics")
    text = b"\n".join(names)
    if b"prometheus_build_info" in text:
        raise CheckError("it is Prometheus, not a Pushgateway; a Pushgateway usually listens on port 9091")
    if b"flower_" in text and b"push_time_seconds" not in text:
        raise CheckError("it is Flower, not a Pushgateway; are --flower and --pushgateway swapped?")
    if text.lstrip().startswith(b"<"):
        raise CheckError("it answers with a web page, a login page perhaps; it is not a Pushgateway")
    return Step(None, f"its {_STATUS} is not a Pushgateway's; it may be another server that accepts pushes")


def _test_client(client: Client, settings: Settings) -> PushgatewayClient:
    return PushgatewayClient(client, ENCODINGS[settings.push_format])


def _test_registry(padding: int = 0) -> CollectorRegistry:
    """Return one sample whose help text has `padding` more bytes."""
    registry = CollectorRegistry()
    help_text = "Test by push-job check, which deletes its group at once." + "." * padding
    Gauge(CHECK_JOB, help_text, registry=registry).set(1)
    return registry


def _push_and_delete(client: Client, settings: Settings, extras: Iterable[Metric], until: float) -> Step:
    """Push a temporary group, look whether it is there, and delete it.

    The group is as large as the extras, which are most of a push.
    """
    pushgateway, group = _test_client(client, settings), {"job": CHECK_JOB, "instance": secrets.token_hex(8)}
    encoding = ENCODINGS[settings.push_format]
    size = sum(len(encoding.encode(registry_of([family]))) for family in extras) // max(1, len(settings.flowers))
    is_text, problem = settings.push_format == "text", ""
    try:
        pushed_at = pushgateway.push(_test_registry(size), group, until)
        check_stored(client, Sample(CHECK_JOB, group, 1.0), pushed_at, until, is_text=is_text)
    except NotStoredError as error:
        problem = str(error)
    except PushgatewayError:
        with contextlib.suppress(PushgatewayError):  # the first error says more
            pushgateway.delete(group, until)
        raise
    try:
        pushgateway.delete(group, until)
    except PushgatewayError as error:
        if not is_text:
            raise
        return Step(None, f"it accepts a push, but no delete: {error}")
    return Step(False, problem) if problem else Step(True, "it accepts a push and a delete")


def _stale_groups(client: Client, settings: Settings, until: float) -> Iterator[Step]:
    """Report groups of this job that nobody pushes any more.

    They stay until somebody deletes them.
    """
    try:
        stale = [group for group in groups_of(client, settings.job, until) if group.age > _STALE]
    except TransportError:  # the step before has said that it has no /metrics
        return
    for group in stale[:_GROUPS_SHOWN]:
        yield Step(None, f"the group {printable(str(group))} was last pushed {format_duration(group.age)} ago")
    if stale:
        more = f" ({len(stale)} such groups)" if len(stale) > _GROUPS_SHOWN else ""
        yield Step(None, f"remove groups that nobody pushes with push-job delete --stale 1h{more}")


def _clash(client: Client, settings: Settings, extras: Iterable[Metric], until: float) -> Step:
    """Look for other jobs' families whose type differs from ours.

    Because of them, the Pushgateway would reject our push.
    """
    ours = {family.name: family.type for family in families_with(settings.extras)}
    ours.update(_types(generate_latest(registry_of(extras)).splitlines()))
    own_groups = [settings.grouping_key(flower).items() for flower in settings.flowers]
    try:
        answer = client.get("/metrics", until)
    except TransportError as error:
        if error.status is None:
            raise
        return Step(None, "its /metrics cannot be read, so families of other jobs that clash with ours cannot be found")
    with contextlib.closing(answer):
        for name, kind, labels in _clashing_samples(_lines(answer), ours):
            if any(group <= labels.items() for group in own_groups):
                continue
            group = ", ".join(f'{key}="{labels[key]}"' for key in ("job", "instance") if labels.get(key))
            return Step(
                False,
                f"the group {printable(group)} has {printable(name)} as a {kind}, which clashes with what this job"
                " pushes; delete that group, or stop what pushes it",
            )
    return Step(True, "no family on it clashes with ours")


def _lines(answer: Answer) -> Iterator[bytes]:
    """Yield the lines of a text that may be too long to hold. Raises CheckError."""
    rest = b""
    for chunk in answer.chunks(_METRICS_LIMIT):
        *lines, rest = (rest + chunk).split(b"\n")
        if any(len(line) > LINE_LIMIT for line in (*lines, rest)):
            raise CheckError(_NOT_A_PUSHGATEWAY)
        yield from lines
    yield rest


def _types(lines: Iterable[bytes]) -> dict[str, str]:
    """Return the type of each family in TYPE lines."""
    parts = (line.decode("utf-8", "replace").split(" ") for line in lines if line.startswith(b"# TYPE "))
    return {words[2]: words[3] for words in parts if len(words) == 4}


def _clashing_samples(lines: Iterable[bytes], ours: dict[str, str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the samples of families that cannot exist together with `ours`.

    Each result consists of the family's name, its type and the sample's labels.
    """
    clash = None
    for line in lines:
        if line.startswith(b"# TYPE "):
            clash = next((named for named in _types([line]).items() if not _compatible(named, ours)), None)
        elif clash and line and not line.startswith(b"#"):
            try:
                labels = parse_sample(line.decode("utf-8", "replace")).labels
            except ValueError:
                raise CheckError(_NOT_A_PUSHGATEWAY) from None
            yield *clash, labels


def _compatible(named: tuple[str, str], ours: dict[str, str]) -> bool:
    """Return whether a Pushgateway accepts a family together with ours.

    No name may have two meanings.
    """
    name, kind = named
    if name in ours:
        return ours[name] == kind
    return ours.keys().isdisjoint(sample_names(name, kind)) and not any(
        name in sample_names(*our) for our in ours.items()
    )
