"""docs/run-*.md: commands and files exist, and the example output is right."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from release.render import ROOT
from testbed.command import PushJob
from testbed.services import Flower, Pushgateway
from tests.deploy import command_line
from tests.deploy.manifests import build

PAGES = sorted((ROOT / "docs").glob("run-*.md"))
# Programs whose options are not checked.
OTHERS = {
    "cp",
    "curl",
    "docker",
    "export",
    "find",
    "install",
    "journalctl",
    "kubectl",
    "python3",
    "rm",
    "systemctl",
    "until",
}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language without indentation."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def commands(page: Path) -> list[list[str]]:
    """Return the words of each command after a $ or # prompt."""
    lines = (line for block in blocks(page, "console") for line in block.splitlines())
    return [shlex.split(line[2:].partition(" | ")[0]) for line in lines if line[:2] in {"$ ", "# "}]


def jobs_arguments(words: list[str]) -> list[str]:
    """Return the arguments of push-job or its image; empty for other programs."""
    if words[0] == "push-job":
        return words[1:]
    if words[:2] == ["docker", "run"]:
        [image] = [place for place, word in enumerate(words) if re.fullmatch(r"flower-push-job:[\d.]+", word)]
        return words[image + 1 :]
    return []


def test_every_way_to_run_has_a_page() -> None:
    assert {page.stem for page in PAGES} == {"run-once", "run-loop", "run-cluster", "run-systemd-cron", "run-docker"}


@every_page
def test_commands_and_options_of_push_job_exist(page: Path) -> None:
    commands_found = [args for args in map(jobs_arguments, commands(page)) if args]
    named = re.findall(r"`push-job (\w+)", page.read_text(encoding="utf-8"))
    assert {args[0] for args in commands_found} | set(named) <= command_line.commands().keys()
    for command, *options in commands_found:
        assert command_line.unknown_options(command, options) == set()
    assert commands_found or page.stem == "run-systemd-cron", "only that page has no command, because the units have it"


@every_page
def test_commands_use_known_programs(page: Path) -> None:
    for words in commands(page):
        program = next(word for word in words if "=" not in word)
        assert Path(program).name in {*OTHERS, "push-job", "pip"}


@every_page
def test_files_in_commands_exist(page: Path) -> None:
    for words in commands(page):
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if word.startswith("cronjob/") or word == "-r":
                assert (ROOT / (following if word == "-r" else word)).exists()
            if word == "-k":
                assert build(ROOT / following)


def test_scrape_job_is_that_of_prometheus_yml() -> None:
    [shown] = [yaml.safe_load(block) for block in blocks(ROOT / "docs/run-cluster.md", "yaml") if "scrape" in block]
    real = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    assert shown["scrape_configs"] == real["scrape_configs"]


def test_command_and_its_output_match_a_real_run(
    push_job: PushJob, flower: Flower, clean_pushgateway: Pushgateway
) -> None:
    page = ROOT / "docs/run-once.md"
    address = flower.url.removeprefix("http://")
    first = jobs_arguments(commands(page)[0])
    own = {"http://127.0.0.1:5555": flower.url, "http://127.0.0.1:9091": clean_pushgateway.url}
    run = push_job(*(own.get(word, word) for word in first))
    assert run.returncode == 0
    [line] = [line for line in blocks(page, "console")[0].splitlines() if line.startswith("ts=")]
    assert re.findall(r"(\w+)=", line) == re.findall(r"(\w+)=", run.stderr)
    [sample] = [line for block in blocks(page, "console") for line in block.splitlines() if "flower_up{" in line]
    metrics = clean_pushgateway.client.get(f"{clean_pushgateway.url}/metrics")
    assert sample.replace("127.0.0.1:5555", address) in metrics.splitlines()
