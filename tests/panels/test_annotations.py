"""What the marks on the graphs say of minutes gone by: a frozen Flower, a worker that left.

promtool evaluates the annotations' queries on written-down samples, one each 15 s. What comes after the shown minute is
known then, as it is to a graph of the past.
"""

import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest
import yaml

from tests.panels.boards import BOARDS, asked, filled_in

GROUP = 'instance="shop:5555", job="flower"'
WORKER = f'{{app="celery@a", {GROUP}}}'
FLOWER = f"{{{GROUP}}}"

MINUTES = 16

WELL = "1+0x19 "
"""Five minutes."""

ONE_PUSH = "0+0x3 "
"""The minute until the next push."""

STILL_WELL = "1+0x60"


def samples(workers: str, up: str = "1+0x80", pushed: str = "0+15x80") -> list[dict[str, str]]:
    """One Flower with one worker: the values of `celery_workers`, of `flower_up` and of the time of the last push."""
    return [
        {"series": f"celery_workers{WORKER}", "values": workers},
        {"series": f"flower_up{FLOWER}", "values": up},
        {"series": f"push_time_seconds{FLOWER}", "values": pushed},
    ]


def assert_marked(
    folder: Path, name: str, board: str, series: list[dict[str, str]], labels: str, minutes: Collection[int]
) -> None:
    """Exactly at these minutes the annotation is drawn, for these labels."""
    (query,) = [query for query in asked(board) if (query.where, query.ref) == (name, "")]
    expected = [
        {
            "expr": filled_in(query.expr, board, {}),
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": labels, "value": 1}] if minute in minutes else [],
        }
        for minute in range(MINUTES)
    ]
    file = folder / "annotation.yml"
    test = {"interval": "15s", "input_series": series, "promql_expr_test": expected}
    file.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("board", BOARDS)
def test_a_worker_that_left_is_marked_once_at_the_minute_it_was_last_seen(tmp_path: Path, board: str) -> None:
    left = samples(WELL + "0+0x60")
    assert_marked(tmp_path, "A worker went away", board, left, WORKER, [5])


@pytest.mark.parametrize("board", BOARDS)
def test_a_frozen_flower_that_wakes_up_has_no_worker_that_went_away(tmp_path: Path, board: str) -> None:
    frozen = "stale _x9 "
    wakes = samples(WELL + frozen + ONE_PUSH + STILL_WELL, up=WELL + "0+0x9 " + STILL_WELL)
    assert_marked(tmp_path, "A worker went away", board, wakes, WORKER, [])
    at_once = samples(WELL + ONE_PUSH + STILL_WELL)
    assert_marked(tmp_path, "A worker went away", board, at_once, WORKER, [])


@pytest.mark.parametrize("board", BOARDS)
def test_a_worker_that_just_left_is_not_marked_before_it_has_stayed_away(tmp_path: Path, board: str) -> None:
    until_now = samples(WELL + ONE_PUSH, up="1+0x23", pushed="0+15x23")
    assert_marked(tmp_path, "A worker went away", board, until_now, WORKER, [])


@pytest.mark.parametrize("board", BOARDS)
def test_a_freeze_of_two_and_a_half_minutes_is_a_band_of_that_length(tmp_path: Path, board: str) -> None:
    """From 5:00 to 7:30: the push that began at 5:55 gave up at 6:45, its deadline; that of 7:30 is good."""
    fails = "1+0x26 0+0x2 "
    series = samples("1+0x80", up=fails + STILL_WELL)
    assert_marked(tmp_path, "Flower down", board, series, FLOWER, [5, 6, 7])


@pytest.mark.parametrize("board", BOARDS)
def test_a_group_that_nobody_pushes_any_more_is_not_marked_as_down_for_ever(tmp_path: Path, board: str) -> None:
    stopped = samples("stale", up="0+0x80", pushed="0+0x80")
    # The limit of age is five minutes.
    assert_marked(tmp_path, "Flower down", board, stopped, FLOWER, [0, 1, 2, 3, 4])
