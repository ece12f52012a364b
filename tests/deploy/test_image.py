"""The Dockerfile: run its steps in a folder, and run the result like a container."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from push_job import __version__
from release.render import ROOT
from testbed.services import Flower, Pushgateway
from tests.deploy import command_line
from tests.deploy.dockerfile import Image, instructions, is_sent_to_the_engine, last
from tests.deploy.manifests import CRONJOB, build, of_kind, pod_of

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Build the image once and make it read-only."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = folder / "usr/local"
        subprocess.run([sys.executable, "-m", "venv", base], check=True)
        # Two modules represent the standard library of the base image, which has no bytecode.
        for module in ("lib/python3.13/a_module.py", "lib/python3.13/test/a_test.py"):
            (base / module).parent.mkdir(parents=True)
            (base / module).touch()
        built = Image(folder, base / "bin/python")
        built.build()
        _change_modes(folder, ~0o222)
        yield built
        _change_modes(folder, 0o200)


def _change_modes(folder: Path, change: int) -> None:
    """Make all files writable for the owner (0o200) or read-only (~0o222)."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode & change if change < 0 else mode | change)


def as_container(image: Image, *args: str, settings: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the entry point as the image's user, who cannot write any file.

    If the machine allows user namespaces, the process has the image's user id and no capabilities. In any case its file
    size limit is 0.
    """
    user, group = image.user.split(":")
    namespace = ["unshare", "--user", f"--map-user={user}", f"--map-group={group}"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], check=False).returncode != 0:
        namespace = []
    limited = ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *namespace]
    env = {**image.environment(), **(settings or {})}
    command = [shutil.which(image.entry_point[0], path=env["PATH"]) or "", *image.entry_point[1:], *args]
    return subprocess.run([*limited, *command], cwd="/", env=env, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    run = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_both_stages_use_the_same_tagged_python() -> None:
    """Bytecode and the virtual environment depend on the interpreter."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    bases = {rest.split()[0] for name, rest in instructions(text) if name == "FROM"}
    assert len(bases) == 1
    version = re.fullmatch(r"python:(3\.\d+)-slim-\w+", bases.pop())
    assert version is not None
    assert re.findall(r"/usr/local/lib/python([\d.]+)", text) == [version[1]]


def test_pip_checks_hashes_of_all_downloads() -> None:
    steps = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    commands = [command for name, rest in steps if name == "RUN" for command in rest.split("&&")]
    downloads = [c for c in commands if " install " in c or " wheel " in c or " download " in c]
    assert downloads
    for command in downloads:
        assert "--require-hashes" in command or "--no-deps" in command
        assert "--require-hashes" in command or " wheel " not in command or "--no-build-isolation" in command


def test_user_and_entry_point_match_the_manifests() -> None:
    steps = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    context = pod_of(of_kind("CronJob", build(CRONJOB)))["securityContext"]
    assert last("USER", steps) == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert last("ENTRYPOINT", steps) == '["push-job"]'


@pytest.mark.parametrize(
    "path", [".git", ".venv", "tests", "push_job/__pycache__", "docs", "cronjob/base/my-secret.yaml"]
)
def test_unneeded_files_are_excluded_from_the_build(path: str) -> None:
    assert not is_sent_to_the_engine(path)


def test_image_has_bytecode_and_no_pip(image: Image) -> None:
    library = image.folder / "opt/push-job/lib"
    sources = [path for path in library.rglob("*.py") if path.is_file()]
    compiled = {path.name.partition(".")[0] for path in library.rglob("*.pyc")}
    assert (
        library / f"python{sys.version_info.major}.{sys.version_info.minor}/site-packages/push_job/cli.py"
    ) in sources
    assert {path.stem for path in sources} == compiled
    assert not list(library.rglob("pip"))
    assert [path.name for path in (image.folder / "usr/local/lib/python3.13").rglob("*.pyc")] != []
    assert not list((image.folder / "usr/local/lib/python3.13/test").rglob("*.pyc"))


def test_image_has_exactly_the_locked_packages(image: Image) -> None:
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    infos = (image.folder / "opt/push-job/lib").rglob("*.dist-info")
    installed = {info.name.partition("-")[0].lower().replace("_", "-") for info in infos}
    assert installed == {*locked, "flower-push-job"}


@pytest.mark.parametrize("args", [["--version"], ["--help"], *([name, "--help"] for name in command_line.commands())])
def test_image_runs_every_command(image: Image, args: list[str]) -> None:
    run = as_container(image, *args)
    assert run.returncode == 0, run.stderr
    assert args != ["--version"] or __version__ in run.stdout


def test_image_pushes_without_writing_files(image: Image, flower: Flower, clean_pushgateway: Pushgateway) -> None:
    settings = {"PUSH_JOB_FLOWER": flower.url, "PUSH_JOB_PUSHGATEWAY": clean_pushgateway.url}
    run = as_container(image, "push", settings=settings)
    assert run.returncode == 0, run.stderr
    assert clean_pushgateway.groups()


def test_image_cannot_write_its_own_files(image: Image) -> None:
    """The tests above depend on this."""
    command = Image(image.folder, image.python)
    command.variables, command.user = image.variables, image.user
    command.entry_point = ["python", "-c", "import os, sys; print(os.getuid()); open(sys.argv[1], 'w').write('x')"]
    run = as_container(command, str(image.folder / "opt/push-job/written"))
    assert run.returncode != 0
    assert "Error" in run.stderr
    assert run.stdout.strip() in {image.user.split(":")[0], str(os.getuid())}
