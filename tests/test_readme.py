"""The first page is short and shows what is there; the pages of options and metrics say what the code does."""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from push_job.cli import main
from testbed.command import ROOT, PushJob
from testbed.services import Flower, Worker

README = (ROOT / "README.md").read_text(encoding="utf-8")
METRICS = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
PICTURES = sorted((ROOT / "docs/pictures").glob("*.svg"))


def options() -> list[click.Option]:
    found = (parameter for command in main.commands.values() for parameter in command.params)
    return [parameter for parameter in found if isinstance(parameter, click.Option)]


def families(exposition: str) -> dict[str, str]:
    """Name and type of each family."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.MULTILINE))


def test_it_fits_on_two_screens() -> None:
    assert len(README.splitlines()) <= 80
    assert max(map(len, README.splitlines())) <= 200


def test_its_commands_are_there() -> None:
    """From the clone to the panels, a push, and the ways to repeat it."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    known = {name for option in options() for name in option.opts}
    lines = [line for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    commands = [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]
    assert ["docker", "compose", "up"] in commands
    for program, *words in commands:
        assert program != "make" or set(words) <= set(targets)
        if program.endswith("push-job"):
            assert words[0] in main.commands
            assert {word for word in words if word.startswith("--")} <= known
    for folder in re.findall(r"kubectl apply -k (\S+?)`", README):
        assert (ROOT / folder / "kustomization.yaml").is_file()


def test_its_cost_is_that_of_the_page_on_costs() -> None:
    """Which gives the numbers that the words stand for."""
    cost = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
    figures = {
        name: [float(figure) for figure in row]
        for name, *row in re.findall(
            r"^\| ([\w' ]+) \| the simple exporter \| ([\d.]+) \| ([\d.]+) \|$", cost, re.MULTILINE
        )
    }
    [turn] = re.findall(
        r"^\| Flower's CPU \|(?: ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|) [\d.]+ \|", cost, re.MULTILINE
    )
    assert "less than a third of the CPU and an eighth of the memory" in README
    assert max(figures["own CPU"]) < 1 / 3
    assert max(figures["peak memory"]) <= 1 / 8
    assert "at most half as long" in README
    assert max(figures["Flower's longest stall"]) <= 1 / 2
    assert "costs Flower itself up to a fifth more CPU" in README
    assert max(figures["Flower's CPU"]) <= 1.2
    assert "less than a fifth of what the simple exporter does" in README
    assert max(float(figure) for figure in turn) < 1 / 5


def test_the_page_of_costs_says_what_the_last_run_measured() -> None:
    cost = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
    results = (ROOT / "bench/RESULTS.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in results.splitlines() if line.startswith("| ")]
    measured = {tuple(row[:3]): row[3] for row in rows if len(row) > 3}
    table = re.findall(
        r"^\| ([\w' ]+) \| (the simple exporter|the bare download) \| ([\d.]+) \| ([\d.]+) \|$", cost, re.MULTILINE
    )
    assert len(table) == 5
    for name, against, newest, older in table:
        if name != "Flower's CPU":  # no target, so in another table
            assert [measured[name, against, version] for version in ("2.2.0", "2.0.1")] == [newest, older]
    turns = re.findall(
        r"^\| ([\w' ]+) \| ([\d.]+) \| ([\d.]+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", cost, re.MULTILINE
    )
    assert len(turns) == 4
    for name, newest, older in turns:
        found = [measured[f"{name}, a turn of run", "the simple exporter", version] for version in ("2.2.0", "2.0.1")]
        assert found == [newest, older]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_each_picture_is_small_loads_nothing_and_shows_its_command(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    words = "".join(ElementTree.fromstring(text).itertext()).replace("\xa0", " ")
    assert len(text) < 20_000
    assert set(re.findall(r"https?://[^\"<) ]+", text)) - {"http://127.0.0.1:5555"} == {"http://www.w3.org/2000/svg"}
    assert f"$ push-job {picture.stem}" in words
    assert "127.0.0.1:5555" in words


def test_there_are_pictures_of_show_and_check() -> None:
    assert [path.stem for path in PICTURES] == ["check", "show"]


def test_the_page_of_metrics_has_every_family_with_its_type_and_labels_and_no_other(
    push_job: PushJob, flower: Flower, worker: Worker
) -> None:
    run = push_job("show", "--format", "prometheus", "--flower", flower.url)
    assert run.returncode == 0, run.stderr
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in METRICS.splitlines() if row.startswith("| `")]
    told = {name: kind for names, kind, *_ in rows for name in re.findall(r"`(\w+)`", names)}
    of_the_pushgateway = {"push_time_seconds": "gauge", "push_failure_time_seconds": "gauge"}
    assert told == families(run.stdout) | of_the_pushgateway
    for names, _, labels, _ in rows:
        [name, *_] = re.findall(r"`(\w+)`", names)
        for sample in re.findall(rf"^{name}{{(.*)}} ", run.stdout, re.MULTILINE):
            own = set(re.findall(r'(\w+)="', sample)) - {"job", "instance"}
            assert own == set(re.findall(r"`(\w+)`", labels))


def test_every_option_has_a_variable_of_its_name() -> None:
    for option in options():
        variable = "PUSH_JOB_" + option.opts[0].removeprefix("--").replace("-", "_").upper()
        assert variable in (option.envvar if isinstance(option.envvar, list) else [option.envvar])


def test_the_page_of_options_names_every_command_and_exit_code() -> None:
    page = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    assert all(f"`push-job {name}" in page for name in main.commands)
    assert re.findall(r"^\| (\d) \|", page, re.MULTILINE) == ["0", "1", "2", "3"]
