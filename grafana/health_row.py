"""Panels about alerts and the monitoring itself.

They show which alerts fire, and which Flowers have fresh data.
"""

from grafana.panel_types import GREY, HALF, NEUTRAL, AnyPanel, Column, Link, PanelSpec, Query, lines, table
from grafana.queries import RULES_ARE_LOADED, age, flower_state, fresh, labelled, or_row, pushed, reworded, workers
from grafana.tiles import firing

EACH_FLOWER = "{{job}} {{instance}}"

ABOUT = ("app", "name", "task_type", "state", "queue", "exception", "extra", "instance")
"""Labels of the alerts that say what an alert is about."""


def alerts_that_fire() -> AnyPanel:
    """Return the table of firing alerts, which is never empty."""
    spec = PanelSpec(
        "Firing alerts",
        "Alerts of prometheus/rules. A click on an alert opens its text, with what to do and the link to its "
        "runbook. Orange: warning. Red: critical. Green: no alert fires. Grey: the rules are not loaded.",
        "none",
        width=HALF,
        height=8,
        thresholds=NEUTRAL,
    )
    sources = ", ".join(f'"{label}"' for label in ABOUT)
    about = f'label_join({firing()}, "text", " ", {sources})'
    about = reworded(reworded(about, " *(.*?) *", "$1"), "", "everything")
    none = labelled(f"0 * count({RULES_ARE_LOADED})", text="no alert fires", severity="ok")
    not_loaded = labelled("vector(0)", text="rules not loaded", severity="unknown")
    query = (
        f"{about} or {none} unless on () ({firing()}) or {not_loaded} unless on () ({firing()} or {RULES_ARE_LOADED})"
    )
    severities = {
        "critical": ("critical", "red"),
        "warning": ("warning", "orange"),
        "ok": ("ok", "green"),
        "unknown": ("unknown", GREY),
    }
    text = Link("Its text", "/alerting/${datasource:text}/${__value.raw}/find")
    columns = [
        Column("severity", "Level", width=75, texts=severities),
        Column("alertname", "Alert", width=230, link=text),
        Column("text", "Where"),
    ]
    return table(spec, Query(query), columns=columns, sorted_by="Level", descending=False)


def monitoring_health() -> list[AnyPanel]:
    """Return the panels about Flowers and pushes."""
    over_time = PanelSpec(
        "Age of the data over time",
        "Rises until the next push. Not hidden when old, so that it shows since when pushes are missing.",
        "s",
        width=HALF,
        height=8,
        empty="nothing was pushed in this range",
    )
    scrape = PanelSpec(
        "Scrape duration",
        "Time that the job needs to scrape this Flower. If it approaches --timeout or --deadline, give Flower more "
        "CPU or a smaller --max-tasks.",
        "s",
        width=HALF,
        height=8,
    )
    listed = PanelSpec(
        "Tasks in Flower's list",
        "Number of tasks that Flower remembers. If it stays at Flower's --max-tasks, Flower drops the oldest tasks.",
        "locale",
        width=HALF // 2,
        height=8,
    )
    covered = PanelSpec(
        "Numbers by state cover",
        "Age of the oldest finished task that Flower remembers. What ended before is in no panel except those of "
        "--with totals.",
        "s",
        width=HALF // 2,
        height=8,
        empty="no fresh data, or no task has finished",
    )
    return [
        each_flower(),
        lines(over_time, Query(age(), EACH_FLOWER)),
        lines(scrape, Query(pushed("flower_scrape_duration_seconds"), EACH_FLOWER)),
        lines(listed, Query(fresh("flower_scrape_tasks"), EACH_FLOWER)),
        lines(covered, Query(fresh("flower_scrape_window_seconds"), EACH_FLOWER)),
    ]


def each_flower() -> AnyPanel:
    """Return the table of all Flowers, including those that are down or too old."""
    spec = PanelSpec(
        "Each Flower",
        "Down: the job could not scrape this Flower. Too old: the last push is too old; check the CronJob or push-job "
        "run. Partial: the last push was interrupted. All other panels exclude Flowers that are not up.",
        "short",
        width=HALF,
        height=8,
    )
    states = {
        "0": ("Down", "red"),
        "1": ("Up", "green"),
        "-1": ("Too old", "red"),
        "-2": ("Partial", "red"),
        "-3": ("Unknown", GREY),
    }
    columns = [
        Column("instance", "Flower", link=Link("This Flower", "http://${__value.raw}")),
        Column("job", "Job", width=85),
        Column("Value #A", "Now", width=75, texts=states),
        Column("Value #B", "Age", width=85, unit="s"),
        Column("Value #C", "Workers", width=65),
    ]
    return table(
        spec,
        Query(or_row(flower_state(), "instance", "no push found", -3)),
        Query(age()),
        Query(f"sum without (app) ({workers()})"),
        columns=columns,
        sorted_by="Now",
        descending=False,
    )
