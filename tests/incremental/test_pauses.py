"""Incremental scrapes pause after failures in a row.

So a Flower without provable changes costs no more.
"""

import logging
import math
from pathlib import Path

import pytest

from push_job.flower.incremental import attempt
from push_job.flower.incremental.changes import read_changes
from push_job.flower.incremental.scraper import TaskScraper
from push_job.flower.incremental.state import NotProvenError
from push_job.flower.incremental.state_file import StateFile
from tests.fakes.celery_flower import BY_STAMP
from tests.incremental.shared import PAGE, Scene


class Attempts:
    """Stands in for `read_changes`: fails while `fails`, and counts its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.fails = True
        monkeypatch.setattr(attempt, "read_changes", self)

    def __call__(self, *arguments: object) -> None:
        self.count += 1
        if self.fails:
            raise NotProvenError("a test")
        read_changes(*arguments)  # type: ignore[arg-type]  # passed on


def attempted(scene: Scene, attempts: Attempts) -> bool:
    """Scrape, and return whether an incremental scrape was tried."""
    before = attempts.count
    scene.receive(1, f"new-{scene.flower.now}")
    scene.scrape()
    return attempts.count > before


def test_after_three_failures_fewer_attempts_are_made_and_the_log_says_how_many(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene, attempts = Scene(BY_STAMP), Attempts(monkeypatch)
    scene.receive(3 * PAGE, "task")
    assert scene.scrape().full
    with caplog.at_level(logging.INFO):
        tried = [attempted(scene, attempts) for _ in range(14)]
    assert tried == [True] * 3 + [False] * 3 + [True] + [False] * 6 + [True]
    logged = [record.__dict__["fields"]["full_scrapes"] for record in caplog.records if "reason" in record.fields]  # type: ignore[attr-defined]  # a field of ours
    assert logged == [1, 1, 4, 7, 13]


def test_a_success_ends_the_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, attempts = Scene(BY_STAMP), Attempts(monkeypatch)
    scene.receive(3 * PAGE, "task")
    assert scene.scrape().full
    assert [attempted(scene, attempts) for _ in range(6)] == [True] * 3 + [False] * 3
    attempts.fails = False
    assert attempted(scene, attempts)
    attempts.fails = True
    assert [attempted(scene, attempts) for _ in range(4)] == [True] * 3 + [False]


def test_a_state_file_keeps_the_pause(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scene, attempts = Scene(BY_STAMP), Attempts(monkeypatch)
    scene.receive(3 * PAGE, "task")

    def attempted_by_a_new_process() -> bool:
        scene.scraper = TaskScraper(math.inf, StateFile(tmp_path / "state", "http://flower", "flower"))
        tried = attempted(scene, attempts)
        scene.scraper.save()
        return tried

    assert [attempted_by_a_new_process() for _ in range(9)] == [False] + [True] * 3 + [False] * 3 + [True, False]
