"""How each kind of panel looks and asks: the house's defaults around the SDK's builders.

Two rules stand behind the defaults:

- A panel that shows one number asks for the instant, never for a range: the last value of a range is an old
  value as soon as the guard hides the present.
- A graph leaves gaps where there is no data.

The SDK's enums are looked up by value, because mypy reads this for Python 3.10, which has no `StrEnum`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

Steps = Sequence[tuple[str, float | None]]
"""Thresholds: a colour and the value it starts at, the first without one."""

PLAIN: Steps = (("green", None),)
UP: Steps = (("red", None), ("green", 1.0))
GOOD_IS_HIGH: Steps = (("red", None), ("orange", 0.7), ("green", 0.94))

AnyPanel = bargauge.Panel | heatmap.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel
Kind = TypeVar("Kind", bargauge.Panel, heatmap.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel)


@dataclass(frozen=True)
class About:
    """What every panel has: its words, Grafana's name of its unit, its size in grid cells (24 are a row)."""

    title: str
    description: str
    unit: str
    width: int
    height: int
    steps: Steps = PLAIN


@dataclass(frozen=True)
class Query:
    """One PromQL query of a panel and the legend of its series, e.g. `{{name}}`."""

    expr: str
    legend: str = ""


def numbers(about: About, *asked: Query, named: bool = False, filled: bool = True) -> stat.Panel:
    """One number a series. `named` writes the legend beside it, `filled` colours the whole field."""
    panel = stat.Panel()
    panel.color_mode(choices.BigValueColorMode("background" if filled else "value"))
    panel.text_mode(choices.BigValueTextMode("value_and_name" if named else "value"))
    panel.graph_mode(choices.BigValueGraphMode("none"))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.no_value("no fresh data")
    return _dressed(panel, about, [_at_this_instant(query, number) for number, query in enumerate(asked)])


def lines(about: About, *asked: Query) -> timeseries.Panel:
    """A graph over time."""
    panel = timeseries.Panel()
    panel.line_width(1)
    panel.fill_opacity(8)
    panel.show_points(choices.VisibilityMode("auto"))
    panel.span_nulls(False)
    panel.axis_soft_min(0)
    panel.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId("palette-classic")))
    panel.legend(_legend_below())
    tooltip = common.VizTooltipOptions().mode(choices.TooltipDisplayMode("multi"))
    panel.tooltip(tooltip.sort(choices.SortOrder("desc")))
    return _dressed(panel, about, [_over_time(query, number) for number, query in enumerate(asked)])


def bars(about: About, query: Query) -> bargauge.Panel:
    """A ranking: one horizontal bar a series, with its number."""
    panel = bargauge.Panel()
    panel.orientation(choices.VizOrientation("horizontal"))
    panel.display_mode(choices.BarGaugeDisplayMode("gradient"))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.min(0)
    panel.no_value("none")
    return _dressed(panel, about, [_at_this_instant(query, 0)])


def rows(about: About, *asked: Query, columns: dict[str, str], sorted_by: str, falling: bool = True) -> table.Panel:
    """A table, one row for each set of labels.

    `columns` maps what Grafana calls a field to its heading, in order: a label, `Value` for the one query's
    number, `Value #A` and so on where there are several queries. Fields that are not named are left out.
    """
    order = {field: place for place, field in enumerate(columns)}
    kept = {"include": {"names": list(columns)}}
    headed = {"excludeByName": {}, "indexByName": order, "renameByName": columns}
    panel = table.Panel()
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(model.DataTransformerConfig(id_val="filterFieldsByName", options=kept))
    panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=headed))
    panel.sort_by([common.TableSortByFieldState().display_name(sorted_by).desc(falling)])
    return _dressed(panel, about, [_as_table(query, number) for number, query in enumerate(asked)])


def timelines(about: About, query: Query) -> statetimeline.Panel:
    """One bar a series that changes its colour with the value."""
    panel = statetimeline.Panel()
    panel.merge_values(True)
    panel.show_value(choices.VisibilityMode("never"))
    panel.row_height(0.8)
    panel.line_width(0)
    panel.fill_opacity(80)
    panel.legend(_legend_below())
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
    return _dressed(panel, about, [_over_time(query, 0).format(PromQueryFormat("heatmap"))])


def two_values(panel: Kind, one: str, zero: str) -> Kind:
    """Writes the word `one` in green for 1, `zero` in red for 0."""
    words = {
        "1": model.ValueMappingResult(text=one, color="green", index=0),
        "0": model.ValueMappingResult(text=zero, color="red", index=1),
    }
    panel.mappings([model.ValueMap(options=words)])
    return panel


def coloured(panel: Kind, *colours: str) -> Kind:
    """Gives what each query answers one colour, at any value: the first colour to the first query."""
    for number, colour in enumerate(colours):
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel.override_by_query(_letter(number), [model.DynamicConfigValue(id_val="color", value=fixed)])
    return panel


def column(panel: table.Panel, heading: str, **settings: object) -> table.Panel:
    """Sets one column apart, e.g. `unit="short"`."""
    properties = [model.DynamicConfigValue(id_val=name, value=value) for name, value in settings.items()]
    panel.override_by_name(heading, properties)
    return panel


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
    target.legend_format(query.legend)
    return target


def _letter(number: int) -> str:
    return "ABCDEFGH"[number]


def _legend_below() -> common.VizLegendOptions:
    # No "last" value beside a name: behind a gap it would be an old one.
    legend = common.VizLegendOptions()
    legend.display_mode(choices.LegendDisplayMode("list"))
    legend.placement(choices.LegendPlacement("bottom"))
    legend.show_legend(True)
    legend.calcs([])
    return legend
