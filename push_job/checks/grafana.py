"""Check a Grafana: its dashboards, and the pushed metrics in its data sources.

Its API: https://grafana.com/docs/grafana/latest/developers/http_api/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from push_job.checks.prometheus_api import JsonApi, check_api, objects, short_text
from push_job.checks.step import CheckError, Step
from push_job.http.errors import TransportError
from push_job.settings import Endpoint, Settings

#: The uids of the dashboards, which are also the names of their files in grafana/dashboards.
DASHBOARDS = ("celery-by-flower", "celery-by-flower-in-depth", "celery-by-flower-task-type")

#: Data sources that are tested.
_DATA_SOURCE_LIMIT = 10


def check_grafana(server: Endpoint, settings: Settings) -> Iterator[Step]:
    """Yield the steps for a Grafana."""

    def steps(api: JsonApi) -> Iterator[Step]:
        health = api.json("/api/health")
        if not isinstance(health, dict) or "database" not in health:
            yield Step(False, "its /api/health is not what Grafana answers; is this one?")
            return
        yield Step(True, f"it is Grafana, version {short_text(health.get('version') or 'unknown')}")
        for uid in DASHBOARDS:
            yield _dashboard(api, uid)
        yield from _sources(api, settings)

    return check_api(server, "grafana", settings, steps)


def _dashboard(api: JsonApi, uid: str) -> Step:
    try:
        found = api.json(f"/api/dashboards/uid/{uid}")
    except TransportError as error:
        if error.status != 404:
            raise
        return Step(False, f"the dashboard {uid} is missing; import grafana/dashboards/{uid}.json")
    dashboard = found.get("dashboard") if isinstance(found, dict) else None
    title = dashboard.get("title") if isinstance(dashboard, dict) else None
    return Step(True, f"the dashboard {uid} is there, {short_text(title or 'without a title')}")


def _sources(api: JsonApi, settings: Settings) -> Iterator[Step]:
    """Test whether the Prometheus data sources answer and have the pushed metrics."""
    try:
        sources = [source for source in objects(api.json("/api/datasources")) if source.get("type") == "prometheus"]
    except TransportError as error:
        if error.status != 403:
            raise
        yield Step(None, "its data sources cannot be tested: only an Admin may list them")
        return
    if not sources:
        yield Step(
            False, "it has no data source of type Prometheus; add one for the Prometheus that scrapes the Pushgateway"
        )
    sources.sort(key=lambda source: (source.get("isDefault") is not True, str(source.get("name"))))
    steps = [_source(api, source, settings) for source in sources[:_DATA_SOURCE_LIMIT]]
    # If one data source has the groups, the others need not have them.
    served = any(step.passed for step in steps)
    for step in steps:
        yield Step(None, f"{step.text}; choose another one in the dashboard") if served and not step.passed else step


def _source(api: JsonApi, source: dict[str, Any], settings: Settings) -> Step:
    name = short_text(source.get("name"))
    job = json.dumps(settings.job, ensure_ascii=False)
    path = f"/api/datasources/proxy/uid/{quote(str(source.get('uid')), safe='')}/api/v1/query"
    try:
        data = api.data(path, query=f"count(push_time_seconds{{job={job}}})")
    except TransportError as error:
        # Signing in worked before, so this is the refusal of the server behind the data source.
        detail = f" ({short_text(error.body)})" if error.body and not error.body.startswith("<") else ""
        return Step(False, f"its data source {name} does not work: {error}{detail}; see its settings in Grafana")
    except CheckError as error:
        return Step(False, f"its data source {name} does not answer as Prometheus does: {error}")
    if data.get("result"):
        return Step(True, f"its data source {name} answers and has the groups of job {short_text(settings.job)}")
    return Step(
        False,
        f"its data source {name} answers but has no group of job {short_text(settings.job)}; is it the Prometheus that"
        " scrapes the Pushgateway? try check --prometheus",
    )
