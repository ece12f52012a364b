"""`make dist` and the workflows: contents, rejected input, permissions."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from push_job import __version__
from release import dist
from release.render import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
BIN = Path(sys.executable).parent

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the distributions of a release."""
    folder = tmp_path_factory.mktemp("built") / "dist"
    dist.build(folder, image="ghcr.io/me/it", home_url="https://github.com/me/it")
    return folder


@pytest.mark.slow
def test_distributions_are_complete(built: Path) -> None:
    dist.check(built)
    summed_up = {line.split("  ")[1] for line in (built / dist.SUMS).read_text().splitlines()}
    assert summed_up == {path.name for path in built.iterdir()} - {dist.SUMS}
    summed = subprocess.run(["sha256sum", "--check", "--quiet", dist.SUMS], cwd=built, check=False)
    assert summed.returncode == 0


@pytest.mark.slow
def test_wheel_is_the_complete_program(built: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(built / dist.WHEEL) as wheel:
        wheel.extractall(tmp_path)
    command = [sys.executable, "-m", "push_job", "--version"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert __version__ in run.stdout


@pytest.mark.slow
def test_packaged_chart_has_the_addresses_of_image_and_runbooks(built: Path) -> None:
    with tarfile.open(built / dist.PACKAGED_CHART) as tar:
        member = tar.extractfile("flower-push-job/values.yaml")
        assert member is not None
        values = yaml.safe_load(member.read())
    assert values["image"]["repository"] == "ghcr.io/me/it"
    assert values["rules"]["runbookUrl"] == f"https://github.com/me/it/blob/v{__version__}/docs/alerts.md"


@pytest.mark.slow
def test_no_placeholder_or_relative_link_is_in_a_release(built: Path) -> None:
    with zipfile.ZipFile(built / dist.WHEEL) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith("METADATA")]
        metadata = wheel.read(name).decode()
    with tarfile.open(built / dist.PACKAGED_CHART) as tar:
        member = tar.extractfile("flower-push-job/Chart.yaml")
        assert member is not None
        chart = member.read().decode()
    assert "OWNER" not in chart + metadata
    assert yaml.safe_load(chart)["home"] == "https://github.com/me/it"
    assert f"(https://github.com/me/it/raw/v{__version__}/docs/pictures/dashboard.png)" in metadata
    assert f"(https://github.com/me/it/blob/v{__version__}/docs/options.md)" in metadata


@pytest.mark.parametrize("text", ["", f"# C\n\n## [{__version__}]\n\n## [0.0.1]\n\n- x\n"], ids=["missing", "empty"])
def test_version_without_a_section_in_the_changelog_is_rejected(text: str) -> None:
    with pytest.raises(dist.DistError, match=re.escape(__version__)):
        dist.check_changelog(text)
    dist.check_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def without_a_module(folder: Path) -> None:
    complete = folder / "complete"
    (folder / dist.WHEEL).rename(complete)
    with zipfile.ZipFile(complete) as old, zipfile.ZipFile(folder / dist.WHEEL, "w") as new:
        for name in old.namelist():
            if name != "push_job/job.py":
                new.writestr(name, old.read(name))
    complete.unlink()


def with_a_component_too_few(folder: Path) -> None:
    bom = json.loads((folder / dist.SBOM).read_text())
    bom["components"].pop()
    (folder / dist.SBOM).write_text(json.dumps(bom))


def with_a_chart_that_is_empty(folder: Path) -> None:
    with tarfile.open(folder / dist.PACKAGED_CHART, "w:gz"):
        pass


def without_an_sbom(folder: Path) -> None:
    (folder / dist.SBOM).unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_a_module, "push_job/job.py"),
        (with_a_component_too_few, "the SBOM lacks"),
        (with_a_chart_that_is_empty, "helm lint failed"),
        (without_an_sbom, dist.SBOM),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_incomplete_distributions_are_rejected(
    built: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damaged = Path(shutil.copytree(built, tmp_path / "dist"))
    damage(damaged)
    with pytest.raises(dist.DistError, match=re.escape(message)):
        dist.check(damaged)


@pytest.mark.slow
def test_tag_of_another_version_is_rejected_before_the_build(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "release.dist", str(tmp_path / "dist"), "--tag", "v99.0.0"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr == f"dist: the tag is v99.0.0, the version in push_job/__init__.py is {__version__}\n"
    assert not (tmp_path / "dist").exists()


@pytest.mark.slow
def test_workflow_linter_finds_nothing() -> None:
    command = [str(BIN / "zizmor"), "--offline", "--pedantic", "--no-progress", str(ROOT / ".github")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert all(path.name in run.stderr for path in WORKFLOWS), "the linter did not read every workflow"


@pytest.mark.slow
def test_workflow_linter_finds_an_unpinned_action(tmp_path: Path) -> None:
    loose = tmp_path / "loose.yml"
    loose.write_text(re.sub(r"@[0-9a-f]{40} # ", "@", WORKFLOWS[0].read_text()))
    command = [str(BIN / "zizmor"), "--offline", str(loose)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "unpinned-uses" in run.stdout


@pytest.mark.slow
@every_workflow
def test_workflows_match_the_schema(path: Path) -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@every_workflow
def test_jobs_have_only_declared_permissions(path: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    writing = {name for name, job in workflow["jobs"].items() if "write" in job["permissions"].values()}
    assert writing == ({"image", "chart", "release", "pypi"} if path.stem == "release" else set())


def test_targets_and_files_of_the_workflows_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"\bmake ([a-z]+)", text.replace("name: make", ""))) <= set(targets)
        for script in re.findall(r"run: (?:sudo|bash) (\S+)", text):
            assert (ROOT / script).is_file()
