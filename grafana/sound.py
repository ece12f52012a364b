"""Panels that tell whether the watching itself is sound: alerts, each Flower, and what is known only in part."""

from grafana.panels import (
    GREY,
    NEUTRAL,
    TILE,
    UP,
    About,
    AnyPanel,
    Column,
    Link,
    Query,
    numbers,
    table,
    with_steps,
)
from grafana.queries import age, flower_state, in_words, missing, workers

IS_IT_SOUND = "Is the watching itself sound?"
EACH_FLOWER = "{{job}} {{instance}}"
UP_OR_DOWN = {"0": ("Down", "red"), "1": ("Up", "green")}

FIRING = (
    'ALERTS{alertstate="firing", alertname=~"(Celery|Flower).+", job=~"$job|", instance=~"$instance|"} '
    'or ALERTS{alertstate="firing", alertname=~"Pushgateway.+"}'
)
RULES_ARE_LOADED = "instance:celery_workers:sum"
"""Recorded by the rules wherever a group is fresh: without it and without an alert, nobody looks."""


def flowers() -> list[AnyPanel]:
    """Two tiles: how many alerts fire, and whether every Flower is seen."""
    alerts = About(
        "Alerts that fire",
        "How many of the project's alerts fire; they are listed below. Not known: Prometheus has not loaded the rules, "
        "or nothing is fresh and no alert fires yet.",
        "none",
        width=TILE,
        height=5,
        steps=(("red", None),),
    )
    seen = About(
        "Flowers",
        "How many Flowers nothing is known of now, because they are down or their data is too old. All other panels "
        "are without them.",
        "none",
        width=TILE,
        height=5,
        steps=(("red", None),),
        empty="nothing pushed",
    )
    number = f"count({FIRING}) or 0 * count({RULES_ARE_LOADED}) or vector(-1)"
    lost = f"count({missing()}) + on () group_left (all) {in_words(age(), 'all')}"
    none_lost = f"0 * count({age()}) unless on () {missing()}"
    words = {"0": ("none", "green"), "-1": ("not known", GREY)}
    return [
        numbers(alerts, Query(number), words=words),
        numbers(
            seen,
            Query(none_lost, "not seen"),
            Query(lost, "not seen, of {{all}}"),
            words={"0": ("none", "green")},
            named=True,
        ),
    ]


def live_workers() -> AnyPanel:
    """One tile: the sum, and in orange what it is without if a Flower is not seen."""
    about = About(
        "Live workers",
        "Workers whose heartbeats Flower sees. Orange: at least so many, because some Flower is not seen. Two Flowers "
        "on one broker each count the same workers: choose one.",
        "none",
        width=TILE,
        height=5,
        steps=UP,
    )
    live = f"sum({workers()})"
    without = f"{in_words(missing(), 'lost')} + on () group_left (all) {in_words(age(), 'all')}"
    part = f"{live} + on () group_left (lost, all) ({without})"
    asked = Query(f"{live} unless on () {missing()}", "live"), Query(part, "without {{lost}} of {{all}} Flowers")
    return with_steps(numbers(about, *asked, named=True), 1, (("red", None), ("orange", 1.0)))


def alerts_that_fire() -> AnyPanel:
    """A table, never empty: if no alert fires it says so, and if nobody looks, that."""
    about = About(
        "Alerts",
        "What fires now, of the rules in prometheus/rules. What to do stands in each alert's runbook.",
        "none",
        width=10,
        height=7,
        steps=NEUTRAL,
    )
    what = f'label_join({FIRING}, "what", " ", "app", "name", "state", "queue", "extra", "instance")'
    none = _row(f"0 * count({RULES_ARE_LOADED})", "no alert fires", "well")
    nobody = _row("vector(0)", "nobody looks: are the rules loaded?", "unknown")
    query = f"{what} or {none} unless on () ({FIRING}) or {nobody} unless on () ({FIRING} or {RULES_ARE_LOADED})"
    severities = {
        "critical": ("critical", "red"),
        "warning": ("warning", "orange"),
        "well": ("well", "green"),
        "unknown": ("unknown", GREY),
    }
    columns = [
        Column("severity", "Severity", width=75, words=severities),
        Column("alertname", "Alert"),
        Column("what", "Where", width=120),
    ]
    return table(about, Query(query), columns=columns, sorted_by="Severity", falling=False)


def each_flower() -> AnyPanel:
    """A table: one that is down or whose data is too old stays in it."""
    about = About(
        "Each Flower",
        "Down: the last push could not scrape this Flower. Too old: nothing pushed it for longer than the limit chosen "
        "above; look at the CronJob, or at push-job run. A part: its last push broke off. Until it is up, every other "
        "panel is without it.",
        "short",
        width=14,
        height=7,
        empty="nothing was ever pushed",
    )
    states = {**UP_OR_DOWN, "-1": ("Too old", "red"), "-2": ("A part", "red")}
    columns = [
        Column("instance", "Flower", link=Link("This Flower", "http://${__value.raw}")),
        Column("job", "Job", width=120),
        Column("Value #A", "Now", width=70, words=states),
        Column("Value #B", "Age", width=70, unit="s"),
        Column("Value #C", "Workers", width=75),
    ]
    return table(
        about,
        Query(flower_state()),
        Query(age()),
        Query(f"sum without (app) ({workers()})"),
        columns=columns,
        sorted_by="Now",
        falling=False,
    )


def _row(series: str, alert: str, severity: str) -> str:
    named = f'label_replace({series}, "alertname", "{alert}", "", "")'
    return f'label_replace({named}, "severity", "{severity}", "", "")'
