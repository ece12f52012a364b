"""How each kind of panel looks and asks: the house's defaults around the SDK's builders.

Three rules stand behind the defaults:

- A panel that shows one number asks for the instant, or for a range that ends in NaN where nobody knows: the last
  value of a range is an old value as soon as the guard hides the present.
- A graph leaves gaps where there is no data.
- Where nobody knows, the panel says so in grey. Green is for what is known to be well.

The SDK's enums are looked up by value, because mypy reads this for Python 3.10, which has no `StrEnum`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

Steps = Sequence[tuple[str, float | None]]
"""Thresholds: a colour and the value it starts at, the first without one."""

Words = dict[str, tuple[str, str]]
"""What is written for a value, and its colour; the most important first."""

NEUTRAL: Steps = (("blue", None),)
UP: Steps = (("red", None), ("green", 1.0))
GOOD_IS_HIGH: Steps = (("red", None), ("orange", 0.7), ("green", 0.94))

GREY = "#7b8087"
"""Of what nobody knows: readable on a light and on a dark page."""

SECONDS = "suffix: s"
"""The unit of a graph's axis: of `s` Grafana makes ticks like 4.17 min."""

NO_DATA = "no fresh data"

TILE = 4
"""The width of a panel of one number."""

HALF = 12
"""The width of a panel with a legend beside its graph: narrower, names would not be readable on a laptop."""

LONG_NAME = r"/^(?=.{28})(?:.*?\.(?=.{1,27}$)|.*(?=.{27}$))(.*)$/"
END_OF_NAME = "…$1"
"""Of a longer name, its end, from a dot if there is one: it tells types apart, and leaves room for the value."""

AnyPanel = heatmap.Panel | stat.Panel | statetimeline.Panel | tables.Panel | timeseries.Panel
Kind = TypeVar("Kind", heatmap.Panel, stat.Panel, statetimeline.Panel, tables.Panel, timeseries.Panel)


@dataclass(frozen=True)
class About:
    """What every panel has: its words, Grafana's name of its unit, its size in grid cells (24 are a row).

    `empty` is what stands there, in grey, when there is nothing to show.
    """

    title: str
    description: str
    unit: str
    width: int
    height: int
    steps: Steps = NEUTRAL
    empty: str = NO_DATA


@dataclass(frozen=True)
class Query:
    """One PromQL query of a panel and the legend of its series, e.g. `{{name}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Link:
    """Where a click on a name leads; `url` may name what was clicked, e.g. `${__field.labels.task_type}`."""

    title: str
    url: str

    def to_json(self) -> dict[str, object]:
        """As Grafana has it; another server's page opens beside this one."""
        return {"title": self.title, "url": self.url, "targetBlank": not self.url.startswith("/")}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        field: Grafana's name of it: a label, `Value` for the one query's number, `Value #A` and so on for several.
        width: in pixels; 0: what the others leave.
        link: where a click leads. Only one: Grafana does not cut long names that have several.
        short: of a long name, its end.
        words: written in colour instead of the number.
        bar: the number as a bar in the colour of its threshold; `most` is where it is full, None: at the largest.
    """

    field: str
    heading: str
    width: int = 0
    unit: str = ""
    words: Words | None = None
    bar: bool = False
    most: float | None = None
    steps: Steps = ()
    link: Link | None = None
    short: bool = False

    def settings(self) -> list[model.DynamicConfigValue]:
        """What sets it apart from the table's other columns."""
        own: dict[str, object] = {}
        if self.width:
            own["custom.width"] = self.width
        if self.unit:
            own["unit"] = self.unit
        if self.words:
            own |= {"mappings": [_mapping(self.words)], "custom.displayMode": "color-text"}
        if self.bar:
            own |= {"custom.displayMode": "basic", "min": 0, "color": {"mode": "thresholds"}}
        if self.most is not None:
            own["max"] = self.most
        if self.steps:
            own["thresholds"] = {"mode": "absolute", "steps": [{"color": c, "value": v} for c, v in self.steps]}
        if self.short:
            result = {"text": END_OF_NAME, "index": 0}
            own["mappings"] = [{"type": "regex", "options": {"pattern": LONG_NAME, "result": result}}]
        if self.link:
            own["links"] = [self.link.to_json()]
        if self.field.startswith("Value"):
            own["noValue"] = "-"
        return [model.DynamicConfigValue(id_val=name, value=value) for name, value in own.items()]


