"""The first screen of the dashboards in twelve states, on a real Prometheus."""

import pytest

from testbed.services import Testbed
from tests.panels.boards import BOARDS, queries_of
from tests.panels.first_screen import PAGE, Incidents, start, written
from tests.panels.incidents import NOTHING_PUSHED, TWELVE, State


@pytest.fixture(scope="module")
def incidents(testbed: Testbed) -> Incidents:
    return start(testbed)


def state_of(title: str) -> State:
    (state,) = (state for state in TWELVE if state.title == title)
    return state


def test_page_shows_what_the_first_screen_shows(incidents: Incidents) -> None:
    """It contains the text and colour of each tile, and the rows of both lists."""
    assert PAGE.read_text(encoding="utf-8") == written(incidents), "run `make states`"


@pytest.mark.parametrize("state", TWELVE, ids=lambda state: state.title)
def test_tiles_and_lists_are_green_only_in_healthy_states(incidents: Incidents, state: State) -> None:
    screen = incidents.screen(state)
    healthy = state.change is None and state is not NOTHING_PUSHED
    assert ({colour for _, colour in screen.tiles.values()} == {"green"}) is healthy
    assert ([row[0] for row in screen.wrong] == ["ok"]) is healthy
    assert ([row[0] for row in screen.alerts] == ["ok"]) is healthy
    assert screen.wrong, "Grafana would show bare headings"
    assert screen.alerts, "Grafana would show bare headings"


@pytest.mark.parametrize("state", TWELVE, ids=lambda state: state.title)
def test_tables_of_several_queries_have_a_row_in_every_state(incidents: Incidents, state: State) -> None:
    for title in ("Each Flower", "Most failures", "Runtime of every type", "Each worker over time"):
        (query,) = (query for query in queries_of(BOARDS[0]) if (query.where, query.ref) == (title, "A"))
        assert incidents.shown(state, query), title


@pytest.mark.parametrize(
    ("title", "tile", "shown"),
    [
        ("Dead worker", "Alerts", ("3", 2)),
        ("Dead worker", "Workers", ("3 of 4", 1)),
        ("Dead worker", "Tasks in queues", ("80", 2)),
        ("Dead worker", "Idle workers", ("0 of 3", 0)),
        ("Saturated", "Tasks in queues", ("800", 1)),
        ("Healthy busy", "Tasks in queues", ("0", 0)),
    ],
)
def test_tiles_of_the_extras_show_an_incident(
    incidents: Incidents, title: str, tile: str, shown: tuple[str, float]
) -> None:
    (query,) = (query for query in queries_of(BOARDS[1]) if query.where == tile)
    ((labels, level),) = incidents.shown(state_of(title), query).items()
    assert (dict(labels)["text"], level) == shown
