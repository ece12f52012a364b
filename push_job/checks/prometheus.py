"""``push-job check --prometheus``: does Prometheus have what was pushed, as it was pushed, and our alerts?

What it is asked is in its HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from push_job.checks.connectivity import Step
from push_job.checks.prometheus_api import Behind, labels_of, objects, told, try_behind
from push_job.http.errors import TransportError
from push_job.metrics.extras import EXTRAS, families_with
from push_job.settings import Endpoint, Settings, SettingsError
from push_job.terminal.formatting import printable, time_words

#: Seconds after which the dashboards and alerts hide a group, if nobody has chosen otherwise.
_OLD = 300

#: The alerts of prometheus/rules/, which is not in the package; a test compares the two.
OUR_ALERTS = (
    "CeleryNoWorkers",
    "CeleryWorkerWentAway",
    "CeleryFailureRatioHigh",
    "CeleryTasksWaitTooLong",
    "CeleryBacklogAllWorkersIdle",
    "CeleryBacklogSomeWorkersIdle",
    "FlowerExtraFails",
    "PushgatewayDown",
    "FlowerPushMissing",
    "FlowerPushStale",
    "FlowerPushRefused",
    "FlowerGroupGone",
    "FlowerDown",
    "FlowerUnsteady",
    "CeleryTaskStuck",
    "CeleryPeriodicTaskOverdue",
    "CeleryQueueNotConsumed",
    "CeleryWorkersFull",
    "CeleryNewException",
)

_MOST_NAMES = 5

#: The most groups that are named of an alert that fires.
_MOST_GROUPS = 3

Series = tuple[dict[str, str], float]


def try_prometheus(server: Endpoint, settings: Settings) -> Iterator[Step]:
    """Each step from here to the alerts; the first that fails is the last one where the others could not succeed."""

    def steps(ask: Behind) -> Iterator[Step]:
        build = ask.data("/api/v1/status/buildinfo")
        version = build.get("version") if isinstance(build, dict) else None
        yield Step(True, f"it is Prometheus, version {told(version or 'unknown')}")
        scraped = _scrape(ask, settings.pushgateway)
        yield scraped
        if scraped.passed:
            yield from _groups(ask, settings)
        yield from _rules(ask, settings)

    return try_behind(server, "prometheus", settings, steps)


def _scrape(ask: Behind, pushgateway: Endpoint) -> Step:
    """Whether it scrapes a Pushgateway. A Pushgateway tells of itself, whatever name Prometheus knows it by."""
    found = sorted({printable(labels.get("instance", "")) for labels, _ in _query(ask, "pushgateway_build_info")})
    if found:
        return Step(True, f"it scrapes a Pushgateway, {_some(found)}")
    for target in _targets(ask):
        if _leads_to(str(target.get("scrapeUrl")), pushgateway) and target.get("health") == "down":
            return Step(False, f"it cannot scrape the Pushgateway: {told(target.get('lastError'))}")
    return Step(
        False,
        f"it scrapes no Pushgateway: give it a scrape job for {pushgateway.address} with honor_labels: true, as in"
        " prometheus/prometheus.yml (with the Prometheus Operator a ServiceMonitor whose labels it selects)",
    )


def _targets(ask: Behind) -> list[dict[str, Any]]:
    try:
        data = ask.data("/api/v1/targets", state="active")
    except TransportError as error:
        if error.status != 404:  # what stores for Prometheus has no targets
            raise
        return []
    return objects(data.get("activeTargets")) if isinstance(data, dict) else []


def _leads_to(url: str, pushgateway: Endpoint) -> bool:
    """Whether a target's URL is that of the Pushgateway's metrics."""
    with contextlib.suppress(ValueError, SettingsError):
        parts = urlsplit(url)
        target = Endpoint.parse(
            f"{parts.scheme}://{parts.netloc}{parts.path}", "", pushgateway.credentials, pushgateway.tls
        )
        return target.address == f"{pushgateway.address}/metrics"
    return False


def _groups(ask: Behind, settings: Settings) -> Iterator[Step]:
    """What it has of the group of each Flower: how old, and under which labels."""
    job = json.dumps(settings.job, ensure_ascii=False)  # PromQL quotes as JSON does
    kept = _query(ask, f"time() - push_time_seconds{{job={job}}}")
    renamed = _query(ask, f"time() - push_time_seconds{{exported_job={job}}}")
    refused = _query(ask, f"push_failure_time_seconds{{job={job}}} > push_time_seconds")
    for flower in settings.flowers:
        # To Prometheus, an empty label is none.
        group = {name: value for name, value in settings.group_labels(flower).items() if value}
        other = {**group, "exported_job": group["job"], "exported_instance": group["instance"]}
        del other["job"], other["instance"]
        name = ", ".join(f'{key}="{printable(value)}"' for key, value in group.items())
        age = _newest(kept, group)
        if age is not None and age > _OLD:
            yield Step(
                False,
                f"the newest push of {name} that it has is {time_words(age)} old, and panels and alerts hide what is"
                f" older than {time_words(_OLD)}: does push still run? see the log of its last run",
            )
        elif age is not None:
            yield Step(True, f"it has {name}, pushed {time_words(max(0.0, age))} ago; job and instance are kept")
        elif _newest(renamed, other) is not None:
            yield Step(
                False,
                f"it has {name} under exported_job and exported_instance, which panels and alerts do not know: set"
                " honor_labels: true in the scrape job of the Pushgateway (honorLabels: true in a ServiceMonitor)",
            )
        else:
            yield Step(False, f"it has nothing of {name}: {_why_missing(kept)}")
        if _newest(refused, group) is not None:
            yield Step(False, f"the Pushgateway refused the last push of {name}: see the log of its last run")


def _why_missing(kept: list[Series]) -> str:
    instances = sorted({printable(labels.get("instance", "")) for labels, _ in kept})
    if instances:
        return f"of that job it has {_some(instances)}; are --flower and --grouping those of push?"
    return "has push run, to the Pushgateway that it scrapes, with this --job, and has it scraped since?"


def _newest(series: list[Series], group: dict[str, str]) -> float | None:
    return min((value for labels, value in series if group.items() <= labels.items()), default=None)


def _rules(ask: Behind, settings: Settings) -> Iterator[Step]:
    """Whether it has our alerts and can evaluate them, and which of them fire, for whom."""
    data = ask.data("/api/v1/rules")
    groups = objects(data.get("groups")) if isinstance(data, dict) else []
    rules = [rule for group in groups for rule in objects(group.get("rules"))]
    ours = rules_of_ours(rules)
    alerts = [rule for rule in ours if rule.get("type") == "alerting"]
    if alerts:
        firing = _firing(alerts, settings)
        yield Step(True, f"{len(alerts)} of its alerts are on what push-job pushes")
        yield Step(None, f"of these fire: {_some(firing)}") if firing else Step(True, "none of these fires")
    else:
        yield Step(
            False,
            "none of its alerts is on what push-job pushes: load prometheus/rules/*.yml (rule_files, or a"
            " PrometheusRule whose labels it selects; docs/alerts.md)",
        )
    yield from _broken(ours)
    if alerts:
        yield from _missing(rules)


def rules_of_ours(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules on what we push, or on what other rules record of it; all rules as Prometheus tells them."""
    ours: list[dict[str, Any]] = []
    names = {name for family in families_with(EXTRAS) for name in family.sample_names}
    while names:  # what these rules record, others may record from
        on_these = re.compile(rf"\b(?:{'|'.join(re.escape(name) for name in names)})\b")
        found = [rule for rule in rules if on_these.search(str(rule.get("query")))]
        rules = [rule for rule in rules if rule not in found]
        names = {str(rule.get("name")) for rule in found if rule.get("type") == "recording"}
        ours += found
    return ours


