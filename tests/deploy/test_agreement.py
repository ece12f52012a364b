"""Options, variables, limits and version agree in code and deployment files."""

import re
from pathlib import Path

import pytest
import yaml

from push_job import __version__
from push_job.explain.rules import capacity, failing, overdue, stuck
from release.render import CHART, ROOT
from tests.deploy import command_line
from tests.deploy.manifests import CRONJOB, build, container_of, of_kind

FILES = [
    *sorted(path for path in CRONJOB.rglob("*") if path.is_file()),
    *sorted(ROOT.glob("docs/run-*.md")),
    ROOT / "Dockerfile",
    ROOT / "compose.yaml",
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_deployment_file_has_only_known_variables(path: Path) -> None:
    assert command_line.unknown_variables(path.read_text(encoding="utf-8")) == set()


def test_unknown_variable_or_option_is_found() -> None:
    settings = (CRONJOB / "base/settings.yaml").read_text(encoding="utf-8")
    misspelt = settings.replace("PUSH_JOB_PUSHGATEWAY:", "PUSH_JOB_PUSH_GATEWAY:")
    assert command_line.unknown_variables(misspelt) == {"PUSH_JOB_PUSH_GATEWAY"}
    assert command_line.unknown_options("push", ["--flower=x", "--flowers=x"]) == {"--flowers"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_images_and_labels_have_the_current_version(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tags = re.findall(r"flower-push-job:(\d[\w.]*)|name: flower-push-job\n(?: +newName: .*\n)? +newTag: (\S+)", text)
    labels = re.findall(r'image\.version="(.+)"', text)
    assert {version for pair in tags for version in pair if version} | set(labels) <= {__version__}


@pytest.mark.parametrize("entry_point", ["", "sharded", "loop"], ids=["base", "sharded", "loop"])
def test_pods_use_the_current_image_and_known_options(entry_point: str) -> None:
    objects = build(CRONJOB / entry_point)
    container = container_of("Deployment" if entry_point == "loop" else "CronJob", objects)
    command, *options = container["args"]
    assert container["image"] == f"flower-push-job:{__version__}"
    assert command_line.unknown_options(command, options) == set()
    assert of_kind("ConfigMap", objects)["data"].keys() <= command_line.variables()


#: Limits of the rules that `explain` does not use (docs/trouble.md).
NOT_EXPLAINED = {"newFailures", "steadyRatio", "failureBudget"}


def test_explain_and_the_alerts_have_the_same_limits() -> None:
    rules = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["rules"]
    numbers = {name: value for name, value in rules.items() if isinstance(value, int | float) and value is not False}
    limits = {name: value for rule in (capacity, failing, overdue, stuck) for name, value in vars(rule).items()}
    explained = {name: limits[re.sub("([A-Z])", r"_\1", name).upper()] for name in numbers.keys() - NOT_EXPLAINED}
    assert numbers == {**explained, **{name: numbers[name] for name in NOT_EXPLAINED}}
