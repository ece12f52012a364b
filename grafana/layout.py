"""Layout of a dashboard: settings, rows, variables, annotations and links."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from grafana.alert_limits import age_limit
from grafana.panel_types import DATASOURCE, AnyPanel
from grafana.queries import CHOSEN, PUSHED, age, fresh, selector, too_old

TAG = "celery-by-flower"

MIN_ABSENCE = 150
"""Seconds after which an absent worker is marked as gone: longer than the longest interval between pushes."""

HIDDEN = model.VariableHide(2)

Variable = Builder[model.VariableModel]


@dataclass(frozen=True)
class Row:
    """A row of panels, which wrap after 24 cells of the grid.

    Attributes:
        title: heading of the row; empty for none.
        collapsed: show only the heading until it is clicked. Grafana sends no queries before that.
    """

    title: str
    panels: Sequence[AnyPanel]
    collapsed: bool = False


def build_dashboard(
    title: str, uid: str, description: str, rows: Sequence[Row], variables: Sequence[Variable]
) -> model.Dashboard:
    """Return a dashboard, with its panels numbered in reading order."""
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
    built.annotations = model.AnnotationContainer(list_val=_annotations())
    return built


def common_variables() -> list[Variable]:
    """Return the variables for the data source, jobs, Flowers and task types."""
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        any_of("job", "Job", "label_values(push_job_build_info, job)", all_value=".+"),
        any_of("instance", "Flower", 'label_values(push_job_build_info{job=~"$job"}, instance)', all_value=".+"),
        any_of("task_type", "Task type", f"label_values(celery_task_types_by_state{{{CHOSEN}}}, task_type)"),
    ]


def window() -> Variable:
    """Return the variable `$TIME_FRAME`, the window of rates."""
    windows = {window: window for window in ("1m", "5m", "15m", "30m", "1h", "6h", "1d")}
    frame = choice("TIME_FRAME", "Window", {"auto": "$__rate_interval", **windows}, "5m")
    frame.description("The window of rates. auto: depends on the selected range and contains at least four pushes.")
    return frame


def max_age() -> Variable:
    """Return `$max_age` (seconds).

    Only the URL or the dashboard's settings change it.
    """
    ages = {"1m": "60", "2m": "120", "5m": "300", "15m": "900", "1h": "3600"}
    default = next(text for text, seconds in ages.items() if int(seconds) == age_limit())
    variable = choice("max_age", "Hide data older than", ages, default)
    variable.description("Panels hide groups whose last push is older than this, except panels about the age itself.")
    variable.hide(HIDDEN)
    return variable


def choice(name: str, label: str, texts: Mapping[str, str], default: str) -> dashboard.CustomVariable:
    """Return a variable with one of some values; `texts` maps text to value."""
    variable = dashboard.CustomVariable(name)
    variable.label(label)
    variable.values(", ".join(f"{text} : {value}" for text, value in texts.items()))
    variable.options([option(text, value, selected=text == default) for text, value in texts.items()])
    variable.current(option(default, texts[default]))
    return variable


def flower_address() -> dashboard.TextBoxVariable:
    """Return `$flower_url`, the address of Flower for links to its pages.

    It is hidden like `$max_age`.
    """
    local = "http://localhost:5555"
    variable = dashboard.TextBoxVariable("flower_url")
    variable.label("Flower's address")
    variable.description("Address of Flower in your browser, for links to its pages. Without a trailing slash.")
    variable.hide(HIDDEN)
    variable.default_value(local)
    variable.options([option(local, local)])
    variable.current(option(local, local))
    return variable


def any_of(name: str, label: str, query: str, all_value: str = ".*") -> Variable:
    """Return a variable with any values from the data.

    `all_value` is the regular expression for "All".

    `.*` also matches series without the label, or with an empty one.
    """
    variable = _from_data(name, label, query, model.VariableSort(5))
    variable.multi(True)
    variable.include_all(True)
    variable.all_value(all_value)
    variable.current(option("All", "$__all"))
    return variable


def one_of(name: str, label: str, query: str, default: str, only: str = "") -> Variable:
    """Return a variable with one value from the data, filtered by the regex `only`."""
    variable = _from_data(name, label, query, model.VariableSort(3))
    variable.regex(only)
    variable.current(option(default, default))
    return variable


class PrometheusAnnotation(model.AnnotationQuery):
    """A Prometheus annotation with title, tags and step, which the SDK lacks.

    The step and the ranges in the query are fixed, because Grafana computes `$__interval` and `$__rate_interval` of
    annotations incorrectly.
    """

    def __init__(self, name: str, title: str, colour: str, expr: str) -> None:
        super().__init__(name=name, datasource=DATASOURCE, icon_color=colour, expr=expr, hide=True)
        self.title = title

    def to_json(self) -> dict[str, object]:
        """Return the fields of the SDK and those of the plugin."""
        return {**super().to_json(), "titleFormat": self.title, "tagKeys": "job,instance", "step": "60s"}


def _annotations() -> list[model.AnnotationQuery]:
    """Return the annotations that explain steps and gaps on the graphs."""
    return [
        PrometheusAnnotation("A worker went away", "{{app}} went away", "red", _worker_went_away()),
        PrometheusAnnotation("Flower down", "{{instance}} could not be scraped", "orange", _flower_down()),
        PrometheusAnnotation(
            "Data too old", "{{instance}}: no push", "purple", f"0 * ({too_old()}) + 1 or 0 * ({age()})"
        ),
    ]


def _worker_went_away() -> str:
    """Return a query for the last minute of a worker before an absence.

    A frozen Flower that resumes reports all workers as gone until it has read their heartbeats. The next push corrects
    that, so only a longer absence counts. `count_over_time` on the subquery distinguishes a worker that was 0 from one
    without samples. The subquery repeats the last sample into the future, which the last line excludes.
    """
    worker = selector("celery_workers", 'app!=""')
    later = f"{worker}[{MIN_ABSENCE}s:10s] offset -{MIN_ABSENCE}s"
    return (
        f"max_over_time({worker}[70s]) == 1 and max_over_time({later}) == 0 "
        f"and count_over_time({later}) >= {MIN_ABSENCE // 10} "
        f"and max_over_time({worker}[70s] offset -{MIN_ABSENCE + 70}s) == 0"
    )


def _flower_down() -> str:
    """Return a query that is above 0 while a Flower was down."""
    return f"({fresh('flower_up', call='{} == 0', guard=PUSHED)}) + 1"


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
    """Return a value of a variable and its displayed text."""
    return model.VariableOption(text=text, value=value, selected=selected)
