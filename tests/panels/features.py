"""Features of Grafana's dashboard JSON, and the versions that have them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

OLDEST = (9, 4)
"""The oldest supported Grafana, as in docs/panels.md."""

Feature = tuple[str, str]
"""A path in the JSON and its value if only certain values are allowed; otherwise an empty text."""

FREE = re.compile(
    r"""
    (^|\.)(title|description|expr|legendFormat|name|label|text|value|query|refId|regex|titleFormat|tagKeys|step|uid
      |allValue|noValue|from|to|refresh|url|tooltip|icon|displayName|names|sortBy|color|fixedColor|iconColor|tags
      |interval|renamePattern|pattern|renameByName\.\*|matcher\.options)$
    """,
    re.VERBOSE,
)
"""Paths that may have any text."""

SINCE: Mapping[str, str] = {
    "8.5": """
        annotations.list.datasource.type = prometheus
        annotations.list.datasource.uid
        annotations.list.enable
        annotations.list.expr
        annotations.list.hide
        annotations.list.iconColor
        annotations.list.name
        annotations.list.step
        annotations.list.tagKeys
        annotations.list.titleFormat
        description
        editable
        field.color.fixedColor
        field.color.mode = continuous-YlRd | fixed | palette-classic | thresholds
        field.links.targetBlank
        field.links.title
        field.links.url
        field.mappings.options.*.color
        field.mappings.options.*.index
        field.mappings.options.*.text
        field.mappings.options.match = null+nan
        field.mappings.options.pattern
        field.mappings.options.result.color
        field.mappings.options.result.index
        field.mappings.options.result.text
        field.mappings.type = regex | special | value
        field.max
        field.min
        field.noValue
        field.thresholds.mode = absolute
        field.thresholds.steps.color
        field.thresholds.steps.value
        field.unit = locale | none | percentunit | s | short
        fiscalYearStartMonth
        graphTooltip
        id
        links.asDropdown
        links.icon
        links.includeVars
        links.keepTime
        links.tags
        links.targetBlank
        links.title
        links.tooltip
        links.type = dashboards
        links.url
        override.matcher.id = byName
        override.matcher.options
        panel.collapsed
        panel.datasource.type = prometheus
        panel.datasource.uid
        panel.description
        panel.gridPos.h
        panel.gridPos.w
        panel.gridPos.x
        panel.gridPos.y
        panel.id
        panel.repeatDirection = h
        panel.targets.datasource.type = prometheus
        panel.targets.datasource.uid
        panel.targets.expr
        panel.targets.format = heatmap | table | time_series
        panel.targets.instant
        panel.targets.interval
        panel.targets.legendFormat
        panel.targets.refId
        panel.title
        panel.transformations.id = filterFieldsByName | merge | organize | renameByRegex
        panel.transformations.options.include.names
        panel.transformations.options.indexByName.*
        panel.transformations.options.regex
        panel.transformations.options.renameByName.*
        panel.transformations.options.renamePattern
        panel.transparent
        panel.type = row | stat | state-timeline | table | timeseries
        refresh
        schemaVersion
        stat.options.colorMode = background
        stat.options.graphMode = none
        stat.options.justifyMode = auto
        stat.options.orientation = auto
        stat.options.reduceOptions.calcs = last
        stat.options.textMode = name
        state-timeline.custom.fillOpacity
        state-timeline.custom.lineWidth
        state-timeline.options.alignValue = left
        state-timeline.options.legend.displayMode = list
        state-timeline.options.legend.placement = bottom
        state-timeline.options.mergeValues
        state-timeline.options.rowHeight
        state-timeline.options.showValue = never
        state-timeline.options.tooltip.mode = single
        state-timeline.options.tooltip.sort = asc
        style = dark
        table.custom.displayMode = basic | color-text
        table.custom.width
        table.options.footer.show
        table.options.frameIndex
        table.options.showHeader
        table.options.sortBy.desc
        table.options.sortBy.displayName
        tags
        templating.list.allValue
        templating.list.auto
        templating.list.auto_count
        templating.list.auto_min = 10s
        templating.list.current.selected
        templating.list.current.text
        templating.list.current.value
        templating.list.datasource.type = prometheus
        templating.list.datasource.uid
        templating.list.description
        templating.list.hide
        templating.list.includeAll
        templating.list.label
        templating.list.multi
        templating.list.name
        templating.list.options.selected
        templating.list.options.text
        templating.list.options.value
        templating.list.query
        templating.list.query.query
        templating.list.query.refId
        templating.list.refresh
        templating.list.regex
        templating.list.skipUrlSync
        templating.list.sort
        templating.list.type = custom | datasource | query | textbox
        time.from
        time.to
        timeseries.custom.axisSoftMax
        timeseries.custom.axisSoftMin
        timeseries.custom.fillOpacity
        timeseries.custom.lineWidth
        timeseries.custom.showPoints = never
        timeseries.custom.spanNulls
        timeseries.options.legend.displayMode = list
        timeseries.options.legend.placement = bottom
        timeseries.options.tooltip.mode = multi
        timeseries.options.tooltip.sort = desc
        timezone = browser
        title
        uid
    """,
    "9.0": """
        panel.targets.editorMode = code
        panel.targets.range
    """,
    "9.1": """
        heatmap.custom.scaleDistribution.type = linear
        heatmap.options.calculate
        heatmap.options.cellGap
        heatmap.options.color.exponent
        heatmap.options.color.fill
        heatmap.options.color.mode = scheme
        heatmap.options.color.reverse
        heatmap.options.color.scheme = Oranges
        heatmap.options.color.steps
        heatmap.options.exemplars.color
        heatmap.options.filterValues.le
        heatmap.options.legend.show
        heatmap.options.showValue = auto
        heatmap.options.tooltip.show
        heatmap.options.yAxis.axisPlacement = left
        heatmap.options.yAxis.unit = s
        panel.type = heatmap
    """,
    "9.2": """
        state-timeline.options.legend.showLegend
        timeseries.options.legend.showLegend
    """,
}
"""Paths and their allowed values, by the Grafana version that introduced them; "8.5" means 8.5 or earlier.

