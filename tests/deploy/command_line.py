"""Commands, options and variables of push-job."""

import re

import click

from push_job.cli import main


def commands() -> dict[str, click.Command]:
    """Return the commands by name."""
    return dict(main.commands)


def variables() -> set[str]:
    """Return all environment variables that push-job reads."""
    read: set[str] = set()
    for command in commands().values():
        for parameter in command.params:
            given = parameter.envvar or ()
            read |= {given} if isinstance(given, str) else set(given)
    # A password or token can also be in a variable that has no option.
    return read | {re.sub("_FILE$", "", name) for name in read if name.endswith(("_PASSWORD_FILE", "_TOKEN_FILE"))}


def unknown_variables(text: str) -> set[str]:
    """Return the variables in `text`, including comments, that push-job would ignore."""
    return set(re.findall(r"\bPUSH_JOB_[A-Z0-9_]+", text)) - variables()


def unknown_options(command: str, args: list[str]) -> set[str]:
    """Return the options in `args` that the command does not have."""
    known = {name for parameter in commands()[command].params for name in parameter.opts}
    return {arg.partition("=")[0] for arg in args if arg.startswith("-")} - known


def default_of(command: str, option: str) -> float:
    """Return the default of an option."""
    [parameter] = [parameter for parameter in commands()[command].params if option in parameter.opts]
    assert isinstance(parameter.default, float)
    return parameter.default
