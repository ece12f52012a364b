"""Standard streams that cannot be written do not change the result.

The job pushes the same and has the same exit code.
"""

import shlex
import subprocess
import sys

import pytest

from testbed.command import ROOT, PushJob, clean_environment
from testbed.services import Pushgateway
from tests.fakes.http import json_answer
from tests.faults.cycles import fake_flower, group


def in_shell(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `push-job ARGUMENTS` under a shell's redirection, e.g. `2>/dev/full`."""
    command = shlex.join([sys.executable, "-m", "push_job", *arguments])
    return subprocess.run(
        ["bash", "-c", f"exec {command} {redirection}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean_environment(),
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">/dev/full", ">&-", ">&- 2>&- <&-", "2> >(exec true)"])
def test_a_push_without_a_log_is_a_push(clean_pushgateway: Pushgateway, redirection: str) -> None:
    with fake_flower() as flower:
        done = in_shell(
            redirection,
            *("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url, "--deadline", "40"),
        )
        assert done.returncode == 0
        assert group(clean_pushgateway, flower.url)["flower_up"] == 1


@pytest.mark.parametrize(("redirection", "reason"), [(">/dev/full", "No space left on device"), (">&-", "closed")])
@pytest.mark.parametrize("output", ["table", "prometheus"])
def test_a_show_that_cannot_be_written_says_so_in_one_line(output: str, redirection: str, reason: str) -> None:
    with fake_flower() as flower:
        done = in_shell(redirection, "show", "--flower", flower.url, "--format", output)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert reason in line


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_terminal_with_few_characters_gets_others(
    clean_pushgateway: Pushgateway, push_job: PushJob, command: str
) -> None:
    with fake_flower(workers=json_answer({"celery@日本": True})) as flower:
        options = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
        done = push_job(command, *options, env={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("celery@??" if command == "show" else "\n  + ") in done.stdout
