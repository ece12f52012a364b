"""The dashboards' JSON: valid for Grafana, complete, and readable on a laptop."""

import itertools
import json
import re
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.generate import DASHBOARDS, serialize
from grafana.health_row import ABOUT
from grafana.panel_types import COUNT, END_OF_NAME, GREY, LONG_NAME
from grafana.queries import FLOWER_LABELS
from push_job.metrics.extras import EXTRAS, families_with
from tests.panels.boards import BOARDS, FOLDER, ROOT, annotations, load, panels, queries_of, variables
from tests.panels.features import OLDEST, allowed, features
from tests.panels.first_screen import FIRST_SCREEN
from tests.panels.test_every_query import rules
from tests.panels.test_prometheus_files import alert_tests

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Grafana 11 and newer have no AngularJS panels (graph, singlestat, table-old and others).
CURRENT_TYPES = {"heatmap", "stat", "state-timeline", "table", "timeseries"}

INSTANT_TYPES = {"stat", "table"}

CONTROLS = ["Data source", "Job", "Flower", "Task type"]

COLUMNS = 24

LAPTOP = 968
"""Width of all panels in a window of 1000 pixels, with 8 pixels between two panels."""

NAMES = 22 * 7
"""Minimum width of the names in a table in pixels: 22 characters."""

NAMES_OF_THINGS = {"name", "task_type", "app", "instance", "extra", "text", "which"}
"""Labels with long values."""

LABELS = {*NAMES_OF_THINGS, "job", "state", "alertname", "severity", "what", "amount"}
"""Labels that may be columns of a table."""

BUILT_IN = {"__range", "__all", "__rate_interval", "__url_time_range", "__value", "__field", "__data"}
"""Variables that Grafana provides, in every version since 8.5."""


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """Return the cells of the grid that a panel or heading covers."""
    place = panel["gridPos"]
    across = range(place["x"], place["x"] + place["w"])
    down = range(place["y"], place["y"] + place["h"])
    return set(itertools.product(across, down))


def test_committed_files_are_up_to_date() -> None:
    assert {path.name for path in FOLDER.iterdir()} == DASHBOARDS.keys()
    for name, dashboard in DASHBOARDS.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == serialize(dashboard()), f"{name}: run `make dashboards`"


@pytest.mark.parametrize("board", BOARDS)
def test_sdk_reads_the_file_and_writes_it_unchanged(board: str) -> None:
    """Fields that the SDK does not know would be lost."""
    register_default_plugins()
    content = load(board)
    assert content.pop("id") is None
    for event in content["annotations"]["list"]:
        # Fields of Grafana's Prometheus plugin that the SDK lacks; see grafana/layout.py.
        assert event.pop("titleFormat")
        assert event.pop("tagKeys") == "job,instance"
        assert event.pop("step") == "60s"
    again = json.loads(serialize(Dashboard.from_json(content)))
    assert again.pop("id") is None
    assert again == content


def test_dashboards_have_different_uids() -> None:
    uids = [load(board)["uid"] for board in BOARDS]
    assert uids == ["celery-by-flower", "celery-by-flower-in-depth", "celery-by-flower-task-type"]


