"""Check a Prometheus: its scrape of the Pushgateway, its groups and its alerts.

It must have the groups unaltered.

Its API: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from push_job.checks.alert_names import ALERT_NAMES
from push_job.checks.prometheus_api import JsonApi, check_api, labels_of, objects, short_text
from push_job.checks.step import Step
from push_job.http.errors import TransportError
from push_job.metrics.extras import EXTRAS, families_with
from push_job.settings import Endpoint, Settings, SettingsError
from push_job.terminal.formatting import format_duration
from push_job.text import printable

#: Seconds after which dashboards and alerts hide a group, by default.
_STALE = 300

_NAME_LIMIT = 5

#: Groups that are named for an alert that fires.
_GROUP_LIMIT = 3

Series = tuple[dict[str, str], float]


def check_prometheus(server: Endpoint, settings: Settings) -> Iterator[Step]:
    """Yield the steps for a Prometheus."""

    def steps(api: JsonApi) -> Iterator[Step]:
        version = api.data("/api/v1/status/buildinfo").get("version")
        yield Step(True, f"it is Prometheus, version {short_text(version or 'unknown')}")
        scraped = _scrape(api, server, settings)
        yield scraped
        if scraped.passed:
            yield from _groups(api, settings)
        yield from _rules(api, settings)

    return check_api(server, "prometheus", settings, steps)


def _scrape(api: JsonApi, server: Endpoint, settings: Settings) -> Step:
    """Test whether it scrapes a Pushgateway.

    Every Pushgateway exports ``pushgateway_build_info``.
    """
    found = sorted({printable(labels.get("instance", "")) for labels, _ in _query(api, "pushgateway_build_info")})
    if found:
        return Step(True, f"it scrapes a Pushgateway, {_some(found)}")
    if settings.push_format == "text" and settings.pushgateway.url.startswith(f"{server.url}/"):
        return Step(True, "it receives the pushes itself")
    for target in _targets(api):
        if _leads_to(str(target.get("scrapeUrl")), settings.pushgateway) and target.get("health") == "down":
            return Step(False, f"it cannot scrape the Pushgateway: {short_text(target.get('lastError'))}")
    return Step(
        False,
        f"it scrapes no Pushgateway; add a scrape job for {settings.pushgateway.address} with honor_labels: true, as in"
        " prometheus/prometheus.yml (with the Prometheus Operator a ServiceMonitor whose labels it selects)",
    )


def _targets(api: JsonApi) -> list[dict[str, Any]]:
    try:
        return objects(api.data("/api/v1/targets", state="active").get("activeTargets"))
    except TransportError as error:
        if error.status != 404:  # a server that only stores for Prometheus has no targets
            raise
        return []


def _leads_to(url: str, pushgateway: Endpoint) -> bool:
    """Return whether a target's URL is that of the Pushgateway's metrics."""
    with contextlib.suppress(ValueError, SettingsError):
        parts = urlsplit(url)
        target = Endpoint.parse(f"{parts.scheme}://{parts.netloc}{parts.path}", "")
        return target.address == f"{pushgateway.address}/metrics"
    return False


def _groups(api: JsonApi, settings: Settings) -> Iterator[Step]:
    """Test whether it has the group of each Flower.

    The steps also report the age of each group and the labels under which it is stored.
    """
    job = json.dumps(settings.job, ensure_ascii=False)  # PromQL quotes as JSON does
    kept = _query(api, f"time() - push_time_seconds{{job={job}}}")
    renamed = _query(api, f"time() - push_time_seconds{{exported_job={job}}}")
    refused = _query(api, f"push_failure_time_seconds{{job={job}}} > push_time_seconds")
    for flower in settings.flowers:
        # Prometheus treats an empty label as missing.
        group = {name: value for name, value in settings.grouping_key(flower).items() if value}
        other = {**group, "exported_job": group["job"], "exported_instance": group["instance"]}
        del other["job"], other["instance"]
        name = ", ".join(f'{key}="{printable(value)}"' for key, value in group.items())
        age = _newest(kept, group)
        if age is not None and age > _STALE:
            yield Step(
                False,
                f"the newest push of {name} that it has is {format_duration(age)} old; panels and alerts hide groups"
                f" older than {format_duration(_STALE)}. Does push still run? See the log of its last run",
            )
        elif age is not None:
            yield Step(
                True, f"it has {name}, pushed {format_duration(max(0.0, age))} ago; job and instance labels are intact"
            )
        elif _newest(renamed, other) is not None:
            yield Step(
                False,
                f"it has {name} under exported_job and exported_instance, which panels and alerts do not use; set"
                " honor_labels: true in the scrape job of the Pushgateway (honorLabels: true in a ServiceMonitor)",
            )
        else:
            yield Step(False, f"it does not have {name}: {_why_missing(kept)}")
        if _newest(refused, group) is not None:
            yield Step(False, f"the Pushgateway rejected the last push of {name}; see the log of its last run")


def _why_missing(kept: list[Series]) -> str:
    instances = sorted({printable(labels.get("instance", "")) for labels, _ in kept})
    if instances:
        return f"of that job it has {_some(instances)}; are --flower and --grouping the same as for push?"
    return "has push run with this --job, to the Pushgateway that it scrapes, and has it scraped since?"


def _newest(series: list[Series], group: dict[str, str]) -> float | None:
    return min((value for labels, value in series if group.items() <= labels.items()), default=None)


def _rules(api: JsonApi, settings: Settings) -> Iterator[Step]:
    """Test whether it has our alerts and can evaluate them; report those that fire."""
    groups = objects(api.data("/api/v1/rules").get("groups"))
    rules = [rule for group in groups for rule in objects(group.get("rules"))]
    ours = rules_of_ours(rules)
    alerts = [rule for rule in ours if rule.get("type") == "alerting"]
    if alerts:
        firing = _firing(alerts, settings)
        yield Step(True, f"it has {len(alerts)} alerts on metrics of push-job")
        yield Step(None, f"of these, firing: {_some(firing)}") if firing else Step(True, "none of these is firing")
    else:
        yield Step(
            False,
            "it has no alert on metrics of push-job; load prometheus/rules/*.yml (rule_files, or a"
            " PrometheusRule whose labels it selects; docs/alerts.md)",
        )
    yield from _broken(ours)
    if alerts:
        yield from _missing(rules)


def rules_of_ours(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rules on our metrics, directly or through recording rules.

    `rules` are all rules of a Prometheus.
    """
    ours: list[dict[str, Any]] = []
    names = {name for family in families_with(EXTRAS) for name in family.sample_names}
    while names:  # other rules may use what these record
        on_these = re.compile(rf"\b(?:{'|'.join(re.escape(name) for name in names)})\b")
        found = [rule for rule in rules if on_these.search(str(rule.get("query")))]
        rules = [rule for rule in rules if rule not in found]
        names = {str(rule.get("name")) for rule in found if rule.get("type") == "recording"}
        ours += found
    return ours


