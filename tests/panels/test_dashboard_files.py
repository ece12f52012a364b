"""The dashboards' JSON is what Grafana can load and a person can read."""

import itertools
import json
import re
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.generate import DASHBOARDS, serialize
from grafana.panel_types import END_OF_NAME, GREY, LONG_NAME
from tests.panels.boards import BOARDS, FOLDER, ROOT, annotations, load, panels, variables
from tests.panels.features import OLDEST, allowed, features

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Grafana 11 and newer have no panel written for AngularJS any more (graph, singlestat, table-old and others).
CURRENT_TYPES = {"heatmap", "stat", "state-timeline", "table", "timeseries"}

OF_ONE_INSTANT = {"stat", "table"}

COLUMNS = 24

LAPTOP = 968
"""Pixels that the panels of a window of 1000 have; 8 lie between two of them."""

LEGEND = 28 * 6.6 + 30 + 60
"""Pixels of a legend beside a graph: a name as long as panels.LONG_NAME leaves it, the colour's mark, the value."""

NAMES = 22 * 7
"""Pixels that are left for a table's names: 22 characters."""

LABELS = {"job", "instance", "name", "app", "state", "task_type", "extra", "alertname", "severity", "what"}
"""That a table may have as columns."""

EVERYWHERE = {"__range", "__all", "__rate_interval", "__url_time_range", "__value", "__field", "__data"}
"""What Grafana fills in by itself, in every version from 8.5 on."""


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """The grid's cells that a panel or heading covers."""
    place = panel["gridPos"]
    across = range(place["x"], place["x"] + place["w"])
    down = range(place["y"], place["y"] + place["h"])
    return set(itertools.product(across, down))


def test_the_committed_files_are_what_the_generator_writes() -> None:
    assert {path.name for path in FOLDER.iterdir()} == DASHBOARDS.keys()
    for name, dashboard in DASHBOARDS.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == serialize(dashboard()), f"{name}: run `make dashboards`"


@pytest.mark.parametrize("board", BOARDS)
def test_the_sdk_reads_the_file_and_writes_it_back_the_same(board: str) -> None:
    """Whatever the SDK's types do not know would get lost on the way."""
    register_default_plugins()
    content = load(board)
    assert content.pop("id") is None
    for event in content["annotations"]["list"]:
        # What Grafana's Prometheus plugin reads beside the SDK's fields; see grafana/frame.py.
        assert event.pop("titleFormat")
        assert event.pop("tagKeys") == "job,instance"
        assert event.pop("step") == "60s"
    again = json.loads(serialize(Dashboard.from_json(content)))
    assert again.pop("id") is None
    assert again == content


def test_the_dashboards_have_uids_of_their_own() -> None:
    uids = [load(board)["uid"] for board in BOARDS]
    assert uids == ["celery-by-flower", "celery-by-flower-in-depth"]


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
    # A row that is not full would leave a hole on a wall.
    assert len(covered) == COLUMNS * (max(y for _, y in covered) + 1)


def pixels(panel: dict[str, Any]) -> float:
    """How wide a panel is on a laptop."""
    return float(panel["gridPos"]["w"]) / COLUMNS * (LAPTOP + 8) - 8


@pytest.mark.parametrize("board", BOARDS)
def test_nothing_is_newer_than_the_oldest_grafana_that_the_docs_name(board: str) -> None:
    assert f"Grafana {OLDEST[0]}.{OLDEST[1]} and newer" in (ROOT / "docs/panels.md").read_text(encoding="utf-8")
    assert features(load(board)) - allowed() == set()


def test_what_broke_the_panels_once_is_found() -> None:
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


def test_no_feature_is_written_down_that_no_file_uses() -> None:
    used = {feature for board in BOARDS for feature in features(load(board))}
    assert {feature for feature in allowed() if feature[0]} == used


@pytest.mark.parametrize("board", BOARDS)
def test_grafana_tells_the_variables_apart(board: str) -> None:
    listed = load(board)["templating"]["list"]
    assert not [variable["name"] for variable in listed if "id" in variable]
    assert len({variable["name"] for variable in listed}) == len(listed)


