"""The commands' options, and how a wrong call is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from push_job.metrics.extras import EXTRAS
from push_job.settings import PAGE_SIZE, SORTED_PAGE_SIZE, Settings

DEFAULT_FLOWER = "http://127.0.0.1:5555"
DEFAULT_PUSHGATEWAY = "http://127.0.0.1:9091"

#: The exit code for a wrong option, which is click's as well.
USAGE = 2

Command = Callable[..., Any]
_FILE = click.Path(exists=True, dir_okay=False, readable=True)


class _Seconds(click.FloatRange):
    """A number of seconds; unlike click's range it leaves out NaN, which is in no order with any bound."""

    name = "number of seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        return self.fail(f"{value!r} is not a number of seconds", param, ctx) if math.isnan(number) else number


seconds = _Seconds(min=0, min_open=True, max=86_400)


class OneLineError(click.ClickException):
    """A wrong setting, told in one line."""

    exit_code = USAGE


class _ToldInOneLine(click.Command):
    """Tells a wrong call in one line, where click would print the usage too."""

    def make_context(self, info_name: str | None, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments; raises OneLineError."""
        try:
            return super().make_context(info_name, *args, **kwargs)
        except click.exceptions.NoArgsIsHelpError:
            raise  # a call without anything is answered with the help text
        except click.UsageError as error:
            raise _in_one_line(error) from None


class OneLineGroup(_ToldInOneLine, click.Group):
    """A group of commands, all of which tell a wrong call in one line."""

    command_class = _ToldInOneLine

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was asked for; raises OneLineError."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise _in_one_line(error) from None


def _in_one_line(error: click.UsageError) -> OneLineError:
    path = error.ctx.command_path if error.ctx else "push-job"
    message = error.format_message().rstrip(".")
    return OneLineError(f"{message} See {path} --help" if message.endswith("?") else f"{message}; see {path} --help")


def option(name: str, *names: str, **attributes: Any) -> Callable[[Command], Command]:
    """A click option that can also be set by ``PUSH_JOB_`` and its name in the environment."""
    variable = "PUSH_JOB_" + name.strip("-").replace("-", "_").upper()
    attributes.setdefault("envvar", variable)
    return click.option(name, *names, **attributes)


def setting(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option whose default is that of the field of Settings with its name."""
    default = getattr(Settings, name.strip("-").replace("-", "_"))
    return option(name, default=default, show_default=True, **attributes)


def stacked(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order of the help text."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def not_empty(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """The callback of an option with a path."""
    if value == "":
        raise click.BadParameter("the path is empty")
    return value


def unseen(options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Options that are taken but not named in the help: those of another command, whose line may be used again."""

    def decorate(command: Command) -> Command:
        named = len(getattr(command, "__click_params__", ()))
        command = options(command)
        for parameter in getattr(command, "__click_params__", ())[named:]:
            parameter.hidden = True
        return command

    return decorate


def server_options(server: str) -> Callable[[Command], Command]:
    """How to sign in to `server` and whom to trust. Passwords and tokens have no option of their own,

    because every process on the machine can read a command line.
    """
    title = server.title()
    variable = f"PUSH_JOB_{server.upper()}"
    return stacked(
        option(
            f"--{server}-username",
            metavar="NAME",
            help=f"{title}'s basic auth; password: {variable}_PASSWORD.",
        ),
        option(f"--{server}-password-file", type=_FILE, help="A file that holds the password."),
        option(
            f"--{server}-token-file",
            type=_FILE,
            help=f"A file that holds a bearer token (or {variable}_TOKEN).",
        ),
        option(f"--{server}-ca-file", type=_FILE, help="PEM file of a private CA."),
        option(f"--{server}-cert-file", type=_FILE, help="PEM file of a client certificate."),
        option(f"--{server}-key-file", type=_FILE, help="PEM file of its key."),
    )


flower_options = stacked(
    option(
        "--flower",
        "flower",
        multiple=True,
        metavar="URL",
        envvar=["PUSH_JOB_FLOWER", "FLOWER_HOSTS_LIST"],
        help=f"A Flower; repeat for several. FLOWER_HOSTS_LIST is read too.  [default: {DEFAULT_FLOWER}]",
    ),
    server_options("flower"),
    option("--shard", metavar="I/N", help="Take every Nth Flower only, beginning at the Ith, counted from 0."),
)

gateway_options = stacked(
    option(
        "--pushgateway",
        metavar="URL",
        default=DEFAULT_PUSHGATEWAY,
        show_default=True,
        help="The Pushgateway.",
    ),
    server_options("pushgateway"),
    setting("--job", metavar="NAME", help="The groups' job label."),
    option(
        "--grouping",
        multiple=True,
        metavar="KEY=VALUE",
        help="One more label of the groups; repeat for more.",
    ),
)

wall_options = stacked(
    option("--prometheus", metavar="URL", help="Go on to the Prometheus that scrapes the Pushgateway."),
    server_options("prometheus"),
    option("--grafana", metavar="URL", help="Go on to the Grafana with the dashboards."),
    server_options("grafana"),
)

scrape_options = stacked(
    option(
        "--page-size",
        type=click.IntRange(4, 1_000_000),
        metavar="N",
        help=f"Tasks in one request.  [default: {PAGE_SIZE}, {SORTED_PAGE_SIZE} on Flower 2.2]",
    ),
    setting(
        "--max-task-types",
        type=click.IntRange(1, 1_000_000),
        metavar="N",
        help="Sum the rarest types under 'other' beyond this.",
    ),
    option(
        "--forget-workers-after",
        type=_Seconds(min=0),
        default=Settings.forget_workers_after,
        show_default=True,
        metavar="SECONDS",
        help="Leave out workers whose last heartbeat is older; 0: never.",
    ),
)

state_options = stacked(
    option(
        "--state-file",
        type=click.Path(dir_okay=False),
        callback=not_empty,
        help="Remember here what was read, and read only what has changed since.",
    ),
    option(
        "--full-every",
        type=_Seconds(min=0, max=86_400),
        default=Settings.full_every,
        show_default=True,
        metavar="SECONDS",
        help="Where something is remembered, read all after so long all the same; 0: in each turn.",
    ),
)

time_options = stacked(
    setting("--timeout", type=seconds, metavar="SECONDS", help="For one request."),
    setting("--deadline", type=seconds, metavar="SECONDS", help="For the whole scrape and push."),
)

extra_options = stacked(
    option(
        "--with",
        "extras",
        multiple=True,
        metavar="NAME",
        help=f"Push more: {', '.join(EXTRAS)}; repeat, or join by commas.",
    ),
    option(
        "--buckets",
        metavar="LIST",
        help=f"Bounds of the histograms in seconds.  [default: {Settings.buckets[0]:g} to {Settings.buckets[-1]:g}]",
    ),
)

log_options = stacked(
    option(
        "--log-format",
        type=click.Choice(["logfmt", "json"]),
        default="logfmt",
        show_default=True,
        help="How to write the log on stderr.",
    ),
    option("--verbose", is_flag=True, help="Log each request too."),
)
