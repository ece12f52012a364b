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

from push_job.commands.behind import Behind, labels_of, objects, told, try_behind
from push_job.commands.reach import Step
from push_job.commands.words import printable, time_words
from push_job.http.failures import TransportError
from push_job.metrics.extras import EXTRAS, families_with
from push_job.settings import Endpoint, Settings, SettingsError

#: Seconds after which the dashboards and alerts hide a group, if nobody has chosen otherwise.
_OLD = 300

#: A query of an alert that is on what we push.
_OURS = re.compile(rf"\b(?:{'|'.join(family.name for family in families_with(EXTRAS))})\b")

_MOST_NAMES = 5

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
        yield from _alerts(ask)

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


def _alerts(ask: Behind) -> Iterator[Step]:
    data = ask.data("/api/v1/rules")
    groups = objects(data.get("groups")) if isinstance(data, dict) else []
    ours = alerts_of_ours([rule for group in groups for rule in objects(group.get("rules"))])
    if not ours:
        yield Step(
            False,
            "none of its alerts is on what push-job pushes: load prometheus/rules/*.yml (rule_files, or a"
            " PrometheusRule whose labels it selects; docs/alerts.md)",
        )
        return
    broken = next((rule for rule in ours if rule.get("health") == "err"), None)
    if broken:
        yield Step(False, f"its alert {told(broken.get('name'))} cannot be evaluated: {told(broken.get('lastError'))}")
    else:
        yield Step(True, f"{len(ours)} of its alerts are on what push-job pushes")
    firing = sorted({told(rule.get("name")) for rule in ours if rule.get("state") == "firing"})
    yield Step(None, f"of these fire: {_some(firing)}") if firing else Step(True, "none of these fires")


def alerts_of_ours(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The alerts on what we push, or on what other rules record of it; all rules as Prometheus tells them."""
    on_ours = [rule for rule in rules if _OURS.search(str(rule.get("query")))]
    recorded = [re.escape(str(rule.get("name"))) for rule in on_ours if rule.get("type") == "recording"]
    on_recorded = re.compile(rf"\b(?:{'|'.join(recorded)})\b") if recorded else None
    return [
        rule
        for rule in rules
        if rule.get("type") == "alerting"
        and (rule in on_ours or (on_recorded and on_recorded.search(str(rule.get("query")))))
    ]


def _query(ask: Behind, expression: str) -> list[Series]:
    """The series of an instant vector: labels and value."""
    data = ask.data("/api/v1/query", query=expression)
    found = []
    for series in objects(data.get("result")) if isinstance(data, dict) else []:
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):
            found.append((labels_of(series, "metric"), float(series["value"][1])))
    return found


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