def _broken(ours: list[dict[str, Any]]) -> Iterator[Step]:
    """Report rules that cannot be evaluated.

    Alerts on a broken recording rule look healthy but never fire.
    """
    broken = {short_text(rule.get("name")): rule for rule in ours if rule.get("health") == "err"}
    for name in list(broken)[:_NAME_LIMIT]:
        rule = broken[name]
        recording = rule.get("type") == "recording"
        kind, effect = ("recording rule", ", so alerts on it never fire") if recording else ("alert", "")
        yield Step(False, f"its {kind} {name} cannot be evaluated{effect}: {short_text(rule.get('lastError'))}")
    if len(broken) > _NAME_LIMIT:
        yield Step(False, f"these cannot be evaluated either: {_some(list(broken)[_NAME_LIMIT:])}")


def _missing(rules: list[dict[str, Any]]) -> Iterator[Step]:
    """Report alerts that are not loaded.

    That is not a failure, because somebody may have chosen other alerts.
    """
    had = {str(rule.get("name")) for rule in rules if rule.get("type") == "alerting"}
    missing = [name for name in ALERT_NAMES if name not in had]
    if missing:
        yield Step(None, f"alerts of prometheus/rules/ that it does not have: {_some(missing)}")


def _firing(alerts: list[dict[str, Any]], settings: Settings) -> list[str]:
    """Return the firing alerts, each with the groups for which it fires.

    The groups may be of other jobs.
    """
    found: dict[str, set[str]] = {}
    for rule in alerts:
        if rule.get("state") == "firing":
            groups = found.setdefault(short_text(rule.get("name")), set())
            for alert in objects(rule.get("alerts")):
                labels = labels_of(alert, "labels")
                if alert.get("state") == "firing" and "instance" in labels:  # others are pending
                    groups.add(_group_words(labels, settings))
    return [
        f"{name} ({_some(sorted(groups), _GROUP_LIMIT, '; ')})" if groups else name
        for name, groups in sorted(found.items())
    ]


def _group_words(labels: dict[str, str], settings: Settings) -> str:
    """Return the instance of a group, and its labels that differ from the settings."""
    shown = {"instance": labels["instance"]}
    # An alert's expression may drop the job label, but a missing grouping label means another group.
    found = {"job": settings.job, **labels}
    for name, value in (("job", settings.job), *settings.grouping):
        if found.get(name, "") != value:
            shown[name] = found.get(name, "")
    return ", ".join(f'{name}="{short_text(value)}"' for name, value in shown.items())


def _query(api: JsonApi, expression: str) -> list[Series]:
    """Return labels and value of each series of an instant vector."""
    found = []
    for series in objects(api.data("/api/v1/query", query=expression).get("result")):
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):
            found.append((labels_of(series, "metric"), float(series["value"][1])))
    return found


def _some(names: list[str], limit: int = _NAME_LIMIT, between: str = ", ") -> str:
    more = len(names) - limit
    return between.join(names[:limit]) + (f" and {more} more" if more > 0 else "")
