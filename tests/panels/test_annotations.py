"""Annotations of past minutes: a frozen Flower, a worker that went away.

promtool evaluates the queries of the annotations on given samples, one every 15 s. Later samples are known, as they are
for a graph of the past.
"""

import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest
import yaml

from tests.panels.boards import BOARDS, filled_in, queries_of

GROUP = 'instance="shop:5555", job="flower"'
WORKER = f'{{app="celery@a", {GROUP}}}'
FLOWER = f"{{{GROUP}}}"

MINUTES = 16

UP_FOR_FIVE_MINUTES = "1+0x19 "
DOWN_FOR_ONE_PUSH = "0+0x3 "
"""The minute until the next push."""

UP_UNTIL_THE_END = "1+0x60"


pytestmark = pytest.mark.slow  # promtool is not installed on a fresh machine


def samples(workers: str, up: str = "1+0x80", pushed: str = "0+15x80") -> list[dict[str, str]]:
    """Return samples of a Flower with one worker."""
    return [
        {"series": f"celery_workers{WORKER}", "values": workers},
        {"series": f"flower_up{FLOWER}", "values": up},
        {"series": f"push_time_seconds{FLOWER}", "values": pushed},
    ]


def assert_marked(
    folder: Path, name: str, board: str, series: list[dict[str, str]], labels: str, minutes: Collection[int]
) -> None:
    """Check that the annotation is drawn exactly at these minutes, for these labels."""
    (query,) = [query for query in queries_of(board) if (query.where, query.ref) == (name, "")]
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
def test_worker_that_left_is_marked_at_its_last_minute(tmp_path: Path, board: str) -> None:
    left = samples(UP_FOR_FIVE_MINUTES + "0+0x60")
    assert_marked(tmp_path, "A worker went away", board, left, WORKER, [5])


@pytest.mark.parametrize("board", BOARDS)
def test_flower_that_resumes_marks_no_worker(tmp_path: Path, board: str) -> None:
    frozen = "stale _x9 "
    resumed = samples(
        UP_FOR_FIVE_MINUTES + frozen + DOWN_FOR_ONE_PUSH + UP_UNTIL_THE_END,
        up=UP_FOR_FIVE_MINUTES + "0+0x9 " + UP_UNTIL_THE_END,
    )
    assert_marked(tmp_path, "A worker went away", board, resumed, WORKER, [])
    at_once = samples(UP_FOR_FIVE_MINUTES + DOWN_FOR_ONE_PUSH + UP_UNTIL_THE_END)
    assert_marked(tmp_path, "A worker went away", board, at_once, WORKER, [])


@pytest.mark.parametrize("board", BOARDS)
def test_short_absence_of_a_worker_is_not_marked(tmp_path: Path, board: str) -> None:
    until_now = samples(UP_FOR_FIVE_MINUTES + DOWN_FOR_ONE_PUSH, up="1+0x23", pushed="0+15x23")
    assert_marked(tmp_path, "A worker went away", board, until_now, WORKER, [])


@pytest.mark.parametrize("board", BOARDS)
def test_freeze_of_flower_is_marked_for_its_duration(tmp_path: Path, board: str) -> None:
    """The pushes from 5:00 to 7:30 fail.

    The time before is not marked, because Flower answered then.
    """
    fails = "1+0x19 0+0x9 "
    series = samples("1+0x80", up=fails + UP_UNTIL_THE_END)
    assert_marked(tmp_path, "Flower down", board, series, FLOWER, [5, 6, 7])


@pytest.mark.parametrize("board", BOARDS)
def test_stale_group_is_not_marked_as_down_for_ever(tmp_path: Path, board: str) -> None:
    stopped = samples("stale", up="0+0x80", pushed="0+0x80")
    # Data is too old after five minutes.
    assert_marked(tmp_path, "Flower down", board, stopped, FLOWER, [0, 1, 2, 3, 4])
