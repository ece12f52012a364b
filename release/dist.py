"""`make dist`: build and check wheel, sdist, chart package and SBOM in dist/.

The workflow calls `python -m release.dist dist --tag v1.2.3 --image ghcr.io/me/it --home-url https://github.com/me/it`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import yaml
from packaging.metadata import ExceptionGroup, Metadata

from push_job import __version__
from release.render import CHART, ROOT, helm

NAME = f"flower_push_job-{__version__}"
WHEEL = f"{NAME}-py3-none-any.whl"
SDIST = f"{NAME}.tar.gz"
PACKAGED_CHART = f"flower-push-job-{__version__}.tgz"
SBOM = f"flower-push-job-{__version__}.cdx.json"
SUMS = "SHA256SUMS"

#: Address of the repository in the sources.
HOME = "https://github.com/OWNER/flower-push-job"


class DistError(Exception):
    """The distributions are wrong; the message is one line."""


def build(folder: Path, image: str, home_url: str) -> None:
    """Build all distributions in `folder`, which is emptied first.

    `image` and `home_url` are the addresses of the image and of the runbooks for the chart; empty for those in the
    sources.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _build_python(folder, home_url)
    _package_chart(folder, image, home_url)
    _run(
        *(Path(sys.executable).parent / "cyclonedx-py", "requirements", "requirements.txt"),
        *("--pyproject", "pyproject.toml", "--mc-type", "application", "--output-reproducible", "-o", folder / SBOM),
    )
    sums = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / SUMS).write_text("".join(sums))


def _build_python(folder: Path, home_url: str) -> None:
    """Build wheel and sdist with the addresses of the release."""
    uv = Path(sys.executable).parent / "uv"
    with tempfile.TemporaryDirectory() as name:
        sources = Path(name)
        for source in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"):
            shutil.copy(ROOT / source, sources)
        shutil.copytree(ROOT / "push_job", sources / "push_job", ignore=shutil.ignore_patterns("__pycache__"))
        _set_home(sources / "pyproject.toml", home_url)
        lock = ROOT / "requirements-build.txt"
        _run(uv, "build", "-q", "--out-dir", folder, "--build-constraints", lock, "--require-hashes", sources)
    (folder / ".gitignore").unlink(missing_ok=True)


def _set_home(path: Path, home_url: str) -> None:
    """Replace the placeholder by the address of the repository.

    In links, main becomes the tag of the release.
    """
    if home_url:
        text = path.read_text(encoding="utf-8")
        text = re.sub(rf"{HOME}/(blob|raw)/main/", rf"{home_url}/\1/v{__version__}/", text).replace(HOME, home_url)
        owner = home_url.rpartition("/")[0]
        path.write_text(text.replace("https://github.com/OWNER", owner).replace("OWNER", owner.rpartition("/")[2]))


def _package_chart(folder: Path, image: str, home_url: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        chart = Path(shutil.copytree(CHART, Path(name) / CHART.name))  # replaces links by their targets
        _set_home(chart / "Chart.yaml", home_url)
        values = chart / "values.yaml"
        text = values.read_text(encoding="utf-8")
        if image:
            text = _replaced(text, "  repository: flower-push-job\n", f"  repository: {image}\n")
        if home_url:
            page = f"{home_url}/blob/v{__version__}/docs/alerts.md"
            text = _replaced(text, '  runbookUrl: ""\n', f"  runbookUrl: {page}\n")
        values.write_text(text, encoding="utf-8")
        _run_helm("package", chart, "--destination", folder)


def check(folder: Path) -> None:
    """Check the contents of the distributions. Raises DistError."""
    expected = {WHEEL, SDIST, PACKAGED_CHART, SBOM, SUMS}
    if (found := {path.name for path in folder.iterdir()}) != expected:
        raise DistError(f"{folder} contains {sorted(found)} instead of {sorted(expected)}")
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "push_job").rglob("*") if _is_source(path)}
    with zipfile.ZipFile(folder / WHEEL) as wheel:
        info = f"{NAME}.dist-info"
        more = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
        _same("the wheel", set(wheel.namelist()), sources | {f"{info}/{name}" for name in more})
        _check_metadata("the wheel", wheel.read(f"{info}/METADATA"))
        if b"push-job = push_job.__main__:main" not in wheel.read(f"{info}/entry_points.txt"):
            raise DistError("the wheel does not install the command push-job")
    with tarfile.open(folder / SDIST) as sdist:
        more = {"README.md", "LICENSE", "CHANGELOG.md", "PKG-INFO", "pyproject.toml", ".gitignore"}
        _same("the sdist", {name.partition("/")[2] for name in sdist.getnames()}, sources | more)
        member = sdist.extractfile(f"{NAME}/PKG-INFO")
        _check_metadata("the sdist", member.read() if member else b"")
    _check_chart(folder / PACKAGED_CHART)
    _check_sbom(folder / SBOM)