def not_pushed(extra: str) -> str:
    """What stands in an empty panel of an extra."""
    return f"{NO_DATA}, or not pushed: --with {extra}"


def numbers(about: About, *asked: Query, words: Words | None = None, named: bool = False) -> stat.Panel:
    """One number a series, as of now. `named` writes the legend beside it."""
    panel = _stat(about, words or {})
    panel.text_mode(choices.BigValueTextMode("value_and_name" if named else "value"))
    panel.graph_mode(choices.BigValueGraphMode("none"))
    return _dressed(panel, about, [_at_this_instant(query, number) for number, query in enumerate(asked)])


def spark(about: About, query: Query, words: Words | None = None) -> stat.Panel:
    """One number over the line of its past; the query ends in NaN where nobody knows (`or_nobody_knows`)."""
    panel = _stat(about, words or {})
    panel.text_mode(choices.BigValueTextMode("value"))
    panel.graph_mode(choices.BigValueGraphMode("area"))
    return _dressed(panel, about, [_over_time(query, 0)])


def lines(about: About, *asked: Query, links: Sequence[Link] = (), most: float | None = None) -> timeseries.Panel:
    """A graph over time, its legend beside it. `most` is the axis' usual end, exceeded if the data is."""
    panel = timeseries.Panel()
    panel.line_width(1)
    panel.fill_opacity(0)
    panel.show_points(choices.VisibilityMode("never"))
    panel.span_nulls(False)
    panel.axis_soft_min(0)
    if most is not None:
        panel.axis_soft_max(most)
    panel.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId("palette-classic")))
    panel.legend(_legend_beside())
    tooltip = common.VizTooltipOptions().mode(choices.TooltipDisplayMode("multi"))
    panel.tooltip(tooltip.sort(choices.SortOrder("desc")))
    panel.no_value(about.empty)
    panel.with_transformation(
        model.DataTransformerConfig(id_val="renameByRegex", options={"regex": LONG_NAME, "renamePattern": END_OF_NAME})
    )
    if links:
        panel.data_links([_data_link(link) for link in links])
    return _dressed(panel, about, [_over_time(query, number) for number, query in enumerate(asked)])


def table(about: About, *asked: Query, columns: Sequence[Column], sorted_by: str, falling: bool = True) -> tables.Panel:
    """A table, one row for each set of labels; fields that `columns` does not name are left out."""
    order = {column.field: place for place, column in enumerate(columns)}
    kept = {"include": {"names": list(order)}}
    headings = {column.field: column.heading for column in columns}
    headed = {"excludeByName": {}, "indexByName": order, "renameByName": headings}
    panel = tables.Panel()
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(model.DataTransformerConfig(id_val="filterFieldsByName", options=kept))
    panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=headed))
    panel.sort_by([common.TableSortByFieldState().display_name(sorted_by).desc(falling)])
    panel.no_value(about.empty)
    for column in columns:
        if settings := column.settings():
            panel.override_by_name(column.heading, settings)
    return _dressed(panel, about, [_as_table(query, number) for number, query in enumerate(asked)])


def timelines(about: About, query: Query, words: Words) -> statetimeline.Panel:
    """One bar a series that changes its colour with the value."""
    panel = statetimeline.Panel()
    panel.merge_values(True)
    panel.show_value(choices.VisibilityMode("never"))
    panel.row_height(0.8)
    panel.line_width(0)
    panel.fill_opacity(80)
    legend = common.VizLegendOptions().display_mode(choices.LegendDisplayMode("list")).calcs([])
    panel.legend(legend.placement(choices.LegendPlacement("bottom")).show_legend(True))
    panel.mappings([_mapping(words)])
    panel.no_value(about.empty)
    return _dressed(panel, about, [_over_time(query, 0)])


