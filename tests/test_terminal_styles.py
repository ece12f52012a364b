"""NO_COLOR and TERM=dumb turn off styles in every command."""

import io
import os
import pty
import subprocess

import pytest

from push_job.settings import Endpoint
from push_job.terminal import progress
from testbed.command import PYTHON, ROOT, clean_environment
from testbed.services import Pushgateway
from tests.faults.cycles import fake_flower

PLAIN = ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "TERM": "dumb"})


def on_a_terminal(variables: dict[str, str], *arguments: str) -> str:
    """Run push-job on a terminal and return what it prints."""
    outside, inside = pty.openpty()
    environment = {**clean_environment(), "TERM": "xterm-256color", "NO_COLOR": "", **variables}
    with subprocess.Popen(
        [PYTHON, "-m", "push_job", *arguments], stdin=inside, stdout=inside, stderr=inside, cwd=ROOT, env=environment
    ):
        os.close(inside)
        printed = b""
        try:
            while data := os.read(outside, 65536):
                printed += data
        except OSError:  # the other end was closed
            pass
    os.close(outside)
    return printed.decode()


@pytest.mark.parametrize("command", ["show", "check", "explain"])
def test_output_has_styles_only_where_they_are_wanted(command: str, pushgateway: Pushgateway) -> None:
    with fake_flower() as flower:
        arguments = (command, "--flower", flower.url, "--pushgateway", pushgateway.url)
        for variables in PLAIN:
            printed = on_a_terminal(variables, *arguments)
            assert flower.url.removeprefix("http://") in printed
            assert "\x1b" not in printed, variables
        assert "\x1b[" in on_a_terminal({}, *arguments)


class Terminal(io.StringIO):
    """A stderr that says that it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.mark.parametrize(("term", "shown"), [("dumb", False), ("xterm", True)])
def test_progress_is_not_drawn_on_a_dumb_terminal(term: str, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(progress, "_DELAY", -1.0)
    with progress.TerminalProgress() as display:
        display(Endpoint.parse("http://flower:5555", "--flower"), 5)
    assert bool(terminal.getvalue().strip()) is shown
