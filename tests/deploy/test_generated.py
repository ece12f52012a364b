"""Generated files are up to date (`make generate`)."""

import re
from pathlib import Path

import pytest
import yaml

from push_job.metrics.extras import EXTRAS
from release.generated import GENERATED, NOT_A_SETTING
from release.render import CHART, ROOT
from tests.deploy import command_line


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_what_make_generate_writes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path](), "run make generate"


def test_options_page_has_every_option_and_alerts_page_every_alert() -> None:
    page = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    for command in command_line.commands().values():
        for parameter in command.params:
            assert f"| `{parameter.opts[0]}" in page
    alerts = re.findall(r"- alert: (\w+)", "".join(path.read_text() for path in ROOT.glob("prometheus/rules/*.yml")))
    sections = re.findall(r"^### (\w+)$", (ROOT / "docs/alerts.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(sections) == sorted(alerts)


def test_extras_page_has_a_row_for_every_extra() -> None:
    page = (ROOT / "docs/extras.md").read_text(encoding="utf-8")
    assert [name for name in EXTRAS if f"\n| `{name}` |" not in page] == []


def test_chart_page_describes_every_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    page = (CHART / "README.md").read_text(encoding="utf-8")
    for name in values:
        assert f"| `{name}`" in page or f"| `{name}." in page, name


def test_alerts_page_names_the_extras_that_an_alert_reads() -> None:
    page = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    assert re.search(r"^\| \[CeleryTaskStuck\].*\| `ages` \|$", page, re.MULTILINE)
    # It reads the extras "activity" and "pools" through a recording rule.
    assert re.search(r"^\| \[CeleryWorkersFull\].*\| `pools`, `queues`, `activity` \|$", page, re.MULTILINE)


def test_variables_that_the_chart_sets_are_options() -> None:
    assert {f"PUSH_JOB_{name}" for name in NOT_A_SETTING} <= command_line.variables()