def heat(about: About, query: Query) -> heatmap.Panel:
    """Buckets over time; `about.unit` is that of the buckets' bounds."""
    panel = heatmap.Panel()
    panel.calculate(False)
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode("scheme")).scheme("Oranges").steps(64))
    panel.y_axis(heatmap.YAxisConfig().unit(about.unit).axis_placement(choices.AxisPlacement("left")))
    panel.scale_distribution(common.ScaleDistributionConfig().type(choices.ScaleDistribution("linear")))
    panel.show_tooltip()
    panel.show_legend()
    panel.no_value(about.empty)
    return _dressed(panel, about, [_over_time(query, 0).format(PromQueryFormat("heatmap"))])


def with_steps(panel: stat.Panel, number: int, steps: Steps) -> stat.Panel:
    """Gives what one query answers thresholds of its own: 0 is the first query."""
    value = {"mode": "absolute", "steps": [{"color": colour, "value": start} for colour, start in steps]}
    panel.override_by_query(_letter(number), [model.DynamicConfigValue(id_val="thresholds", value=value)])
    return panel


def _stat(about: About, words: Words) -> stat.Panel:
    unknown = model.ValueMappingResult(text=about.empty, color=GREY, index=len(words))
    nobody_knows = model.DashboardSpecialValueMapOptions(match=model.SpecialValueMatch("null+nan"), result=unknown)
    panel = stat.Panel()
    panel.color_mode(choices.BigValueColorMode("background"))
    panel.reduce_options(common.ReduceDataOptions().calcs(["last"]))
    panel.text(common.VizTextDisplayOptions().title_size(12).value_size(28))
    known = [_mapping(words)] if words else []
    panel.mappings([*known, model.SpecialValueMap(options=nobody_knows)])
    panel.no_value(about.empty)
    return panel


def _mapping(words: Words) -> model.ValueMap:
    results = {
        value: model.ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(words.items())
    }
    return model.ValueMap(options=results)


def _data_link(link: Link) -> dashboard.DashboardLink:
    built = dashboard.DashboardLink(link.title)
    built.url(link.url)
    built.target_blank(not link.url.startswith("/"))
    return built


def _dressed(panel: Kind, about: About, targets: Sequence[prometheus.Dataquery]) -> Kind:
    steps = [model.Threshold(color=colour, value=start) for colour, start in about.steps]
    panel.title(about.title)
    panel.description(about.description)
    panel.unit(about.unit)
    panel.span(about.width)
    panel.height(about.height)
    panel.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode("absolute")).steps(steps))
    panel.datasource(DATASOURCE)
    for target in targets:
        panel.with_target(target)
    return panel


def _at_this_instant(query: Query, number: int) -> prometheus.Dataquery:
    target = _target(query, number)
    target.instant()
    return target


def _over_time(query: Query, number: int) -> prometheus.Dataquery:
    target = _target(query, number)
    target.range()
    return target


def _as_table(query: Query, number: int) -> prometheus.Dataquery:
    target = _at_this_instant(query, number)
    target.format(PromQueryFormat("table"))
    return target


def _target(query: Query, number: int) -> prometheus.Dataquery:
    target = prometheus.Dataquery()
    target.datasource(DATASOURCE)
    target.ref_id(_letter(number))
    target.editor_mode(QueryEditorMode("code"))
    target.format(PromQueryFormat("time_series"))
    target.expr(query.expr)
    if "$TIME_FRAME" in query.expr:
        # What is pushed changes once a push: $__rate_interval, the window's `auto`, is four times this or more.
        target.interval("1m")
    target.legend_format(query.legend)
    return target


def _letter(number: int) -> str:
    return "ABCDEFGH"[number]


def _legend_beside() -> common.VizLegendOptions:
    legend = common.VizLegendOptions()
    legend.display_mode(choices.LegendDisplayMode("table"))
    legend.placement(choices.LegendPlacement("right"))
    legend.show_legend(True)
    legend.calcs(["lastNotNull"])
    legend.sort_by("Last *")
    legend.sort_desc(True)
    return legend
