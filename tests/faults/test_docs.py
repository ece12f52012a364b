"""docs/faults.md names a test in every row, and each of them exists."""

import ast
import re

from testbed.command import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[str]:
    """The rows of the tables that have a column for tests."""
    tables = re.findall(r"^\|[^\n]*\| shown by \|\n\|[-|]+\|\n((?:\|[^\n]*\n)+)", PAGE, re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


def test_every_row_of_faults_names_a_test() -> None:
    assert len(rows()) > 30
    assert [row for row in rows() if not NAMED.search(row)] == []


def test_every_test_that_is_named_exists() -> None:
    for path, name in NAMED.findall(PAGE):
        module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"