@pytest.mark.parametrize("board", BOARDS)
def test_panel_ids_are_unique(board: str) -> None:
    ids = [panel["id"] for panel in load(board)["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("board", BOARDS)
def test_panels_fill_the_grid_without_overlap(board: str) -> None:
    covered: set[tuple[int, int]] = set()
    for panel in [*load(board)["panels"], *(panel for row in load(board)["panels"] for panel in row.get("panels", []))]:
        assert not covered & cells(panel), panel["title"]
        covered |= cells(panel)
    assert max(x for x, _ in covered) < COLUMNS
    height = max(y for _, y in covered) + 1
    holes = {(x, y) for x in range(COLUMNS) for y in range(height)} - covered
    assert not holes, f"no panel covers column {min(holes)[0]} of line {min(holes)[1]}"


def pixels(panel: dict[str, Any]) -> float:
    """Return the width of a panel on a laptop in pixels."""
    return float(panel["gridPos"]["w"]) / COLUMNS * (LAPTOP + 8) - 8


@pytest.mark.parametrize("board", BOARDS)
def test_oldest_documented_grafana_knows_all_features(board: str) -> None:
    assert f"Grafana {OLDEST[0]}.{OLDEST[1]} and newer" in (ROOT / "docs/panels.md").read_text(encoding="utf-8")
    assert features(load(board)) - allowed() == set()


def test_features_that_broke_panels_are_found() -> None:
    content = load(BOARDS[0])
    (graph, *_) = (panel for panel in content["panels"] if panel["type"] == "timeseries")
    graph["fieldConfig"]["defaults"]["color"]["mode"] = "palette-classic-by-name"
    (table, *_) = (panel for panel in content["panels"] if panel["type"] == "table")
    newer = {"id": "custom.cellOptions", "value": {"type": "color-text"}}
    table["fieldConfig"]["overrides"][0]["properties"].append(newer)
    content["templating"]["list"][0]["id"] = "00000000-0000-0000-0000-000000000000"
    assert features(content) - allowed() == {
        ("field.color.mode", "palette-classic-by-name"),
        ("table.custom.cellOptions.type", "color-text"),
        ("templating.list.id", "00000000-0000-0000-0000-000000000000"),
    }


def test_list_of_features_has_no_unused_entry() -> None:
    used = {feature for board in BOARDS for feature in features(load(board))}
    assert {feature for feature in allowed() if feature[0]} == used


@pytest.mark.parametrize("board", BOARDS)
def test_variables_have_unique_names_and_no_ids(board: str) -> None:
    listed = load(board)["templating"]["list"]
    assert not [variable["name"] for variable in listed if "id" in variable]
    assert len({variable["name"] for variable in listed}) == len(listed)


@pytest.mark.parametrize("board", BOARDS)
def test_legends_and_columns_fit_on_a_laptop(board: str) -> None:
    for panel in panels(board):
        if panel["type"] == "table":
            fixed = [
                setting["value"]
                for override in panel["fieldConfig"]["overrides"]
                for setting in override["properties"]
                if setting["id"] == "custom.width"
            ]
            columns = len(panel["transformations"][1]["options"]["include"]["names"])
            assert columns - len(fixed) == 1, f"{panel['title']}: exactly one column must have no width"
            assert free_column(panel) in NAMES_OF_THINGS, panel["title"]
            assert pixels(panel) - 16 - sum(fixed) >= NAMES, panel["title"]
        if panel["type"] == "stat":
            assert pixels(panel) >= 150, panel["title"]
        assert panel["gridPos"]["h"] >= 4, panel["title"]


def widths(panel: dict[str, Any]) -> dict[str, int]:
    """Return the widths of the columns of a table, by heading."""
    return {
        override["matcher"]["options"]: setting["value"]
        for override in panel["fieldConfig"]["overrides"]
        for setting in override["properties"]
        if setting["id"] == "custom.width"
    }


def free_column(panel: dict[str, Any]) -> str:
    """Return the column of a table that has no width."""
    headings: dict[str, str] = panel["transformations"][2]["options"]["renameByName"]
    (found,) = (column for column, heading in headings.items() if heading not in widths(panel))
    return found


def settings(panel: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a setting of the columns of a table, by heading."""
    return {
        override["matcher"]["options"]: setting["value"]
        for override in panel["fieldConfig"]["overrides"]
        for setting in override["properties"]
        if setting["id"] == name
    }


@pytest.mark.parametrize("board", BOARDS)
def test_columns_of_seconds_are_wide_enough_for_all_digits(board: str) -> None:
    for panel in panels(board):
        if panel["type"] == "table":
            for heading, unit in settings(panel, "unit").items():
                assert unit != "s" or widths(panel)[heading] >= 75, (panel["title"], heading)


@pytest.mark.parametrize("board", BOARDS)
def test_table_of_several_queries_and_timeline_have_a_row_without_data(board: str) -> None:
    """Grafana shows their bare headings, or an error, if all queries are empty."""
    for panel in panels(board):
        if panel["type"] == "state-timeline" or (panel["type"] == "table" and len(panel["targets"]) > 1):
            assert "or on () label_replace(vector(" in panel["targets"][0]["expr"], panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_heatmaps_and_counts_have_the_unit_of_counts(board: str) -> None:
    for panel in panels(board):
        assert panel["fieldConfig"]["defaults"]["unit"] != "short" or panel["type"] == "table", panel["title"]
        if panel["type"] == "heatmap":
            assert panel["fieldConfig"]["defaults"]["unit"] == COUNT, panel["title"]
            assert panel["options"]["yAxis"]["unit"] == "s", panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_rates_are_of_counters(board: str) -> None:
    """Prometheus 3 warns about the rate of a gauge."""
    counters = {family.name for family in families_with(EXTRAS) if family.type == "counter"}
    for query in queries_of(board):
        assert set(re.findall(r"(?:rate|increase)\((\w+)", query.expr)) <= counters | FLOWER_LABELS.keys(), query


@pytest.mark.parametrize("board", BOARDS)
def test_titles_are_plain_and_never_end_in_a_variable_without_value(board: str) -> None:
    headings = [panel["title"] for panel in load(board)["panels"] if panel["type"] == "row"]
    for title in [*headings, *(panel["title"] for panel in panels(board))]:
        assert "?" not in title
        assert set(re.findall(r"\$(\w+)", title)) <= {"quantile"}, title


@pytest.mark.parametrize("board", BOARDS)
def test_annotations_are_on_without_switches(board: str) -> None:
    for event in annotations(board):
        assert (event["enable"], event["hide"]) == (True, True), event["name"]


def test_main_dashboard_has_four_controls_and_collapsed_rows() -> None:
    shown = [variable["label"] for variable in variables(BOARDS[0]).values() if variable["hide"] != 2]
    assert shown == CONTROLS
    rows = [panel for panel in load(BOARDS[0])["panels"] if panel["type"] == "row"]
    assert all(row["collapsed"] for row in rows)
    assert rows[0]["gridPos"]["y"] <= FIRST_SCREEN


@pytest.mark.parametrize("board", BOARDS)
def test_tiles_explain_their_colours(board: str) -> None:
    tiles = [panel for panel in panels(board) if panel["type"] == "stat"]
    assert [panel["gridPos"]["y"] for panel in tiles] == [0] * len(tiles)
    for panel in tiles:
        assert "Green: " in panel["description"], panel["title"]
        assert "Orange: " in panel["description"] or "Red: " in panel["description"], panel["title"]
        colours = [step["color"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert colours == [GREY, "green", "orange", "red"], panel["title"]


def test_alert_list_shows_every_label_that_distinguishes_alerts() -> None:
    labels = {name for expected in alert_tests() for alert in expected["exp_alerts"] for name in alert["exp_labels"]}
    assert labels - {"severity", "job", "alertname", "version", "team"} <= set(ABOUT)
    names = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {name for name in names if re.match("(Celery|Flower).+|Pushgateway.+", name)} == names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("shop.reports.daily_sales", None),
        ("a_name_of_28_characters_bare", None),
        ("billing.invoices.generate_monthly_statement_pdf", "…generate_monthly_statement_pdf"),
        ("warehouse.inventory.tasks.recount_shelf_00059", "…tasks.recount_shelf_00059"),
    ],
)
def test_long_name_is_cut_to_its_end(name: str, shown: str | None) -> None:
    found = re.match(LONG_NAME.strip("/"), name)
    assert (found and END_OF_NAME.replace("$1", found.group(1))) == shown


@pytest.mark.parametrize("board", BOARDS)
def test_missing_data_is_shown_in_grey(board: str) -> None:
    for panel in panels(board):
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["noValue"], panel["title"]
        if panel["type"] == "stat":
            assert panel["options"]["reduceOptions"]["calcs"] == ["last"], panel["title"]
            (special,) = (mapping["options"] for mapping in defaults["mappings"] if mapping["type"] == "special")
            assert special["match"] == "null+nan", panel["title"]
            assert special["result"]["text"] == defaults["noValue"], panel["title"]
            assert special["result"]["color"] == GREY, panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_panels_have_description_unit_thresholds_and_current_type(board: str) -> None:
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], panel["title"]
        assert panel["type"] in CURRENT_TYPES, panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_queries_use_the_selected_data_source(board: str) -> None:
    for panel in panels(board):
        assert panel["datasource"] == DATASOURCE, panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == DATASOURCE, panel["title"]
    for event in annotations(board):
        assert event["datasource"] == DATASOURCE, event["name"]
    asking = [variable for variable in variables(board).values() if variable["type"] == "query"]
    for variable in asking:
        assert variable["datasource"] == DATASOURCE, variable["name"]
    assert variables(board)["datasource"]["query"] == "prometheus"


@pytest.mark.parametrize("board", BOARDS)
def test_queries_of_a_panel_have_different_letters(board: str) -> None:
    for panel in panels(board):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters), panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_tiles_and_tables_query_the_instant(board: str) -> None:
    for panel in panels(board):
        for target in panel["targets"]:
            assert target["range"] is not target["instant"], panel["title"]
            assert target["instant"] is (panel["type"] in INSTANT_TYPES), panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_graphs_show_gaps_and_no_old_value_in_the_legend(board: str) -> None:
    for panel in panels(board):
        if panel["type"] == "timeseries":
            custom, legend = panel["fieldConfig"]["defaults"]["custom"], panel["options"]["legend"]
            assert custom["spanNulls"] is False, panel["title"]
            assert custom["showPoints"] == "never", panel["title"]
            assert custom["fillOpacity"] == 0, panel["title"]
            assert (legend["placement"], legend["displayMode"], legend["calcs"]) == ("bottom", "list", [])


@pytest.mark.parametrize("board", BOARDS)
def test_links_lead_to_a_dashboard_or_to_flower(board: str) -> None:
    links = [
        link
        for panel in panels(board)
        for link in (
            *panel["fieldConfig"]["defaults"].get("links", []),
            *(
                link
                for override in panel["fieldConfig"]["overrides"]
                for setting in override["properties"]
                if setting["id"] == "links"
                for link in setting["value"]
            ),
        )
    ]
    uids = {load(one)["uid"] for one in BOARDS}
    for link in links:
        if link["url"] == "/alerting/${datasource:text}/${__value.raw}/find":
            continue
        inside = re.match(r"/d/([a-z-]+)\?", link["url"])
        if inside:
            assert inside.group(1) in uids
            assert set(re.findall(r"var-(\w+)=", link["url"])) <= variables(inside.group(1)).keys()
        else:
            assert link["url"].startswith(("${flower_url}/", "http://${__value.raw}")), link
            assert link["targetBlank"], link
    assert links or board != BOARDS[0]


@pytest.mark.parametrize("board", BOARDS)
def test_variables_in_queries_exist_and_all_are_used(board: str) -> None:
    text = json.dumps(load(board))
    named = set(re.findall(r"\$\{?([a-zA-Z_]\w*)", text)) - BUILT_IN
    assert named == variables(board).keys()


@pytest.mark.parametrize("board", BOARDS)
def test_table_columns_are_labels_or_values_of_the_queries(board: str) -> None:
    for panel in panels(board):
        if panel["type"] != "table":
            continue
        letters = [target["refId"] for target in panel["targets"]]
        values = {"Value"} if len(letters) == 1 else {f"Value #{letter}" for letter in letters}
        kept, ordered = (panel["transformations"][place]["options"] for place in (1, 2))
        columns = set(kept["include"]["names"])
        assert columns - LABELS <= values, panel["title"]
        assert ordered["renameByName"].keys() == columns, panel["title"]
        headings = set(ordered["renameByName"].values())
        assert {place["displayName"] for place in panel["options"]["sortBy"]} <= headings, panel["title"]
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in headings, panel["title"]


def test_provisioning_matches_compose() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    (source,) = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["isDefault"] is True
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/celery.yml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    scraped = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    assert job["honor_labels"] is True
    assert job["static_configs"] == [{"targets": ["pushgateway:9091"]}]
    assert {"prometheus", "pushgateway"} <= compose.keys()
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
