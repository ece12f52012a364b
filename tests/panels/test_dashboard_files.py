"""The dashboards' JSON is what Grafana can load and a person can read."""

import itertools
import json
import re
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.generate import DASHBOARDS, written
from tests.panels.boards import BOARDS, FOLDER, ROOT, annotations, load, panels, variables

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Grafana 11 and newer have no panel written for AngularJS any more (graph, singlestat, table-old and others).
CURRENT_TYPES = {"bargauge", "heatmap", "stat", "state-timeline", "table", "timeseries"}

OF_ONE_INSTANT = {"bargauge", "stat", "table"}

COLUMNS = 24


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """The grid's cells that a panel or heading covers."""
    place = panel["gridPos"]
    across = range(place["x"], place["x"] + place["w"])
    down = range(place["y"], place["y"] + place["h"])
    return set(itertools.product(across, down))


def test_the_committed_files_are_what_the_generator_writes() -> None:
    assert {path.name for path in FOLDER.iterdir()} == DASHBOARDS.keys()
    for name, dashboard in DASHBOARDS.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == written(dashboard()), f"{name}: run `make dashboards`"


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
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(content))) == content


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
    for panel in load(board)["panels"]:
        assert not covered & cells(panel), panel["title"]
        covered |= cells(panel)
    assert max(x for x, _ in covered) < COLUMNS
    # A row that is not full would leave a hole on a wall.
    assert len(covered) == COLUMNS * (max(y for _, y in covered) + 1)


@pytest.mark.parametrize("board", BOARDS)
def test_a_panel_is_wide_and_high_enough_to_read_on_a_laptop(board: str) -> None:
    for panel in panels(board):
        narrowest = 4 if panel["type"] == "stat" else 6
        assert panel["gridPos"]["w"] >= narrowest, panel["title"]
        assert panel["gridPos"]["h"] >= 5, panel["title"]
    top_row = [panel for panel in panels(board) if panel["gridPos"]["y"] == 0]
    assert {panel["type"] for panel in top_row} == {"stat"}


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
def test_a_panel_of_one_number_asks_for_the_instant_because_the_last_of_a_range_may_be_old(board: str) -> None:
    for panel in panels(board):
        for target in panel["targets"]:
            assert target["instant"] is (panel["type"] in OF_ONE_INSTANT), panel["title"]
            assert target["range"] is not target["instant"], panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_a_graph_shows_a_gap_as_a_gap_and_no_last_value_in_its_legend(board: str) -> None:
    for panel in panels(board):
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False, panel["title"]
        if "legend" in panel["options"] and panel["type"] != "heatmap":
            assert panel["options"]["legend"]["calcs"] == [], panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_every_variable_that_a_query_names_exists_and_every_one_that_exists_is_used(board: str) -> None:
    text = json.dumps(load(board))
    named = set(re.findall(r"\$\{?([a-zA-Z]\w*)", text)) - {"__range", "__all"}
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
        assert columns - {"job", "instance", "name", "app"} == values, panel["title"]
        assert ordered["renameByName"].keys() == columns, panel["title"]
        headings = set(ordered["renameByName"].values())
        assert {place["displayName"] for place in panel["options"]["sortBy"]} <= headings, panel["title"]
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in headings, panel["title"]


def test_the_age_panels_are_green_for_what_is_shown_and_red_for_what_is_hidden() -> None:
    for board in BOARDS:
        (panel,) = (panel for panel in panels(board) if panel["title"] == "Age of the data")
        hides = {target["refId"]: ">= $max_age" in target["expr"] for target in panel["targets"]}
        colours = {
            override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
            for override in panel["fieldConfig"]["overrides"]
            if override["matcher"]["id"] == "byFrameRefID"
        }
        assert {hides[letter]: colour for letter, colour in colours.items()} == {False: "green", True: "red"}


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
