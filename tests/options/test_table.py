"""Every setting has one entry in the table of options, and none is ignored.

An entry has a parser and a field.
"""

import inspect
from dataclasses import fields

import click
import pytest

from push_job.cli import main
from push_job.options.table import PARSERS, SERVERS, setting, variable_of
from push_job.settings import Settings

#: Fields of Settings that are made of several options, or of the environment.
COMPOSED = {"flowers", "pushgateway", "prometheus", "grafana", "sharded", "proxy_secrets"}


def parameters() -> list[tuple[str, click.Option]]:
    """Return each command's name with each of its options."""
    return [
        (name, option)
        for name, command in main.commands.items()
        for option in command.params
        if isinstance(option, click.Option)
    ]


def test_every_field_of_settings_has_an_option() -> None:
    assert PARSERS.keys() == {field.name for field in fields(Settings)} - COMPOSED


def test_an_option_without_a_parser_cannot_be_declared() -> None:
    parse = inspect.signature(setting).parameters["parse"]
    assert parse.kind is inspect.Parameter.KEYWORD_ONLY
    assert parse.default is inspect.Parameter.empty
    before = dict(PARSERS)
    with pytest.raises(TypeError):
        setting("--page-size")  # type: ignore[call-arg]  # the missing argument is the point
    assert before == PARSERS


def test_an_option_of_no_field_cannot_be_declared() -> None:
    before = dict(PARSERS)
    with pytest.raises(KeyError):
        setting("--no-such-field", parse=str)
    assert before == PARSERS


def test_every_option_of_a_setting_is_taken_by_push() -> None:
    taken = {option.name for command, option in parameters() if command == "push"}
    assert taken >= PARSERS.keys()


def test_every_option_can_be_set_by_its_environment_variable() -> None:
    for command, option in parameters():
        if option.name == "help":
            continue
        flag = next(flag for flag in option.opts if flag.startswith("--"))
        variables = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
        assert variable_of(flag) in variables, (command, flag)


@pytest.mark.parametrize("command", ["show", "check", "delete"])
def test_an_option_of_push_is_taken_by_the_other_commands(command: str) -> None:
    def flags(name: str) -> set[str]:
        return {flag for owner, option in parameters() if owner == name for flag in option.opts}

    assert flags("push") <= flags(command)


def test_every_server_has_the_same_options_for_sign_in_and_tls() -> None:
    taken = {flag for _, option in parameters() for flag in option.opts}
    for server in SERVERS:
        for part in ("username", "password-file", "token-file", "ca-file", "cert-file", "key-file"):
            assert f"--{server}-{part}" in taken
        assert f"--{server}-password" not in taken  # every process could read it
        assert f"--{server}-token" not in taken


def test_the_default_that_help_shows_is_that_of_settings() -> None:
    defaults = {field.name: field.default for field in fields(Settings)}
    for _, option in parameters():
        if option.name in defaults and option.show_default:
            shown, default = option.default, defaults[option.name]
            if option.name != "pushgateway":
                assert shown == default