@pytest.mark.parametrize("board", BOARDS)
def test_no_panel_is_narrower_on_a_laptop_than_its_legend_or_its_columns_need(board: str) -> None:
    for panel in panels(board):
        if panel["type"] == "timeseries":
            legend = panel["options"]["legend"]
            assert (legend["placement"], legend["displayMode"]) == ("right", "table"), panel["title"]
            # Grafana gives a legend that stands beside a graph 60 % of the panel at most.
            assert 0.6 * pixels(panel) >= LEGEND, panel["title"]
            assert 0.4 * pixels(panel) >= 180, panel["title"]
        if panel["type"] == "table":
            fixed = [
                setting["value"]
                for override in panel["fieldConfig"]["overrides"]
                for setting in override["properties"]
                if setting["id"] == "custom.width"
            ]
            columns = len(panel["transformations"][1]["options"]["include"]["names"])
            assert columns - len(fixed) == 1, f"{panel['title']}: one column takes what is left"
            assert pixels(panel) - 16 - sum(fixed) >= NAMES, panel["title"]
        if panel["type"] == "stat":
            assert pixels(panel) >= 150, panel["title"]
        assert panel["gridPos"]["h"] >= 5, panel["title"]
    top_row = [panel for panel in panels(board) if panel["gridPos"]["y"] == 0]
    assert {panel["type"] for panel in top_row} == {"stat"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("shop.reports.daily_sales", None),
        ("a_name_of_27_characters_bare", "…_name_of_27_characters_bare"),
        ("billing.invoices.generate_monthly_statement_pdf", "…erate_monthly_statement_pdf"),
        ("warehouse.inventory.tasks.recount_shelf_00059", "…tasks.recount_shelf_00059"),
    ],
)
def test_of_a_long_name_its_end_is_shown_from_a_dot_if_there_is_one(name: str, shown: str | None) -> None:
    found = re.match(LONG_NAME.strip("/"), name)
    assert (found and END_OF_NAME.replace("$1", found.group(1))) == shown


@pytest.mark.parametrize("board", BOARDS)
def test_what_nobody_knows_is_said_and_not_in_green(board: str) -> None:
    for panel in panels(board):
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["noValue"], panel["title"]
        if panel["type"] == "stat":
            assert panel["options"]["reduceOptions"]["calcs"] == ["last"], panel["title"]
            (special,) = (words["options"] for words in defaults["mappings"] if words["type"] == "special")
            assert special["match"] == "null+nan", panel["title"]
            assert special["result"]["text"] == defaults["noValue"], panel["title"]
            assert special["result"]["color"] == GREY, panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_a_minus_one_which_says_that_an_extra_is_not_pushed_is_never_shown_as_a_number(board: str) -> None:
    for panel in panels(board):
        says_so = any(" - 1" in target["expr"] or "vector(-1)" in target["expr"] for target in panel["targets"])
        if panel["type"] == "stat" and says_so:
            words = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
            assert words["-1"]["color"] == GREY, panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_every_panel_has_words_a_unit_thresholds_and_a_type_that_grafana_still_has(board: str) -> None:
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], panel["title"]
        assert panel["type"] in CURRENT_TYPES, panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_every_query_asks_the_data_source_that_the_variable_chooses(board: str) -> None:
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
def test_queries_have_letters_of_their_own_within_a_panel(board: str) -> None:
    for panel in panels(board):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters), panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_a_number_is_asked_for_the_instant_or_ends_in_nan_because_the_last_of_a_range_may_be_old(board: str) -> None:
    for panel in panels(board):
        for target in panel["targets"]:
            assert target["range"] is not target["instant"], panel["title"]
            if panel["type"] not in OF_ONE_INSTANT:
                assert target["range"], panel["title"]
            elif target["range"]:
                assert target["expr"].endswith(" or vector(NaN)"), panel["title"]
                assert panel["options"]["graphMode"] == "area", panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_a_graph_shows_a_gap_as_a_gap_no_dots_and_its_largest_first(board: str) -> None:
    for panel in panels(board):
        if panel["type"] == "timeseries":
            custom, legend = panel["fieldConfig"]["defaults"]["custom"], panel["options"]["legend"]
            assert custom["spanNulls"] is False, panel["title"]
            assert custom["showPoints"] == "never", panel["title"]
            assert custom["fillOpacity"] == 0, panel["title"]
            assert legend["calcs"] == ["lastNotNull"], panel["title"]
            assert (legend["sortBy"], legend["sortDesc"]) == ("Last *", True), panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_a_link_leads_to_a_dashboard_that_there_is_or_to_flower(board: str) -> None:
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
        inside = re.match(r"/d/([a-z-]+)\?", link["url"])
        if inside:
            assert inside.group(1) in uids
            assert set(re.findall(r"var-(\w+)=", link["url"])) <= variables("celery-by-flower-in-depth").keys()
        else:
            assert link["url"].startswith(("${flower_url}/", "http://${__value.raw}")), link
            assert link["targetBlank"], link
    assert links or board != BOARDS[0]


@pytest.mark.parametrize("board", BOARDS)
def test_every_variable_that_a_query_names_exists_and_every_one_that_exists_is_used(board: str) -> None:
    text = json.dumps(load(board))
    named = set(re.findall(r"\$\{?([a-zA-Z_]\w*)", text)) - EVERYWHERE
    assert named == variables(board).keys()


@pytest.mark.parametrize("board", BOARDS)
def test_the_table_columns_are_labels_or_values_that_its_queries_have(board: str) -> None:
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


def test_provisioning_names_the_services_and_folders_of_compose() -> None:
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
