"""House rules: one direction of imports, and short first lines of docstrings."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import push_job

ROOT = Path(push_job.__file__).parent

#: A module may import only from modules of earlier lines.
ORDER = (
    "text",
    "auth log",
    "settings",
    "http",
    "flower",
    "metrics",
    "scrape pushgateway fan_out",
    "cycle",
    "job",
    "terminal",
    "scheduler options checks explain",
    "deletion",
    "cli",
    "__main__",
)
PLACES = {name: place for place, names in enumerate(ORDER) for name in names.split()}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    """Yield the modules of push_job that a module imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("push_job."))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "push_job":
            for alias in node.names:
                deeper = ROOT.parent / Path(*node.module.split("."), alias.name)
                is_module = deeper.with_suffix(".py").exists() or deeper.is_dir()
                if is_module or node.module != "push_job":
                    yield f"{node.module}.{alias.name}" if is_module else node.module


def part_of(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_module_imports_from_a_later_one(path: Path) -> None:
    mine = part_of(name_of(path))
    assert mine in PLACES, f"{mine} is missing in ORDER"
    for other in imports(path):
        assert PLACES[part_of(other)] < PLACES[mine] or part_of(other) == mine, f"{name_of(path)} imports {other}"


def test_there_are_no_circles() -> None:
    graph = {name_of(path): set(imports(path)) for path in modules()}
    assert any(graph.values())
    while leaves := {name for name, needed in graph.items() if not needed & graph.keys()}:
        for name in leaves:
            del graph[name]
    assert not graph, f"these import one another: {sorted(graph)}"


@pytest.mark.parametrize("folder", ["push_job", "tests", "testbed", "bench", "grafana", "release"])
def test_first_lines_of_docstrings_are_short(folder: str) -> None:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [
        f"{path}: {text.splitlines()[0]}"
        for path in sorted((ROOT.parent / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kinds) and (text := ast.get_docstring(node)) and len(text.splitlines()[0]) > 80
    ]
    assert found == []
