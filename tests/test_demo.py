"""`make demo` and `make playground`, run as a user runs them."""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from testbed.command import ROOT, clean_environment
from testbed.guard import processes_with
from testbed.process import wait_for
from testbed.queries import STATES
from testbed.web import Client

pytestmark = pytest.mark.services

MARK = "DEMO_TEST"


@pytest.fixture
def marked(tmp_path: Path) -> dict[str, str]:
    """Return an environment that marks the processes and files of the demo."""
    return {**clean_environment(), "TMPDIR": str(tmp_path), MARK: uuid.uuid4().hex}


def assert_nothing_left(environment: Mapping[str, str]) -> None:
    wait_for("the end of all processes", lambda: not processes_with(MARK, environment[MARK]), timeout=30)
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


def run_demo(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "testbed.demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def addresses_shown(playground: subprocess.Popen[str], last_line: str) -> list[str]:
    """Return the addresses of the servers in the output up to `last_line`."""
    shown = ""
    assert playground.stdout is not None
    for line in playground.stdout:
        shown += line
        if last_line in line:
            break
    return re.findall(r"^(?:Flower|Pushgateway|Prometheus) +(http://\S+)", shown, re.MULTILINE)


def tasks_by_state(shown: str) -> dict[str, list[int]]:
    """Return the columns of the demo's table of task types by state."""
    _, _, table = shown.partition("task_type")
    rows = re.findall(r"^shop\.\S+ +((?:\d+ *){7})$", table, re.MULTILINE)
    columns = zip(*(map(int, row.split()) for row in rows), strict=True)
    return dict(zip(STATES, map(list, columns), strict=True))


def test_demo_shows_tasks_in_every_state_and_cleans_up(marked: dict[str, str]) -> None:
    done = run_demo(marked)
    assert (done.returncode, done.stderr) == (0, "")
    counts = tasks_by_state(done.stdout)
    assert {state for state, column in counts.items() if sum(column) > 0} == set(STATES)
    assert sum(counts["SUCCESS"]) == 4 * (15 + 10)
    assert done.stdout.count("$ push-job push --flower http://127.0.0.1:") == 2
    listed, pushed = (re.search(rf"^{name} +\d.*", done.stdout, re.MULTILINE) for name in ("in Flower", "pushed"))
    assert listed is not None
    assert pushed is not None
    assert re.findall(r"\d+", listed[0]) == re.findall(r"\d+", pushed[0]) == [str(sum(counts[s])) for s in STATES]
    assert re.findall(r"^On the dashboard: \w.+$", done.stdout, re.MULTILINE)
    assert not re.findall(r"^On the dashboard: $", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1].startswith("$ .venv/bin/push-job check ")
    assert_nothing_left(marked)


def test_demo_without_servers_reports_one_line(marked: dict[str, str]) -> None:
    done = run_demo({**marked, "PATH": "/nowhere"})
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "demo: redis-server is missing: install Debian's package redis-server, or run `make servers`"
    ]
    assert_nothing_left(marked)


def assert_uses_the_rules_of_the_project(prometheus: str) -> None:
    """Check that Prometheus has the rules and the scrape interval of the project."""
    groups = Client().get_json(f"{prometheus}/api/v1/rules")["data"]["groups"]
    files = [yaml.safe_load(path.read_text()) for path in (ROOT / "prometheus" / "rules").glob("*.yml")]
    assert {group["name"] for group in groups} == {group["name"] for file in files for group in file["groups"]}
    config = yaml.safe_load(Client().get_json(f"{prometheus}/api/v1/status/config")["data"]["yaml"])
    project = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    assert config["global"]["scrape_interval"] == project["global"]["scrape_interval"]


@pytest.mark.parametrize("last_line", ["Starting", "level=info"], ids=["during start", "after the first push"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_playground_and_it_cleans_up(
    marked: dict[str, str], last_line: str, signum: signal.Signals
) -> None:
    playground = subprocess.Popen(
        [sys.executable, "-m", "testbed.playground"],
        cwd=ROOT,
        env=marked,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        addresses = addresses_shown(playground, last_line)
        assert len(addresses) == (3 if last_line != "Starting" else 0)
        assert [Client().status(address) for address in addresses] == [200] * len(addresses)
        if addresses:
            assert_uses_the_rules_of_the_project(addresses[-1])
        # To the process group, as a terminal sends it.
        os.killpg(playground.pid, signum)
        rest, _ = playground.communicate(timeout=60)
    finally:
        playground.kill()
    assert (playground.returncode, rest.splitlines()[-1:]) == (0, ["All services are stopped."]), rest
    assert_nothing_left(marked)
