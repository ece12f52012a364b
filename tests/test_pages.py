"""All pages: links, headings, commands, options and make targets exist."""

import re
from pathlib import Path

import pytest

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
    page = (ROOT / "docs/trouble.md").read_text(encoding="utf-8")
    [table] = re.findall(r"^\| `kind` in JSON \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "push_job/explain").glob("*.py"))
    kinds = {kind for source in sources for kind in re.findall(r'Level\.[A-Z]+,\n +"([a-z-]+)"', source)}
    assert len(kinds) > 10
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == kinds


def test_files_and_folders_in_contributing_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`([\w.*-]+/[\w./*-]*)`", text))
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not any(ROOT.glob(path.rstrip("/")))] == []


def test_alerts_named_outside_the_rules_exist() -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("prometheus/rules/*.yml"))
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    values = ROOT / "charts/flower-push-job/values.yaml"
    texts = (path.read_text(encoding="utf-8") for path in [*PAGES, values, *ROOT.glob("grafana/*.py")])
    named = {name for text in texts for name in re.findall(r"\b(?:Celery|Flower|Pushgateway)[A-Z]\w+", text)}
    assert len(named) > 10
    assert named <= alerts