def _broken(ours: list[dict[str, Any]]) -> Iterator[Step]:
    """Those that cannot be evaluated. Nothing else tells of a recording rule: alerts on it are well, and never fire."""
    broken = {told(rule.get("name")): rule for rule in ours if rule.get("health") == "err"}
    for name in list(broken)[:_MOST_NAMES]:
        rule = broken[name]
        recording = rule.get("type") == "recording"
        kind, so = ("recording rule", ", so alerts on it see nothing") if recording else ("alert", "")
        yield Step(False, f"its {kind} {name} cannot be evaluated{so}: {told(rule.get('lastError'))}")
    if len(broken) > _MOST_NAMES:
        yield Step(False, f"nor can {_some(list(broken)[_MOST_NAMES:])}")


def _missing(rules: list[dict[str, Any]]) -> Iterator[Step]:
    """No fault: they may have been left out, or another's own stand in their place."""
    had = {str(rule.get("name")) for rule in rules if rule.get("type") == "alerting"}
    missing = [name for name in OUR_ALERTS if name not in had]
    if missing:
        yield Step(None, f"of the alerts in prometheus/rules/ it does not have: {_some(missing)}")


def _firing(alerts: list[dict[str, Any]], settings: Settings) -> list[str]:
    """The alerts that fire, each with those for whom: that need not be who was asked about."""
    found: dict[str, set[str]] = {}
    for rule in alerts:
        if rule.get("state") == "firing":
            whose = found.setdefault(told(rule.get("name")), set())
            for alert in objects(rule.get("alerts")):
                labels = labels_of(alert, "labels")
                if alert.get("state") == "firing" and "instance" in labels:  # others are pending
                    whose.add(_whose(labels, settings))
    return [
        f"{name} ({_some(sorted(whose), _MOST_GROUPS, '; ')})" if whose else name
        for name, whose in sorted(found.items())
    ]


def _whose(labels: dict[str, str], settings: Settings) -> str:
    """The instance, and what else of the group is not as asked: Flowers of two namespaces may have one address."""
    shown = {"instance": labels["instance"]}
    # A query may leave out the job, but to have none of the others means another group.
    found = {"job": settings.job, **labels}
    for name, value in (("job", settings.job), *settings.grouping):
        if found.get(name, "") != value:
            shown[name] = found.get(name, "")
    return ", ".join(f'{name}="{told(value)}"' for name, value in shown.items())


def _query(ask: Behind, expression: str) -> list[Series]:
    """The series of an instant vector: labels and value."""
    data = ask.data("/api/v1/query", query=expression)
    found = []
    for series in objects(data.get("result")) if isinstance(data, dict) else []:
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):
            found.append((labels_of(series, "metric"), float(series["value"][1])))
    return found


def _some(names: list[str], most: int = _MOST_NAMES, between: str = ", ") -> str:
    more = len(names) - most
    return between.join(names[:most]) + (f" and {more} more" if more > 0 else "")
