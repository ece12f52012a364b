"""``push-job check --grafana``: are the dashboards there, and does their data source have what was pushed?

What it is asked is in its HTTP API (https://grafana.com/docs/grafana/latest/developers/http_api/).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from push_job.checks.connectivity import Step, UnreachableError
from push_job.checks.prometheus_api import Behind, objects, told, try_behind
from push_job.http.errors import TransportError
from push_job.settings import Endpoint, Settings

#: The dashboards' uids, which stay when they are imported, and their files in grafana/dashboards.
DASHBOARDS = ("celery-by-flower", "celery-by-flower-in-depth")

#: Data sources that are tried.
_MOST_SOURCES = 10


def try_grafana(server: Endpoint, settings: Settings) -> Iterator[Step]:
    """Each step from here to a panel; the first that fails is the last one where the others could not succeed."""

    def steps(ask: Behind) -> Iterator[Step]:
        health = ask.json("/api/health")
        if not isinstance(health, dict) or "database" not in health:
            yield Step(False, "its /api/health is not what Grafana answers; is this one?")
            return
        yield Step(True, f"it is Grafana, version {told(health.get('version') or 'unknown')}")
        for uid in DASHBOARDS:
            yield _dashboard(ask, uid)
        yield from _sources(ask, settings)

    return try_behind(server, "grafana", settings, steps)


def _dashboard(ask: Behind, uid: str) -> Step:
    try:
        found = ask.json(f"/api/dashboards/uid/{uid}")
    except TransportError as error:
        if error.status != 404:
            raise
        return Step(False, f"the dashboard {uid} is missing: import grafana/dashboards/{uid}.json")
    dashboard = found.get("dashboard") if isinstance(found, dict) else None
    title = dashboard.get("title") if isinstance(dashboard, dict) else None
    return Step(True, f"the dashboard {uid} is there, {told(title or 'without a title')}")


def _sources(ask: Behind, settings: Settings) -> Iterator[Step]:
    """Which Prometheus data sources answer, and have what was pushed: a dashboard shows the one chosen in it."""
    try:
        sources = [source for source in objects(ask.json("/api/datasources")) if source.get("type") == "prometheus"]
    except TransportError as error:
        if error.status != 403:
            raise
        yield Step(None, "its data sources cannot be tried: these credentials may not list them, an Admin's may")
        return
    if not sources:
        yield Step(False, "it has no data source of the type Prometheus: add one that has the Prometheus")
    sources.sort(key=lambda source: (source.get("isDefault") is not True, str(source.get("name"))))
    steps = [_source(ask, source, settings) for source in sources[:_MOST_SOURCES]]
    # With another one that has the groups, one without is no fault.
    served = any(step.passed for step in steps)
    for step in steps:
        yield Step(None, f"{step.text}; choose another one in the dashboard") if served and not step.passed else step


def _source(ask: Behind, source: dict[str, Any], settings: Settings) -> Step:
    name = told(source.get("name"))
    job = json.dumps(settings.job, ensure_ascii=False)
    path = f"/api/datasources/proxy/uid/{quote(str(source.get('uid')), safe='')}/api/v1/query"
    try:
        data = ask.data(path, query=f"count(push_time_seconds{{job={job}}})")
    except TransportError as error:
        # Signing in has worked before: a refusal here is that of what is behind the data source.
        said = f" ({told(error.body)})" if error.body and not error.body.startswith("<") else ""
        return Step(False, f"its data source {name} does not work: {error}{said}; see its settings in Grafana")
    except UnreachableError as error:
        return Step(False, f"its data source {name} does not answer as Prometheus does: {error}")
    if isinstance(data, dict) and data.get("result"):
        return Step(True, f"its data source {name} answers, and has what job {told(settings.job)} pushed")
    return Step(
        False,
        f"its data source {name} answers, but has nothing that job {told(settings.job)} pushed: is it the Prometheus"
        " that scrapes the Pushgateway? try check --prometheus",
    )
