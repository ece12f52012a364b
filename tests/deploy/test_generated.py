"""What is generated from other files was generated anew: `make generate`."""

from pathlib import Path

import pytest

from release.generated import GENERATED, NOT_A_SETTING, extras
from release.render import ROOT
from tests.deploy import command_line


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_is_what_make_generate_writes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path]()


def test_the_pages_name_every_option_extra_and_alert() -> None:
    page = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    for command in command_line.commands().values():
        for parameter in command.params:
            assert f"| `{parameter.opts[0]}" in page
    assert extras()
    assert (ROOT / "docs/alerts.md").read_text(encoding="utf-8").count("\n### ") > 10


def test_what_the_chart_sets_itself_is_an_option() -> None:
    assert {f"PUSH_JOB_{name}" for name in NOT_A_SETTING} <= command_line.variables()
