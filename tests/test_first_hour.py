"""Mistakes of the first hour: each is refused, or its message says what to do."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.command import ROOT, PushJob, clean_environment
from testbed.services import Flower, Pushgateway
from tests.fakes.http import ScriptedServer, answer
from tests.faults.cycles import TASKS, WORKERS, fake_flower

NOWHERE = "http://127.0.0.1:9"


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line of a command that refused its settings."""
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    return line


def test_user_name_without_a_password_is_refused(push_job: PushJob) -> None:
    assert "password" in refusal(push_job("push", "--flower", NOWHERE, "--flower-username", "me"))


@pytest.mark.parametrize("content", ["", "\n", "\r\n"])
@pytest.mark.parametrize("option", ["password", "token"])
def test_empty_file_of_a_secret_is_refused_by_name(
    option: str, content: str, tmp_path: Path, push_job: PushJob
) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    sign_in = ["--flower-username", "me"] if option == "password" else []
    line = refusal(push_job("push", "--flower", NOWHERE, *sign_in, f"--flower-{option}-file", str(file)))
    assert f"--flower-{option}-file" in line
    assert str(file) in line


def test_swapped_servers_are_named(flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    done = push_job("push", "--flower", clean_pushgateway.url, "--pushgateway", flower.url)
    assert done.returncode == 3
    assert "swap --flower and --pushgateway" in done.stderr
    assert "None" not in done.stderr


def test_state_file_in_a_missing_folder_is_refused(tmp_path: Path, push_job: PushJob) -> None:
    line = refusal(push_job("push", "--flower", NOWHERE, "--state-file", str(tmp_path / "missing/state")))
    assert "--state-file" in line
    assert str(tmp_path / "missing") in line


def test_state_file_does_not_matter_to_other_commands(tmp_path: Path, push_job: PushJob) -> None:
    """The pod of helm test has the settings of the job, but not its volume."""
    with fake_flower() as flower:
        done = push_job("show", "--flower", flower.url, env={"PUSH_JOB_STATE_FILE": str(tmp_path / "missing/state")})
    assert done.returncode == 0, done.stderr


def test_flowers_are_read_from_a_file(tmp_path: Path, clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    listed = tmp_path / "flowers"
    with fake_flower() as one, fake_flower() as two, fake_flower() as three:
        listed.write_text(f"# my Flowers\r\n{one.url}  # the first\n\n{two.url}\n")
        done = push_job("push", "--flower", f"@{listed}", "--flower", three.url, "--pushgateway", clean_pushgateway.url)
        assert done.returncode == 0, done.stderr
        instances = {group["labels"]["instance"] for group in clean_pushgateway.groups()}
        assert instances == {server.url.removeprefix("http://") for server in (one, two, three)}


@pytest.mark.parametrize("content", [None, "# none\n"], ids=["missing", "empty"])
def test_file_without_flowers_is_refused(content: str | None, tmp_path: Path, push_job: PushJob) -> None:
    listed = tmp_path / "flowers"
    if content is not None:
        listed.write_text(content)
    line = refusal(push_job("push", env={"PUSH_JOB_FLOWER": f"@{listed}"}))
    assert "PUSH_JOB_FLOWER" in line
    assert str(listed) in line


@pytest.mark.parametrize("by", ["option", "variable"])
def test_lists_are_separated_in_the_same_way(by: str, clean_pushgateway: Pushgateway, push_job: PushJob) -> None:
    with fake_flower() as one, fake_flower() as two:
        lists = {"FLOWER": f"{one.url} {two.url}", "WITH": "ages, runtimes waits", "GROUPING": "a=b c=d e"}
        words = [word for name, value in lists.items() for word in (f"--{name.lower()}", value)]
        env = {f"PUSH_JOB_{name}": value for name, value in lists.items()}
        given = ["--pushgateway", clean_pushgateway.url]
        done = push_job("push", *given, *(words if by == "option" else []), env=env if by == "variable" else {})
    assert done.returncode == 0, done.stderr
    groups = [group["labels"] for group in clean_pushgateway.groups()]
    assert [(labels["a"], labels["c"]) for labels in groups] == [("b", "d e")] * 2


def test_delete_of_a_missing_group_lists_the_groups_of_the_job(
    clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    given = ["--pushgateway", clean_pushgateway.url]
    with fake_flower() as flower:
        assert push_job("push", *given, "--flower", flower.url).returncode == 0
        done = push_job("delete", *given, "--flower", flower.url, "--grouping", "a=b")
        assert done.returncode == 0
        assert done.stdout == ""
        missing, listed = done.stderr.splitlines()
        assert missing.startswith("no such group: ")
        assert f'instance="{flower.url.removeprefix("http://")}"' in listed
        assert len(clean_pushgateway.groups()) == 1


def test_push_at_a_terminal_says_how_to_remove_the_group(clean_pushgateway: Pushgateway) -> None:
    with fake_flower() as flower:
        given = ["--flower", flower.url, "--pushgateway", clean_pushgateway.url]
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "push_job", "push", *given]
        done = subprocess.run(command, stderr=theirs, stdout=theirs, cwd=ROOT, env=clean_environment(), check=False)
        os.close(theirs)
        printed = os.read(ours, 100_000).decode()
        os.close(ours)
    assert done.returncode == 0
    assert "push-job delete" in printed


#: Starts push-job and sends it SIGINT, as Ctrl-C does, when it first imports the module named in the first argument.
_INTERRUPTED = """
import os, runpy, signal, sys
name = sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
for loaded in ("signal", "enum"):  # Python itself does not load them
    del sys.modules[loaded]
class Finder:
    def find_spec(self, found, *_):
        if found == name:
            os.kill(os.getpid(), 2)
sys.meta_path.insert(0, Finder())
runpy.run_module("push_job", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["signal", "push_job.cli", "click", "urllib3"])
def test_early_ctrl_c_prints_nothing(module: str) -> None:
    command = [sys.executable, "-c", _INTERRUPTED, module, "show", "--flower", NOWHERE]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=clean_environment(), check=False)
    assert done.returncode in (130, -signal.SIGINT)
    assert done.stderr == ""


def test_show_prints_dates_counters_and_counts_as_a_person_reads_them(push_job: PushJob) -> None:
    metrics = b'# TYPE flower_events counter\nflower_events_total{worker="celery@a"} 7.0\n'
    answers = {"/api/workers": WORKERS, "/api/tasks": TASKS, "/metrics": answer(metrics)}
    with ScriptedServer(answers) as flower:
        done = push_job("show", "--flower", flower.url, "--with", "last-run,failures,flower-metrics")
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[0].endswith(": 1 live worker, 1 task")
    assert any(line.endswith("2023-11-14 22:13:20 UTC") for line in lines)
    assert "flower_events_total" in lines
    assert lines[lines.index("celery_task_failures") + 1] == "none"


@pytest.mark.parametrize("in_pod", [False, True])
def test_check_names_the_network_policy_in_a_pod(in_pod: bool, push_job: PushJob) -> None:
    env = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"} if in_pod else {}
    done = push_job("check", "--flower", NOWHERE, "--pushgateway", NOWHERE, "--deadline", "5", env=env)
    assert done.returncode == 1
    assert ("NetworkPolicy" in done.stdout) is in_pod
