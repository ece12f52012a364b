"""Panels about alerts and Flowers: what fires, and which Flowers have fresh data."""

from grafana.panel_types import (
    GREY,
    NEUTRAL,
    TILE,
    UP,
    AnyPanel,
    Column,
    Link,
    PanelSpec,
    Query,
    numbers,
    table,
    with_thresholds,
)
from grafana.queries import age, count_as_label, flower_state, missing, workers

ALERTS_AND_FLOWERS = "Alerts and Flowers"
EACH_FLOWER = "{{job}} {{instance}}"
UP_OR_DOWN = {"0": ("Down", "red"), "1": ("Up", "green")}

FIRING = (
    'ALERTS{alertstate="firing", alertname=~"(Celery|Flower).+", job=~"$job|", instance=~"$instance|"} '
    'or ALERTS{alertstate="firing", alertname=~"Pushgateway.+"}'
)
RULES_ARE_LOADED = "instance:celery_workers:sum"
"""Recorded by the rules while a group is fresh. If it and all alerts are missing, the rules are not loaded."""


def flowers() -> list[AnyPanel]:
    """Return tiles with the number of firing alerts and of missing Flowers."""
    alerts = PanelSpec(
        "Firing alerts",
        "Number of this project's alerts that fire. They are listed below. Not known: Prometheus has not loaded the "
        "rules, or there is no fresh data and no alert fires yet.",
        "none",
        width=TILE,
        height=5,
        thresholds=(("red", None),),
    )
    seen = PanelSpec(
        "Flowers",
        "Number of Flowers that are down or whose data is too old. All other panels exclude them.",
        "none",
        width=TILE,
        height=5,
        thresholds=(("red", None),),
        empty="nothing pushed",
    )
    number = f"count({FIRING}) or 0 * count({RULES_ARE_LOADED}) or vector(-1)"
    lost = f"count({missing()}) + on () group_left (all) {count_as_label(age(), 'all')}"
    none_lost = f"0 * count({age()}) unless on () {missing()}"
    texts = {"0": ("none", "green"), "-1": ("not known", GREY)}
    return [
        numbers(alerts, Query(number), texts=texts),
        numbers(
            seen,
            Query(none_lost, "not seen"),
            Query(lost, "not seen, of {{all}}"),
            texts={"0": ("none", "green")},
            named=True,
        ),
    ]


def live_workers() -> AnyPanel:
    """Return a tile with the live workers, in orange if Flowers are missing."""
    spec = PanelSpec(
        "Live workers",
        "Workers whose heartbeats Flower sees. Orange: the number is a minimum, because a Flower has no fresh data. "
        "Two Flowers on one broker count the same workers: select one of them.",
        "none",
        width=TILE,
        height=5,
        thresholds=UP,
    )
    live = f"sum({workers()})"
    without = f"{count_as_label(missing(), 'lost')} + on () group_left (all) {count_as_label(age(), 'all')}"
    incomplete = f"{live} + on () group_left (lost, all) ({without})"
    queries = (
        Query(f"{live} unless on () {missing()}", "live"),
        Query(incomplete, "without {{lost}} of {{all}} Flowers"),
    )
    return with_thresholds(numbers(spec, *queries, named=True), 1, (("red", None), ("orange", 1.0)))


def alerts_that_fire() -> AnyPanel:
    """Return the table of firing alerts, which is never empty."""
    spec = PanelSpec(
        "Alerts",
        "Firing alerts of prometheus/rules. The runbook of each alert says what to do.",
        "none",
        width=10,
        height=7,
        thresholds=NEUTRAL,
    )
    what = f'label_join({FIRING}, "what", " ", "app", "name", "state", "queue", "extra", "instance")'
    none = _row(f"0 * count({RULES_ARE_LOADED})", "no alert fires", "ok")
    not_loaded = _row("vector(0)", "rules not loaded", "unknown")
    query = f"{what} or {none} unless on () ({FIRING}) or {not_loaded} unless on () ({FIRING} or {RULES_ARE_LOADED})"
    severities = {
        "critical": ("critical", "red"),
        "warning": ("warning", "orange"),
        "ok": ("ok", "green"),
        "unknown": ("unknown", GREY),
    }
    columns = [
        Column("severity", "Severity", width=75, texts=severities),
        Column("alertname", "Alert"),
        Column("what", "Where", width=120),
    ]
    return table(spec, Query(query), columns=columns, sorted_by="Severity", descending=False)


def each_flower() -> AnyPanel:
    """Return the table of all Flowers, including those that are down or too old."""
    spec = PanelSpec(
        "Each Flower",
        "Down: the job could not scrape this Flower. Too old: the last push is older than the limit selected above; "
        "check the CronJob or push-job run. Partial: the last push was interrupted. All other panels exclude Flowers "
        "that are not up.",
        "short",
        width=14,
        height=7,
        empty="no push found",
    )
    states = {**UP_OR_DOWN, "-1": ("Too old", "red"), "-2": ("Partial", "red")}
    columns = [
        Column("instance", "Flower", link=Link("This Flower", "http://${__value.raw}")),
        Column("job", "Job", width=120),
        Column("Value #A", "Now", width=70, texts=states),
        Column("Value #B", "Age", width=70, unit="s"),
        Column("Value #C", "Workers", width=75),
    ]
    return table(
        spec,
        Query(flower_state()),
        Query(age()),
        Query(f"sum without (app) ({workers()})"),
        columns=columns,
        sorted_by="Now",
        descending=False,
    )


def _row(series: str, alert: str, severity: str) -> str:
    named = f'label_replace({series}, "alertname", "{alert}", "", "")'
    return f'label_replace({named}, "severity", "{severity}", "", "")'
