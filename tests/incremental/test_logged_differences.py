"""A full scrape logs tasks that differ from the state without an event.

No event can have changed these tasks.
"""

import logging

import pytest

from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP
from tests.incremental.shared import PAGE, Scene


@pytest.fixture(params=[BY_STAMP, BY_CLOCK])
def scene(request: pytest.FixtureRequest) -> Scene:
    scene = Scene(request.param, full_every=1e-9)  # each scrape is full
    scene.receive(3 * PAGE, "task")
    scene.scrape()
    return scene


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_state_that_was_wrong_is_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.scrape()
    assert warnings_in(caplog) == []
    scene.state.tasks.drop(["task-3"])
    scene.scrape()
    assert warnings_in(caplog) == ["state differed from Flower; rebuilt"]


def test_an_event_during_the_scrape_is_no_difference(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.before_request(1, lambda: scene.receive(1, "new"))
    scene.scrape()
    assert warnings_in(caplog) == []
