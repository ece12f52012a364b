"""The pages for people who change the project or report a hole: their links, targets and files exist."""

import re
from pathlib import Path

import pytest

from testbed.command import ROOT
from tests.deploy import command_line

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "charts/flower-push-job/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """The fragments that its headings get on the usual code hosts."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, fragment = link.partition("#")
        if "://" not in link:
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not fragment or fragment in anchors(target), link


@every_page
def test_every_command_of_push_job_that_is_named_exists_and_has_its_options(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", "")
    for command, rest in re.findall(r"(?:`|\$ )push-job ([a-z]+)([^`\n]*)", text):
        assert command in command_line.commands()
        assert command_line.unknown_options(command, rest.split()) == set()


@every_page
def test_every_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|\$ )make ([a-z -]+)", page.read_text(encoding="utf-8"))
    assert {word for words in named for word in words.split()} <= targets


def test_the_page_on_trouble_has_a_row_for_each_kind_of_finding_and_no_other() -> None:
    page = (ROOT / "docs/trouble.md").read_text(encoding="utf-8")
    table = page[page.index("| `kind` in JSON |") : page.index("What follows from one thing")]
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "push_job/explain").glob("*.py"))
    kinds = {kind for source in sources for kind in re.findall(r'Level\.[A-Z]+,\n +"([a-z-]+)"', source)}
    assert len(kinds) > 10
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == kinds
