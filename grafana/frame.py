"""What surrounds the panels: the dashboard's head, variables, annotations and links, and rows on the grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from grafana.panels import DATASOURCE, AnyPanel
from grafana.queries import CHOSEN, FRESH, age, fresh, selector

TAG = "celery-by-flower"

STAY = 150
"""Seconds that a worker has to stay away to have gone away: longer than the longest interval between pushes."""

Variable = Builder[model.VariableModel]


@dataclass(frozen=True)
class Row:
    """Panels under a heading, or without one if `title` is empty. They wrap where 24 cells are full.

    `collapsed`: only the heading is seen until somebody clicks on it; Grafana asks nothing before that.
    """

    title: str
    panels: Sequence[AnyPanel]
    collapsed: bool = False


def framed(
    title: str, uid: str, description: str, rows: Sequence[Row], variables: Sequence[Variable]
) -> model.Dashboard:
    """A whole dashboard, its panels numbered in reading order."""
    board = dashboard.Dashboard(title)
    board.uid(uid)
    board.description(description)
    board.tags([TAG, "celery", "prometheus"])
    board.editable()
    board.timezone("browser")
    board.time("now-1h", "now")
    board.refresh("1m")
    board.tooltip(model.DashboardCursorSync(1))
    board.variables(list(variables))
    board.link(_other_dashboards())
    number = 0
    for row in rows:
        heading = dashboard.Row(row.title).collapsed(row.collapsed)
        if row.title:
            number += 1
            heading.id(number)
        for panel in row.panels:
            number += 1
            panel.id(number)
            if row.collapsed:
                heading.with_panel(panel)
        if row.title:
            board.with_row(heading)
        for panel in () if row.collapsed else row.panels:
            board.with_panel(panel)
    built: model.Dashboard = board.build()
    built.annotations = model.AnnotationContainer(list_val=_events())
    return built


def common_variables() -> list[Variable]:
    """The data source, which jobs, which Flowers and which task types."""
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        any_of("job", "Job", "label_values(push_job_build_info, job)", everything=".+"),
        any_of("instance", "Flower", 'label_values(push_job_build_info{job=~"$job"}, instance)', everything=".+"),
        any_of("task_type", "Task type", f"label_values(celery_task_types_by_state{{{CHOSEN}}}, task_type)"),
    ]


def time_variables() -> list[Variable]:
    """`$TIME_FRAME`, the window of a rate, and `$max_age`, the age in seconds at which numbers are hidden."""
    windows = {window: window for window in ("1m", "5m", "15m", "30m", "1h", "6h", "1d")}
    frame = choice("TIME_FRAME", "Window", {"auto": "$__rate_interval", **windows}, "5m")
    frame.description("What rates and increases are taken over. auto: fits the shown range, at least four pushes.")
    max_age = choice(
        "max_age", "Hide data older than", {"1m": "60", "2m": "120", "5m": "300", "15m": "900", "1h": "3600"}, "5m"
    )
    max_age.description("A group whose last push is older than this drops out of all panels but those of its age.")
    return [frame, max_age]


def choice(name: str, label: str, texts: Mapping[str, str], default: str) -> dashboard.CustomVariable:
    """A variable with exactly one of some values, written as their texts."""
    variable = dashboard.CustomVariable(name)
    variable.label(label)
    variable.values(", ".join(f"{text} : {value}" for text, value in texts.items()))
    variable.options([option(text, value, selected=text == default) for text, value in texts.items()])
    variable.current(option(default, texts[default]))
    return variable


def flower_address() -> Variable:
    """`$flower_url`, where a browser finds Flower: links to its pages begin with it."""
    local = "http://localhost:5555"
    variable = dashboard.TextBoxVariable("flower_url")
    variable.label("Flower's address")
    variable.description("Where your browser finds Flower, for the links to its pages. No slash at the end.")
    variable.default_value(local)
    variable.options([option(local, local)])
    variable.current(option(local, local))
    return variable


def any_of(name: str, label: str, query: str, everything: str = ".*") -> Variable:
    """A variable with any number of the data's own values; "All" is the regular expression `everything`.

    `.*` also takes what has no such label or an empty one, as the tasks whose name Flower never learnt.
    """
    variable = _from_data(name, label, query, model.VariableSort(5))
    variable.multi(True)
    variable.include_all(True)
    variable.all_value(everything)
    variable.current(option("All", "$__all"))
    return variable


def one_of(name: str, label: str, query: str, default: str, only: str = "") -> Variable:
    """A variable with exactly one of the data's own values; `only` is a regular expression, `/…/`, for them."""
    variable = _from_data(name, label, query, model.VariableSort(3))
    variable.regex(only)
    variable.current(option(default, default))
    return variable


