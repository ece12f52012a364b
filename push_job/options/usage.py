"""Usage errors in one line, and click types that click lacks."""

from __future__ import annotations

import math
import os
import re
from typing import Any

import click

#: The exit code of a wrong option, which is click's as well.
USAGE_ERROR = 2

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_FLAG = re.compile(r"--[a-z-]+")
_DURATION = re.compile(r"([0-9.eE+-]*[0-9.])\s*([smhd]?)", re.ASCII)


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.3
    """A duration in seconds: ``90``, ``90s``, ``1m``, ``1h`` or ``1d``.

    Args:
        maximum: the largest number of seconds allowed.
        zero: whether 0 is allowed.
    """

    name = "duration"

    def __init__(self, *, zero: bool = False, maximum: float = 86_400) -> None:
        self._zero = zero
        self._maximum = maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number of seconds."""
        seconds = float(value) if isinstance(value, int | float) else _seconds(value)
        if seconds is None or math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds like 90, or a duration like 90s, 5m or 1h", param, ctx)
        lowest = "0" if self._zero else "more than 0"
        if not (0 < seconds <= self._maximum or (self._zero and seconds == 0)):
            self.fail(f"{value!r} is not in the range from {lowest} to {self._maximum:g} seconds", param, ctx)
        return seconds


def _seconds(text: str) -> float | None:
    match = _DURATION.fullmatch(text.strip())
    try:
        return float(match[1]) * _UNITS[match[2]] if match else None
    except ValueError:
        return None


#: Types that would keep blanks around a value, or reject them without saying so.
_EXACT_TYPES = (click.types.StringParamType, click.Choice, click.Path)


def blanks_around(text: str) -> str | None:
    """Return what is wrong with a text that begins or ends with a blank or a line end."""
    if text == text.strip():
        return None
    line_end = "a line end of Windows, as in an .env file" if text.endswith("\r") else "a blank or a line end"
    return f"{text!r} begins or ends with {line_end}; remove it"


def quotes_around(text: str) -> str | None:
    """Return the problem of a text in quotes, or None if it is not in quotes.

    The problem does not contain the text itself, which may be a secret.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return f"the value is in quotes ({text[0]}), which are part of it; remove them"
    return None


class Option(click.Option):
    """An option that errors may call by the name of its environment variable.

    They do so if the value comes from the variable.

    Args:
        is_list: whether one value of an option with several values may be a list, separated by blanks.
    """

    def __init__(self, *arguments: Any, is_list: bool = True, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._is_list = is_list and self.multiple

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Convert the value, unless it contains remains of an .env file.

        Remains are quotes, or a line end of Windows. A list is separated by blanks, in an option as in a variable.
        """
        values = value if isinstance(value, list | tuple) else [value]
        if self._is_list and isinstance(value, list | tuple):
            value = values = [word for text in values for word in (text.split() if isinstance(text, str) else [text])]
        texts = [text for text in values if isinstance(text, str)]
        # A variable with a list was split at blanks, also within quotes.
        problem = quotes_around(" ".join(texts))
        if isinstance(self.type, _EXACT_TYPES):
            problem = problem or next(filter(None, map(blanks_around, texts)), None)
        if problem:
            raise click.BadParameter(problem, ctx, self)
        return super().type_cast_value(ctx, value)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return the name for click's errors."""
        return f"'{self.name_in_use(ctx)}'" if ctx else super().get_error_hint(ctx)

    def name_in_use(self, ctx: click.Context) -> str:
        """Return the variable that the value comes from; otherwise the flag."""
        if ctx.get_parameter_source(self.name or "") is click.core.ParameterSource.ENVIRONMENT:
            variables = [self.envvar] if isinstance(self.envvar, str) else self.envvar or ()
            return next((variable for variable in variables if os.environ.get(variable)), self.opts[0])
        return self.opts[0]


class OneLineError(click.ClickException):
    """A wrong setting, reported in one line.

    A flag at the beginning of the message is replaced by the environment variable that the value comes from, if any.
    """

    exit_code = USAGE_ERROR

    def __init__(self, message: str) -> None:
        super().__init__(_named_as_set(message))


def _named_as_set(message: str) -> str:
    """Replace the flag at the beginning of a message; see OneLineError."""
    context = click.get_current_context(silent=True)
    flag = _FLAG.match(message)
    if context is None or flag is None:
        return message
    options = (option for option in context.command.params if isinstance(option, Option) and flag[0] in option.opts)
    return next((f"{option.name_in_use(context)}{message[flag.end() :]}" for option in options), message)


class OneLineCommand(click.Command):
    """A command that reports a usage error in one line, without the usage text."""

    def make_context(self, info_name: str | None, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments. Raises OneLineError."""
        try:
            return super().make_context(info_name, *args, **kwargs)
        except click.exceptions.NoArgsIsHelpError:
            raise  # without any argument the help text is the answer
        except click.UsageError as error:
            raise _one_line_error(error) from None


class OneLineGroup(OneLineCommand, click.Group):
    """A group of such commands."""

    command_class = OneLineCommand

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what precedes the command. Raises OneLineError for an option of a command."""
        command = next((name for name in args if name in self.commands), "COMMAND")
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            flag = error.option_name
            if not any(flag in option.opts for found in self.commands.values() for option in found.params):
                raise
            path = ctx.command_path
            raise OneLineError(
                f"{flag} must follow the command, as in: {path} {command} {flag}; see {path} --help"
            ) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the named command. Raises OneLineError."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise _one_line_error(error) from None


def _one_line_error(error: click.UsageError) -> OneLineError:
    path = error.ctx.command_path if error.ctx else "push-job"
    message = error.format_message().rstrip(".")
    return OneLineError(f"{message} See {path} --help" if message.endswith("?") else f"{message}; see {path} --help")


def not_empty(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Reject an empty path; the callback of path options."""
    if value == "":
        raise click.BadParameter("the path is empty")
    return value
