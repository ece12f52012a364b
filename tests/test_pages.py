"""All pages: links, headings, commands, options and make targets exist."""

import re
from pathlib import Path

import pytest

from push_job.explain.rules import KINDS
from testbed.command import ROOT
from tests.deploy import command_line

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "charts/flower-push-job/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """Return the fragments that code hosts create for the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, fragment = link.partition("#")
        if "://" not in link:
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not fragment or fragment in anchors(target), link


@every_page
def test_commands_and_options_of_push_job_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", "")
    for command, rest in re.findall(r"(?:`|\$ )push-job ([a-z]+)([^`\n]*)", text):
        assert command in command_line.commands()
        assert command_line.unknown_options(command, rest.split()) == set()


@every_page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|\$ )make ([a-z -]+)", page.read_text(encoding="utf-8"))
    assert {word for words in named for word in words.split()} <= targets


def test_trouble_page_has_a_row_for_each_kind_of_finding() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "push_job/explain").rglob("*.py"))
    # A kind without a rule would occur in the table of kinds only.
    assert {kind for kind in KINDS if sources.count(f'"{kind}"') > 1} == KINDS.keys()


def test_files_and_folders_in_contributing_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`([\w.*-]+/[\w./*-]*)`", text))
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not any(ROOT.glob(path.rstrip("/")))] == []


def test_alerts_named_outside_the_rules_exist() -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("prometheus/rules/*.yml"))
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    values = ROOT / "charts/flower-push-job/values.yaml"
    # The page on migration has alerts of other projects; a name before .+ is a part of a regular expression.
    pages = [path for path in [*PAGES, values, *ROOT.glob("grafana/*.py")] if path.name != "migration.md"]
    texts = (path.read_text(encoding="utf-8") for path in pages)
    named = {name for text in texts for name in re.findall(r"\b(?:Celery|Flower|Pushgateway)[A-Z]\w+\b(?!\.\+)", text)}
    assert len(named) > 10
    assert named <= alerts