def _check_metadata(what: str, text: bytes) -> None:
    try:
        metadata = Metadata.from_email(text, validate=True)
    except ExceptionGroup as error:
        raise DistError(f"{what}'s metadata: {'; '.join(map(str, error.exceptions))}") from None
    if str(metadata.version) != __version__:
        raise DistError(f"{what} has version {metadata.version}, the program has {__version__}")
    if relative := re.findall(r"\]\((?!https?://|#)([^)]+)\)", metadata.description or ""):
        raise DistError(f"{what}'s description has relative links: {relative}")


def check_changelog(text: str) -> None:
    """Check that the changelog has a section with entries for this version.

    Raises:
        DistError: if it has none.
    """
    _, _, section = text.partition(f"\n## [{__version__}]")
    if "\n- " not in section.partition("\n## ")[0]:
        raise DistError(f"CHANGELOG.md has no section with entries for {__version__}")


def _check_chart(package: Path) -> None:
    _run_helm("lint", "--strict", package)
    rendered = _run_helm("template", "flower-push-job", package, "--set", "rules.enabled=true,dashboards.enabled=true")
    kinds = [found["kind"] for found in yaml.safe_load_all(rendered) if found]
    dashboards = len(list((ROOT / "grafana/dashboards").glob("*.json")))
    if kinds.count("PrometheusRule") != 1 or kinds.count("ConfigMap") != dashboards + 1:
        raise DistError("the packaged chart has no rules or no dashboards")
    with tarfile.open(package) as tar:
        if any(member.issym() for member in tar):
            raise DistError("the packaged chart contains links")


def _check_sbom(path: Path) -> None:
    bom = json.loads(path.read_text(encoding="utf-8"))
    listed = {f"{component['name']}=={component['version']}" for component in bom["components"]}
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    _same("the SBOM", listed, set(re.findall(r"^([\w.-]+==[^ \\]+)", lock, re.MULTILINE)))


def _same(what: str, found: set[str], expected: set[str]) -> None:
    if found != expected:
        raise DistError(f"{what} lacks {sorted(expected - found)} and has unexpected {sorted(found - expected)}")


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise DistError(f"values.yaml has the line {old.strip()!r} {text.count(old)} times instead of once")
    return text.replace(old, new)


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DistError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")


def _run_helm(*arguments: str | Path) -> str:
    done = helm(*arguments)
    if done.returncode != 0:
        raise DistError(f"helm {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name in ("--tag", "--image", "--home-url"):
        parser.add_argument(name, default="")
    arguments = parser.parse_args()
    if arguments.tag and arguments.tag != f"v{__version__}":
        raise DistError(f"the tag is {arguments.tag}, the version in push_job/__init__.py is {__version__}")
    if arguments.tag and not arguments.home_url:
        raise DistError("a release needs --home-url, the address of its repository")
    check_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    build(arguments.folder, arguments.image, arguments.home_url)
    check(arguments.folder)
    for path in sorted(arguments.folder.iterdir()):
        print(f"{path} ({path.stat().st_size} bytes)")


if __name__ == "__main__":
    try:
        _main()
    except DistError as error:
        sys.exit(f"dist: {error}")
