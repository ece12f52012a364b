"""Run the steps of the Dockerfile in a folder, without a Docker engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from release.render import ROOT

Instruction = tuple[str, str]  # e.g. ("RUN", "python -m venv /opt/push-job")


def instructions(text: str) -> list[Instruction]:
    """Return the instructions, with continued lines joined and without comments."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name, rest) for name, rest in pairs]


def last(name: str, steps: list[Instruction]) -> str:
    """Return the last instruction of this name, which is the effective one."""
    return [rest for step, rest in steps if step == name][-1]


def is_sent_to_the_engine(path: str) -> bool:
    """Return whether .dockerignore includes a path; the last match decides."""
    parts = PurePosixPath(path).parts
    parents = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        candidates = parts if pattern.startswith("**/") else parents
        is_pattern = line and not line.startswith("#")
        if is_pattern and any(fnmatch(candidate, pattern.removeprefix("**/")) for candidate in candidates):
            sent = line.startswith("!")
    return sent


class Image:
    """The image's files below one folder, its variables and its entry point.

    Both stages share the folder, because COPY --from uses the same path in both.
    """

    def __init__(self, folder: Path, python: Path) -> None:
        """Use `python` as the interpreter of the base image: its folder is added to PATH."""
        self.folder = folder
        self.python = python
        self.variables: dict[str, str] = {}
        self.work_folder = folder
        self.entry_point: list[str] = []
        self.user = ""

    def build(self) -> None:
        """Run all steps. Raises subprocess.CalledProcessError if one fails."""
        steps: dict[str, Callable[[str], None]] = {
            "FROM": self._from,
            "ENV": self._env,
            "WORKDIR": self._workdir,
            "COPY": self._copy,
            "RUN": self._run,
            "USER": self._user,
            "ENTRYPOINT": self._entry_point,
            "LABEL": lambda _: None,
        }
        for name, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
            steps[name](rest)

    def environment(self) -> dict[str, str]:
        """Return the variables of a container, with paths in the folder."""
        path = f"{self.python.parent}:/usr/bin:/bin"
        return {
            "PATH": path,
            "HOME": "/",
            **{k: self._here(v.replace("$PATH", path)) for k, v in self.variables.items()},
        }

    def _from(self, _: str) -> None:
        self.variables = {}

    def _env(self, rest: str) -> None:
        self.variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))

    def _user(self, rest: str) -> None:
        self.user = rest

    def _entry_point(self, rest: str) -> None:
        self.entry_point = json.loads(rest)

    def _workdir(self, rest: str) -> None:
        self.work_folder = self.folder / rest.lstrip("/")
        self.work_folder.mkdir(parents=True)

    def _copy(self, rest: str) -> None:
        *sources, target = shlex.split(rest)
        if sources[0].startswith("--from"):
            if sources[1] != target:
                raise ValueError(f"COPY {rest}: only copies to the same path are supported")
            return
        for source in sources:
            if not is_sent_to_the_engine(source):
                raise ValueError(f".dockerignore keeps {source} from the engine")
            where = self.work_folder / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, where, ignore=_kept_back)
            else:
                shutil.copy(ROOT / source, where)

    def _run(self, rest: str) -> None:
        # Keep this machine's settings of pip, so that it finds its packages.
        env = {**os.environ, **self.environment()}
        shell = ["/bin/sh", "-ec", self._here(rest)]
        subprocess.run(shell, cwd=self.work_folder, env=env, check=True, capture_output=True, text=True)

    def _here(self, text: str) -> str:
        return re.sub(r"(?<![\w/])/(?=opt/|usr/local/)", f"{self.folder}/", text)


def _kept_back(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not is_sent_to_the_engine(f"{folder}/{name}".removeprefix(f"{ROOT}/"))}
