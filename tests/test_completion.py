"""Completion and man pages as docs/options.md describes them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from push_job.cli import main
from testbed.command import ROOT, clean_environment

PAGE = (ROOT / "docs/options.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\$ (.+)$", PAGE[PAGE.index("## Completion and man pages") :], re.MULTILINE)


def run(script: str, folder: Path) -> str:
    """Return the output of a bash script with push-job and its Python on the PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "--norc", "-c", script]
    env = clean_environment() | {"PATH": path}
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        pytest.param("push-job exp", ["explain"], marks=pytest.mark.slow),
        (
            "push-job check --prometheus-",
            ["ca-file", "cert-file", "key-file", "password-file", "token-file", "username"],
        ),
        pytest.param("push-job show --format p", ["prometheus"], marks=pytest.mark.slow),
        pytest.param("push-job explain --push", [], marks=pytest.mark.slow),
    ],
    ids=["command", "option", "value", "hidden"],
)
def test_bash_completes(words: str, offered: list[str], tmp_path: Path) -> None:
    source, *_ = LINES
    tab = f"COMP_WORDS=({words}) COMP_CWORD={len(words.split()) - 1}; _push_job_completion push-job"
    done = run(f'{source}; {tab}; printf "%s\\n" "${{COMPREPLY[@]}}"', tmp_path)
    assert sorted(word.removeprefix("--prometheus-") for word in done.split()) == offered


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "word", "begins"),
    [("zsh", "1", "#compdef push-job"), ("fish", "exp", "function _push_job_completion")],
    ids=["zsh", "fish"],
)
def test_the_other_shells_get_their_script_and_its_answers(shell: str, word: str, begins: str, tmp_path: Path) -> None:
    assert f"{shell}_source" in PAGE
    assert run(f"_PUSH_JOB_COMPLETE={shell}_source push-job", tmp_path).strip().startswith(begins)
    answer = run(f"COMP_WORDS='push-job exp' COMP_CWORD={word} _PUSH_JOB_COMPLETE={shell}_complete push-job", tmp_path)
    assert "explain" in answer
    assert "Scrape every Flower once and say what is" in answer


@pytest.mark.slow
def test_each_command_gets_its_man_page(tmp_path: Path) -> None:
    [write] = [line for line in LINES if line.startswith("python -c")]
    run(write, tmp_path)
    pages = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert pages.keys() == {"push-job.1", *(f"push-job-{name}.1" for name in main.commands)}
    assert "\\fB\\-\\-pushgateway\\fP URL" in pages["push-job-push.1"]
    assert "\\fB\\-\\-pushgateway\\fP URL" not in pages["push-job-explain.1"]
