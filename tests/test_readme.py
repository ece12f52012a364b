"""README, docs/cost.md, metrics.md and options.md agree with the code."""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
import yaml

from push_job.cli import main
from push_job.metrics.extras import EXTRAS, families_with
from push_job.settings import Settings
from release.render import helm
from testbed.command import ROOT, PushJob
from testbed.services import Flower, Worker
from tests.deploy import command_line
from tests.deploy.manifests import build

README = (ROOT / "README.md").read_text(encoding="utf-8")
METRICS = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
PICTURES = sorted((ROOT / "docs/pictures").glob("*.svg"))


def options() -> list[click.Option]:
    found = (parameter for command in main.commands.values() for parameter in command.params)
    return [parameter for parameter in found if isinstance(parameter, click.Option)]


def families(exposition: str) -> dict[str, str]:
    """Return the type of each family by its name."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.MULTILINE))


def test_commands_targets_and_folders_in_the_readme_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    known = {name for option in options() for name in option.opts}
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]
    assert ["docker", "compose", "up"] in commands
    for program, *words in commands:
        assert program != "make" or set(words) <= set(targets)
        if program.endswith("push-job"):
            assert words[0] in main.commands
            assert {word for word in words if word.startswith("--")} <= known
    for folder in re.findall(r"kubectl apply -k (\S+?)`", README):
        assert (ROOT / folder / "kustomization.yaml").is_file()


def test_readme_begins_with_a_picture_below_300_kb() -> None:
    first = re.findall(r"!\[.+\]\((.+?)\)", README[:1500])
    assert first == ["docs/pictures/dashboard.png"]
    assert (ROOT / first[0]).stat().st_size < 300_000


def test_index_links_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", index))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]*)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_helm_command_of_the_readme_renders_everything() -> None:
    [command] = re.findall(r"^\$ helm install (.+?)\n```", README, re.MULTILINE | re.DOTALL)
    run = helm("template", *shlex.split(command.replace("\\\n", " ")))
    assert run.returncode == 0, run.stderr
    kinds = {found["kind"] for found in yaml.safe_load_all(run.stdout) if found}
    assert {"Deployment", "PrometheusRule", "ServiceMonitor", "ConfigMap"} <= kinds
    assert "CronJob" not in kinds


def test_folders_of_the_readme_can_be_built() -> None:
    folders = re.findall(r"(cronjob/(?:[\w-]+/)*)(?=\s)", "\n".join(re.findall(r"kubectl apply -k .*", README)) + "\n")
    assert len(folders) == 3
    for folder in folders:
        assert build(ROOT / folder)


def test_compose_service_of_the_readme_is_valid() -> None:
    [block] = re.findall(r"```yaml\n(services:.*?)```", README, re.DOTALL)
    service = yaml.safe_load(block)["services"]["push-job"]
    command, *options = service["command"]
    assert command_line.unknown_options(command, options) == set()
    assert service["environment"].keys() <= command_line.variables()
    assert float(service["stop_grace_period"].removesuffix("s")) > Settings.deadline


def test_cost_page_has_the_numbers_of_the_last_benchmark() -> None:
    cost = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
    results = (ROOT / "bench/RESULTS.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in results.splitlines() if line.startswith("| ")]
    measured = {tuple(row[:3]): row[3] for row in rows if len(row) > 3}
    table = re.findall(
        r"^\| ([\w' ]+) \| (the simple exporter|the bare download) \| ([\d.]+) \| ([\d.]+) \|$", cost, re.MULTILINE
    )
    assert len(table) == 5
    for name, against, newest, older in table:
        if name != "Flower's CPU":  # it has no target, so it is in another table
            assert [measured[name, against, version] for version in ("2.2.0", "2.0.1")] == [newest, older]
    cycles = re.findall(
        r"^\| ([\w' ]+) \| ([\d.]+) \| ([\d.]+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", cost, re.MULTILINE
    )
    assert len(cycles) == 4
    for name, newest, older in cycles:
        found = [measured[f"{name}, a cycle of run", "the simple exporter", version] for version in ("2.2.0", "2.0.1")]
        assert found == [newest, older]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_picture_is_small_self_contained_and_shows_its_command(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    shown = "".join(ElementTree.fromstring(text).itertext()).replace("\xa0", " ")
    assert len(text) < 20_000
    assert set(re.findall(r"https?://[^\"<) ]+", text)) - {"http://127.0.0.1:5555"} == {"http://www.w3.org/2000/svg"}
    assert f"$ push-job {picture.stem}" in shown
    assert "127.0.0.1:5555" in shown


def test_pictures_of_show_and_check_exist() -> None:
    assert [path.stem for path in PICTURES] == ["check", "show"]


def test_metrics_page_lists_every_family_with_its_type_and_labels() -> None:
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in METRICS.splitlines() if row.startswith("| `")]
    listed = {name.strip("`"): (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, *_ in rows}
    assert listed == {family.name: (family.type, family.labels) for family in families_with(EXTRAS)}


def test_every_family_of_a_real_scrape_is_on_the_metrics_page(
    push_job: PushJob, flower: Flower, worker: Worker
) -> None:
    run = push_job("show", "--format", "prometheus", "--flower", flower.url)
    assert run.returncode == 0, run.stderr
    found = families(run.stdout)
    assert found
    for name, kind in found.items():
        assert f"| `{name}` | {kind} |" in METRICS


def test_every_option_has_an_environment_variable() -> None:
    for option in options():
        variable = "PUSH_JOB_" + option.opts[0].removeprefix("--").replace("-", "_").upper()
        assert variable in (option.envvar if isinstance(option.envvar, list) else [option.envvar])


def test_options_page_names_every_command_and_exit_code() -> None:
    page = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    assert all(f"`push-job {name}" in page for name in main.commands)
    assert re.findall(r"^\| (\d) \|", page, re.MULTILINE) == ["0", "1", "2", "3"]
