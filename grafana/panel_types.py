"""Builders for each kind of panel, with the project's defaults.

The defaults follow three rules:

- Tiles and tables query the instant. Otherwise they would show an old value while the guard hides the present.
- A graph shows gaps where there is no data. Its legend has names only: the last value of a line that has ended is old.
- A panel without fresh data says so in grey. Green means that the state is known to be good.

The SDK's enums are looked up by value, because mypy checks for Python 3.10, which has no `StrEnum`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from grafana.queries import BAD, GOOD, NO_DATA, ODD, UNKNOWN

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

Thresholds = Sequence[tuple[str, float | None]]
"""Colours and the values from which on they apply; the first colour has no value."""

ValueTexts = dict[str, tuple[str, str]]
"""Text and colour that replace a value; the most important value first."""

GREY = "#7b8087"
"""Colour of the unknown, readable on light and dark backgrounds."""

NEUTRAL: Thresholds = (("blue", None),)
UP: Thresholds = (("red", None), ("green", 1.0))
GOOD_IS_HIGH: Thresholds = (("red", None), ("orange", 0.7), ("green", 0.94))

LEVELS: Thresholds = ((GREY, None), ("green", GOOD), ("orange", ODD), ("red", BAD))
LEVEL_TEXTS: ValueTexts = {
    str(BAD): ("wrong", "red"),
    str(ODD): ("check", "orange"),
    str(GOOD): ("ok", "green"),
    str(UNKNOWN): ("unknown", GREY),
}
"""Text of a level in a list."""

UP_OR_DOWN: ValueTexts = {"0": ("Down", "red"), "1": ("Up", "green"), str(UNKNOWN): ("Unknown", GREY)}

COUNT = "locale"
"""Unit of a number of tasks: all digits. The unit `short` would print 1.03 K."""

TILE = 4
"""Width of a panel with one number, in grid cells."""

HALF = 12
"""Width of half a row."""

LONG_NAME = r"/^(?=.{28})(?:.*?\.(?=.{1,27}$)|.*\.)(.*)$/"
END_OF_NAME = "…$1"
"""Names longer than 27 characters are cut to their end, from a dot, but not within a word."""

AnyPanel = heatmap.Panel | stat.Panel | statetimeline.Panel | tables.Panel | timeseries.Panel
Kind = TypeVar("Kind", heatmap.Panel, stat.Panel, statetimeline.Panel, tables.Panel, timeseries.Panel)


@dataclass(frozen=True)
class PanelSpec:
    """The common properties of a panel.

    Attributes:
        title: title of the panel, unique on its dashboard.
        description: text of the panel's tooltip.
        unit: Grafana's name of the unit.
        width: width in grid cells, of which a row has 24.
        height: height in grid cells.
        thresholds: colours by value.
        empty: text that is shown in grey if there is no data.
    """

    title: str
    description: str
    unit: str
    width: int
    height: int
    thresholds: Thresholds = NEUTRAL
    empty: str = NO_DATA


@dataclass(frozen=True)
class Query:
    """One PromQL query of a panel and the legend of its series, e.g. `{{name}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Link:
    """A link of a value; `url` may contain Grafana expressions."""

    title: str
    url: str

    def to_json(self) -> dict[str, object]:
        """Return Grafana's form of the link. Links to other servers open in a new tab."""
        return {"title": self.title, "url": self.url, "targetBlank": not self.url.startswith("/")}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        field: Grafana's name of the field: a label, `Value`, or `Value #A` and so on if there are several queries.
        heading: heading of the column.
        width: width in pixels; 0 for the remaining width.
        unit: Grafana's name of the unit.
        texts: texts that replace numbers.
        bar: show the number as a bar in the colour of its threshold.
        maximum: value of a full bar; None for the highest value in the column.
        thresholds: colours by value.
        link: link of the value. Grafana does not cut long names that have several links.
        short: cut long names to their end.
    """

    field: str
    heading: str
    width: int = 0
    unit: str = ""
    texts: ValueTexts | None = None
    bar: bool = False
    maximum: float | None = None
    thresholds: Thresholds = ()
    link: Link | None = None
    short: bool = False

    def settings(self) -> list[model.DynamicConfigValue]:
        """Return the field overrides of the column."""
        own: dict[str, object] = {}
        if self.width:
            own["custom.width"] = self.width
        if self.unit:
            own["unit"] = self.unit
        if self.texts:
            own |= {"mappings": [_mapping(self.texts)], "custom.displayMode": "color-text"}
        if self.bar:
            own |= {"custom.displayMode": "basic", "min": 0, "color": {"mode": "thresholds"}}
        if self.maximum is not None:
            own["max"] = self.maximum
        if self.thresholds:
            own["thresholds"] = {"mode": "absolute", "steps": [{"color": c, "value": v} for c, v in self.thresholds]}
        if self.short:
            result = {"text": END_OF_NAME, "index": 0}
            own["mappings"] = [{"type": "regex", "options": {"pattern": LONG_NAME, "result": result}}]
        if self.link:
            own["links"] = [self.link.to_json()]
        own["noValue"] = "-"
        return [model.DynamicConfigValue(id_val=name, value=value) for name, value in own.items()]


def not_pushed(extra: str) -> str:
    """Return the text of a panel whose extra has no data."""
    return f"{NO_DATA}, or not pushed: --with {extra}"


def tile(spec: PanelSpec, query: str) -> stat.Panel:
    """Return a tile with a coloured text.

    The text is the label `text` of the query's only series. The value of the series is the level.
    """
    spec = replace(spec, thresholds=LEVELS)
    unknown = model.ValueMappingResult(text=spec.empty, color=GREY, index=0)
    without_data = model.DashboardSpecialValueMapOptions(match=model.SpecialValueMatch("null+nan"), result=unknown)
    panel = stat.Panel()
    panel.color_mode(choices.BigValueColorMode("background"))
    panel.reduce_options(common.ReduceDataOptions().calcs(["last"]))
    panel.text_mode(choices.BigValueTextMode("name"))
    panel.graph_mode(choices.BigValueGraphMode("none"))
    panel.mappings([model.SpecialValueMap(options=without_data)])
    panel.no_value(spec.empty)
    return _finished(panel, spec, [_instant_target(Query(query, "{{text}}"), 0)])


def lines(
    spec: PanelSpec,
    *queries: Query,
    links: Sequence[Link] = (),
    maximum: float | None = None,
    colours: Mapping[str, str] = MappingProxyType({}),
    failures: bool = False,
) -> timeseries.Panel:
    """Return a graph.

    Args:
        spec: common properties.
        queries: queries of the lines.
        links: links of a line.
        maximum: soft maximum of the axis.
        colours: colours of lines by name.
        failures: colour the other lines from yellow to red by their last value; the usual first colour is green.
    """
    panel = timeseries.Panel()
    panel.line_width(1)
    panel.fill_opacity(0)
    panel.show_points(choices.VisibilityMode("never"))
    panel.span_nulls(False)
    panel.axis_soft_min(0)
    if maximum is not None:
        panel.axis_soft_max(maximum)
    scheme = model.FieldColorModeId("continuous-YlRd" if failures else "palette-classic")
    panel.color_scheme(dashboard.FieldColor().mode(scheme))
    legend = common.VizLegendOptions().display_mode(choices.LegendDisplayMode("list")).calcs([])
    panel.legend(legend.placement(choices.LegendPlacement("bottom")).show_legend(True))
    tooltip = common.VizTooltipOptions().mode(choices.TooltipDisplayMode("multi"))
    panel.tooltip(tooltip.sort(choices.SortOrder("desc")))
    panel.no_value(spec.empty)
    panel.with_transformation(
        model.DataTransformerConfig(id_val="renameByRegex", options={"regex": LONG_NAME, "renamePattern": END_OF_NAME})
    )
    for name, colour in colours.items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel.override_by_name(name, [model.DynamicConfigValue(id_val="color", value=fixed)])
    if links:
        panel.data_links([_data_link(link) for link in links])
    return _finished(panel, spec, [_range_target(query, number) for number, query in enumerate(queries)])


def table(
    spec: PanelSpec, *queries: Query, columns: Sequence[Column], sorted_by: str, descending: bool = True
) -> tables.Panel:
    """Return a table with one row per set of labels and the given columns."""
    order = {column.field: place for place, column in enumerate(columns)}
    kept = {"include": {"names": list(order)}}
    headings = {column.field: column.heading for column in columns}
    headed = {"excludeByName": {}, "indexByName": order, "renameByName": headings}
    panel = tables.Panel()
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(model.DataTransformerConfig(id_val="filterFieldsByName", options=kept))
    panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=headed))
    panel.sort_by([common.TableSortByFieldState().display_name(sorted_by).desc(descending)])
    panel.no_value(spec.empty)
    for column in columns:
        if settings := column.settings():
            panel.override_by_name(column.heading, settings)
    return _finished(panel, spec, [_table_target(query, number) for number, query in enumerate(queries)])


def timelines(spec: PanelSpec, query: Query, texts: ValueTexts) -> statetimeline.Panel:
    """Return a timeline with one bar per series, whose colour depends on the value."""
    panel = statetimeline.Panel()
    panel.merge_values(True)
    panel.show_value(choices.VisibilityMode("never"))
    panel.row_height(0.8)
    panel.line_width(0)
    panel.fill_opacity(80)
    legend = common.VizLegendOptions().display_mode(choices.LegendDisplayMode("list")).calcs([])
    panel.legend(legend.placement(choices.LegendPlacement("bottom")).show_legend(True))
    panel.mappings([_mapping(texts)])
    panel.no_value(spec.empty)
    return _finished(panel, spec, [_range_target(query, 0)])


def heatmap_panel(spec: PanelSpec, query: Query) -> heatmap.Panel:
    """Return a heatmap of buckets.

    The axis has seconds. The cells have the unit of the panel.
    """
    panel = heatmap.Panel()
    panel.calculate(False)
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode("scheme")).scheme("Oranges").steps(64))
    panel.y_axis(heatmap.YAxisConfig().unit("s").axis_placement(choices.AxisPlacement("left")))
    panel.scale_distribution(common.ScaleDistributionConfig().type(choices.ScaleDistribution("linear")))
    panel.show_tooltip()
    panel.show_legend()
    panel.no_value(spec.empty)
    return _finished(panel, spec, [_range_target(query, 0).format(PromQueryFormat("heatmap"))])


def _mapping(texts: ValueTexts) -> model.ValueMap:
    results = {
        value: model.ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(texts.items())
    }
    return model.ValueMap(options=results)


def _data_link(link: Link) -> dashboard.DashboardLink:
    built = dashboard.DashboardLink(link.title)
    built.url(link.url)
    built.target_blank(not link.url.startswith("/"))
    return built


def _finished(panel: Kind, spec: PanelSpec, targets: Sequence[prometheus.Dataquery]) -> Kind:
    steps = [model.Threshold(color=colour, value=start) for colour, start in spec.thresholds]
    panel.title(spec.title)
    panel.description(spec.description)
    panel.unit(spec.unit)
    panel.span(spec.width)
    panel.height(spec.height)
    panel.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode("absolute")).steps(steps))
    panel.datasource(DATASOURCE)
    for target in targets:
        panel.with_target(target)
    return panel


def _instant_target(query: Query, number: int) -> prometheus.Dataquery:
    target = _target(query, number)
    target.instant()
    return target


def _range_target(query: Query, number: int) -> prometheus.Dataquery:
    target = _target(query, number)
    target.range()
    return target


def _table_target(query: Query, number: int) -> prometheus.Dataquery:
    target = _instant_target(query, number)
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
        # Pushed data changes once a minute. $__rate_interval (the window "auto") is at least four times this interval.
        target.interval("1m")
    target.legend_format(query.legend)
    return target


def _letter(number: int) -> str:
    return "ABCDEFGH"[number]
