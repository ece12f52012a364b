"""What surrounds the panels: the dashboard's head, variables, annotations and links, and rows on the grid."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from grafana.panels import DATASOURCE, AnyPanel
from grafana.queries import CHOSEN, age, fresh, fresh_window

TAG = "celery-by-flower"

Variable = Builder[model.VariableModel]


@dataclass(frozen=True)
class Row:
    """Panels under a heading, or without one if `title` is empty. They wrap where 24 cells are full."""

    title: str
    panels: Sequence[AnyPanel]


def framed(
    title: str, uid: str, description: str, rows: Sequence[Row], variables: Sequence[Variable]
) -> model.Dashboard:
    """A whole dashboard, its panels numbered in reading order."""
    board = dashboard.Dashboard(title)
    board.uid(uid)
    board.description(description)
    board.tags([TAG])
    board.editable()
    board.timezone("browser")
    board.time("now-1h", "now")
    board.refresh("1m")
    board.tooltip(model.DashboardCursorSync(1))
    board.variables(list(variables))
    board.link(_other_dashboards())
    number = 0
    for row in rows:
        if row.title:
            number += 1
            board.with_row(dashboard.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            board.with_panel(panel.id(number))
    built: model.Dashboard = board.build()
    built.annotations = model.AnnotationContainer(list_val=_events())
    return built


def common_variables() -> list[Variable]:
    """The data source, which jobs, which Flowers and which task types."""
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        any_of("job", "Job", "label_values(push_job_build_info, job)"),
        any_of("instance", "Flower", 'label_values(push_job_build_info{job=~"$job"}, instance)'),
        any_of("task_type", "Task type", f"label_values(celery_task_types_by_state{{{CHOSEN}}}, task_type)"),
    ]


def time_variables() -> list[Variable]:
    """`$TIME_FRAME`, the window of a rate, and `$max_age`, the age in seconds at which numbers are hidden."""
    windows = ("1m", "5m", "15m", "30m", "1h", "6h", "1d")
    frame = dashboard.IntervalVariable("TIME_FRAME").label("Window").values(",".join(windows))
    frame.description("The window that rates and increases are taken over.")
    frame.options([option(window, window, selected=window == "5m") for window in windows])
    frame.current(option("5m", "5m"))
    ages = {"1m": "60", "2m": "120", "5m": "300", "15m": "900", "1h": "3600"}
    max_age = dashboard.CustomVariable("max_age").label("Hide data older than")
    max_age.description("A group whose last push is older than this drops out of all panels but those of its age.")
    max_age.values(", ".join(f"{text} : {seconds}" for text, seconds in ages.items()))
    max_age.options([option(text, seconds, selected=text == "5m") for text, seconds in ages.items()])
    max_age.current(option("5m", "300"))
    return [frame, max_age]


def any_of(name: str, label: str, query: str) -> Variable:
    """A variable with any number of the data's own values; "All" is the regular expression `.*`."""
    variable = _from_data(name, label, query, model.VariableSort(5))
    variable.multi(True)
    variable.include_all(True)
    variable.all_value(".*")
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
    went_away = fresh_window("resets", "celery_workers", 'app!=""', window="3m")
    down = fresh("flower_up", call="{} == bool 0")
    return [
        PrometheusAnnotation("A worker went away", "{{app}} went away", "red", f"({went_away}) > 0"),
        PrometheusAnnotation("Flower down", "{{instance}} could not be scraped", "orange", down),
        PrometheusAnnotation("Data too old", "{{instance}}: no push", "purple", age(">= bool $max_age")),
    ]


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