class PrometheusAnnotation(model.AnnotationQuery):
    """An annotation as Grafana's Prometheus plugin reads it: the SDK's type lacks the title, tags and step.

    The step is fixed, and so has to be the range in its query: in annotations Grafana works out `$__interval`
    and `$__rate_interval` wrongly.
    """

    def __init__(self, name: str, title: str, colour: str, expr: str) -> None:
        super().__init__(name=name, datasource=DATASOURCE, icon_color=colour, expr=expr)
        self.title = title

    def to_json(self) -> dict[str, object]:
        """The SDK's fields and the plugin's own."""
        return {**super().to_json(), "titleFormat": self.title, "tagKeys": "job,instance", "step": "60s"}


def _events() -> list[model.AnnotationQuery]:
    """What explains a step or a gap on any graph."""
    return [
        PrometheusAnnotation("A worker went away", "{{app}} went away", "red", _went_away()),
        PrometheusAnnotation("Flower down", "{{instance}} could not be scraped", "orange", _flower_down()),
        PrometheusAnnotation("Data too old", "{{instance}}: no push", "purple", age(">= bool $max_age")),
    ]


def _went_away() -> str:
    """Marks the minute in which a worker was seen for the last time, once it has been away for STAY.

    When a Flower that was frozen wakes up, it takes every worker for gone until it has read their heartbeats: one push
    says so and the next one takes it back. So only what lasts longer than a push counts. The subquery's step tells a
    worker that was 0 all the time from one that nobody knew of; it would take the last sample for those to come, hence
    the last line.
    """
    worker = selector("celery_workers", 'app!=""')
    later = f"{worker}[{STAY}s:10s] offset -{STAY}s"
    return (
        f"max_over_time({worker}[70s]) == 1 and max_over_time({later}) == 0 "
        f"and count_over_time({later}) >= {STAY // 10} "
        f"and max_over_time({worker}[70s] offset -{STAY + 70}s) == 0"
    )


def _flower_down() -> str:
    """Marks the time that nothing was known of a Flower: from before a push that says so to the next good one.

    The push that failed began when its deadline did, and what went wrong began after the last good push: up to a
    minute and a deadline before. Without that, two and a half minutes would be one line.
    """
    before = f"min_over_time({selector('flower_up')}[2m] offset -2m) == 0"
    return f"(({fresh('flower_up')}) == 0 or {before} and {FRESH}) + 1"


def _from_data(name: str, label: str, query: str, sort: model.VariableSort) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name)
    variable.label(label)
    variable.datasource(DATASOURCE)
    variable.query({"query": query, "refId": name})
    variable.sort(sort)
    variable.refresh(model.VariableRefresh(2))
    return variable


def _other_dashboards() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Celery by Flower")
    link.type(model.DashboardLinkType("dashboards"))
    link.tags([TAG])
    link.include_vars(True)
    link.keep_time(True)
    return link


def option(text: str, value: str, *, selected: bool = True) -> model.VariableOption:
    """A value that a variable may have, and what the list says for it."""
    return model.VariableOption(text=text, value=value, selected=selected)
