"""The pages for people who change the project or report a hole: their links, targets and files exist."""

import re
from pathlib import Path

import pytest

from push_job.explain.findings import KINDS
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
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "push_job/explain").rglob("*.py"))
    # A name that is not in the rules would be found in the table only.
    named = {kind for kind in KINDS if sources.count(f'"{kind}"') > 1}
    assert named == KINDS.keys()
