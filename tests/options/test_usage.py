"""The click types and usage errors of push_job/options/usage.py."""

import math

import click
import pytest

from push_job.options.usage import USAGE_ERROR, Duration, OneLineCommand, OneLineError, OneLineGroup, not_empty


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1m", 60),
        ("1h", 3600),
        ("1d", 86_400),
        ("0.5m", 30),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e-7", 1e-7),
        ("1e3s", 1000),
        (" 5 m ", 300),
        (15.0, 15.0),
        (3, 3.0),
        ("86400", 86_400),
    ],
)
def test_a_duration_is_seconds(text: object, seconds: float) -> None:
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("0", "0s", "-1", "-1m", "NaN", "nan", "inf", "-inf", "Infinity", "1e400", "86401", "2d", "25h"),
        *("", "m", "soon", "1w", "1 2", "1m30s", "1,5", "1_000", "٣", "0x10", "1e", "--1", math.nan, math.inf, 0, -1.0),
    ],
)
def test_what_is_not_a_duration_is_refused(text: object) -> None:
    with pytest.raises(click.BadParameter) as error:
        Duration().convert(text, None, None)
    assert repr(text) in error.value.message


@pytest.mark.parametrize("text", ["0", "0s", "0m", "0.0", 0, 0.0])
def test_zero_is_a_duration_only_where_it_means_something(text: object) -> None:
    assert Duration(zero=True).convert(text, None, None) == 0
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)
    with pytest.raises(click.BadParameter):
        Duration(zero=True).convert("-1", None, None)


def test_the_largest_duration_is_allowed_and_no_more() -> None:
    assert Duration(maximum=10).convert("10", None, None) == 10
    with pytest.raises(click.BadParameter):
        Duration(maximum=10).convert("10.1", None, None)


@click.group(cls=OneLineGroup)
def _program() -> None:
    """A program."""


@_program.command()
@click.option("--count", type=int, required=True)
def _work(count: int) -> None:
    """A command."""


@pytest.mark.parametrize(
    "arguments",
    [["--no-such"], ["wrok"], ["_work", "--count", "x"], ["_work"], ["_work", "--count", "1", "stray"]],
)
def test_a_usage_error_is_one_line_with_the_way_to_help(arguments: list[str]) -> None:
    arguments = [_name(argument) for argument in arguments]
    with pytest.raises(OneLineError) as error:
        _program.main(arguments, prog_name="push-job", standalone_mode=False)
    assert error.value.exit_code == USAGE_ERROR == 2
    assert "\n" not in error.value.message
    assert error.value.message.endswith("--help")


def _name(argument: str) -> str:
    return next(iter(_program.commands)) if argument == "_work" else argument


def test_a_command_of_such_a_group_is_a_one_line_command() -> None:
    assert all(isinstance(command, OneLineCommand) for command in _program.commands.values())


def test_an_empty_path_is_refused() -> None:
    context = click.Context(click.Command("x"))
    option = click.Option(["--file"])
    with pytest.raises(click.BadParameter):
        not_empty(context, option, "")
    assert not_empty(context, option, None) is None
    assert not_empty(context, option, "a") == "a"