Sources: the types in the npm packages of Grafana's schema and data libraries, 8.5.27 and 9.4.3, and its documentation
of the JSON model, panels and transformations. Newer than 9.4, and therefore absent: the colour mode
palette-classic-by-name; cellOptions (all versions read displayMode), cellHeight and showTypeIcons of a table;
wideLayout of a stat; the `id` of a variable, without which Grafana identifies variables by name.
"""


def features(board: Mapping[str, Any]) -> set[Feature]:
    """Return all features that the JSON of a dashboard uses."""
    panels = [one for panel in board["panels"] for one in (panel, *panel.get("panels", []))]
    found = set(_walk({name: value for name, value in board.items() if name != "panels"}, ""))
    for panel in panels:
        own = {name: value for name, value in panel.items() if name not in {"panels", "fieldConfig", "options"}}
        found |= set(_walk(own, "panel"))
        found |= set(_walk(panel.get("options", {}), f"{panel['type']}.options"))
        config = panel.get("fieldConfig", {})
        found |= set(_walk(config.get("defaults", {}), "field"))
        found |= set(_walk(config.get("defaults", {}).get("custom", {}), f"{panel['type']}.custom"))
        for override in config.get("overrides", []):
            found |= set(_walk(override["matcher"], "override.matcher"))
            for setting in override["properties"]:
                own_setting = setting["id"].startswith("custom.")
                path = f"{panel['type']}.{setting['id']}" if own_setting else f"field.{setting['id']}"
                found |= set(_walk(setting["value"], path))
    return {feature for feature in found if not feature[0].startswith("field.custom")}


def _walk(value: Any, path: str) -> Iterator[Feature]:
    if isinstance(value, dict):
        for name, inner in value.items():
            step = (
                "*" if path.endswith(("renameByName", "indexByName", "mappings.options")) and _is_data(name) else name
            )
            yield from _walk(inner, f"{path}.{step}" if path else step)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, path)
    elif isinstance(value, str) and value and not FREE.search(path):
        yield path, value
    else:
        yield path, ""


def _is_data(name: str) -> bool:
    return name not in {"match", "pattern", "result"}


def allowed(version: tuple[int, int] = OLDEST) -> set[Feature]:
    """Return the features that a Grafana version has."""
    found: set[Feature] = set()
    for since, lines in SINCE.items():
        major, minor = since.split(".")
        if (int(major), int(minor)) <= version:
            for line in lines.split("\n"):
                path, _, words = line.strip().partition(" = ")
                found |= {(path, word) for word in words.split(" | ")}
    return found
