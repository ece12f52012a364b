"""The README's tables say what the code does."""

import re
from collections.abc import Iterator

import click

from push_job.cli import main
from push_job.metrics.extras import EXTRAS
from push_job.metrics.families import PLAIN
from testbed.command import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def options() -> Iterator[click.Option]:
    for command in main.commands.values():
        yield from (parameter for parameter in command.params if isinstance(parameter, click.Option))


def test_the_table_has_every_option_and_no_other() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", README)) - {"--basic-auth"}
    assert named == {name for option in options() for name in option.opts if name.startswith("--")}


def test_the_defaults_in_the_table_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(--[a-z-]+)[^|]*\| `?([^|`]*)`? \|", README, re.MULTILINE))
    for option in options():
        default = option.default
        if option.opts[0] in rows and isinstance(default, int | float | str) and not option.is_flag:
            assert rows[option.opts[0]] == (f"{default:g}" if isinstance(default, float) else str(default))


def test_every_command_metric_and_extra_is_named() -> None:
    for name in (*main.commands, *(family.name for family in PLAIN), *EXTRAS):
        assert f"`{name}" in README or f"push-job {name}" in README


def test_every_option_has_a_variable_of_its_name() -> None:
    for option in options():
        variable = "PUSH_JOB_" + option.opts[0].removeprefix("--").replace("-", "_").upper()
        assert variable in (option.envvar if isinstance(option.envvar, list) else [option.envvar])
