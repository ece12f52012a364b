"""Every command works from end to end.

`make test-lowest` runs this with the lowest versions of the dependencies.
"""

import subprocess
from pathlib import Path

import pytest

from push_job.cli import main
from testbed.command import PYTHON, ROOT, PushJob, clean_environment
from testbed.services import Pushgateway
from tests.fakes.http import answer
from tests.faults.cycles import fake_flower
from tests.independent import eventually

TASKS = answer(
    b'{"task-1": {"name": "shop.buy", "state": "SUCCESS", "runtime": 1.5, "received": 1.0, "timestamp": 1700000000.5}}'
)


@pytest.mark.parametrize("command", sorted(main.commands))
def test_help_is_shown(command: str, push_job: PushJob) -> None:
    done = push_job(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "--flower" in done.stdout


@pytest.mark.parametrize("push_format", ["protobuf", "text"])
def test_group_with_a_space_and_a_slash_is_pushed_and_deleted(
    push_format: str, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with fake_flower(tasks=TASKS) as flower:
        options = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url, "--job", "a b/c")
        done = push_job("push", *options, "--push-format", push_format, "--with", "runtimes,last-run")
        assert done.returncode == 0, done.stderr
        [group] = clean_pushgateway.groups()
        assert group["labels"] == {"job": "a b/c", "instance": flower.url.removeprefix("http://")}
        assert push_job("delete", *options).returncode == 0
    assert clean_pushgateway.groups() == []


@pytest.mark.parametrize("output", ["table", "prometheus"])
def test_show_prints_the_task_type(output: str, push_job: PushJob) -> None:
    with fake_flower(tasks=TASKS) as flower:
        done = push_job("show", "--flower", flower.url, "--format", output, "--with", "runtimes")
    assert done.returncode == 0, done.stderr
    assert "shop.buy" in done.stdout


@pytest.mark.parametrize("command", ["check", "explain"])
def test_diagnosis_names_the_flower(command: str, clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    with fake_flower(tasks=TASKS) as flower:
        done = push_job(command, "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    assert done.returncode in (0, 1), done.stderr
    assert flower.url.removeprefix("http://") in done.stdout


def test_loop_pushes_and_stops(clean_pushgateway: Pushgateway, tmp_path: Path) -> None:
    with fake_flower(tasks=TASKS) as flower:
        servers = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
        command = [PYTHON, "-m", "push_job", "run", "--every", "60", *servers, "--state-file", str(tmp_path / "state")]
        with subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stderr=subprocess.PIPE) as loop:
            try:
                eventually(lambda: bool(clean_pushgateway.groups()))
            finally:
                loop.terminate()
            assert loop.wait(30) == 0
