"""Table of options: flag, environment variable, settings field, parser and help.

An option whose value becomes a field of `Settings` is declared with `setting`,
which needs the field's parser. `to_settings` reads every such option, so none
can be accepted and then ignored. An option that a command reads itself is
declared with `command_option`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

import click

from push_job import auth
from push_job.metrics.extras import EXTRAS
from push_job.options import parsers
from push_job.options.usage import Duration, Option, not_empty
from push_job.pushgateway.encoding import ENCODINGS
from push_job.settings import PAGE_SIZE, SORTED_PAGE_SIZE, Settings

DEFAULT_FLOWER = "http://127.0.0.1:5555"
DEFAULT_PUSHGATEWAY = "http://127.0.0.1:9091"

#: The kinds of servers; each has options for its sign-in and its certificates.
SERVERS = ("flower", "pushgateway", "prometheus", "grafana")

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

_FILE = click.Path(exists=True, dir_okay=False, readable=True)
_FIELDS = {field.name: field.default for field in fields(Settings)}


#: The parser of every option that becomes a field of Settings, by the field, which is also click's name of the option.
#: A parser makes the field's value, and raises SettingsError. Filled by `setting`.
PARSERS: dict[str, Callable[[Any], Any]] = {}


def variable_of(flag: str) -> str:
    """Return the environment variable of an option: ``PUSH_JOB_`` and its name."""
    return "PUSH_JOB_" + flag.strip("-").replace("-", "_").upper()


def command_option(flag: str, *names: str, **attributes: Any) -> Decorator:
    """Declare an option that a command reads itself."""
    attributes.setdefault("envvar", variable_of(flag))
    return click.option(flag, *names, cls=Option, **attributes)


def setting(
    flag: str, *, parse: Callable[[Any], Any], field: str | None = None, help_default: str = "", **attributes: Any
) -> Decorator:
    """Declare an option that becomes a field of Settings.

    Args:
        flag: the option, as ``--page-size``.
        parse: makes the field's value of the given one; raises SettingsError.
        field: the field's name, if it is not the flag's.
        help_default: the default in words, if the field's own is not shown.
        attributes: the rest of what click takes.
    """
    field = field or flag.strip("-").replace("-", "_")
    default = _FIELDS[field]
    PARSERS[field] = parse
    if help_default:
        attributes["help"] += f"  [default: {help_default}]"
    elif isinstance(default, str | int | float):
        attributes |= {"default": default, "show_default": True}
    return command_option(flag, field, **attributes)


def stacked(*decorators: Decorator) -> Decorator:
    """Join several options into one decorator, in the order of the help text."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def _server_options(server: str) -> Decorator:
    """Declare the options for signing in to `server` and for its certificates."""
    names, secrets = auth.parts(secret=False), auth.parts(secret=True)
    files = {
        **{
            name: f"File that holds {text}; or set {variable_of(f'{server}-{name}')}." for name, text in secrets.items()
        },
        "ca": "PEM file of a private CA.",
        "cert": "PEM file of a client certificate.",
        "key": "PEM file of its key.",
    }
    return stacked(
        *(command_option(f"--{server}-{name}", metavar="NAME", help=text) for name, text in names.items()),
        *(command_option(f"--{server}-{name}-file", type=_FILE, help=text) for name, text in files.items()),
    )


flower_options = stacked(
    command_option(
        "--flower",
        "flower",
        multiple=True,
        type=str.strip,
        metavar="URL",
        envvar=["PUSH_JOB_FLOWER", "FLOWER_HOSTS_LIST"],
        help="A Flower, or @FILE with a list; repeat for several. FLOWER_HOSTS_LIST is read too."
        f"  [default: {DEFAULT_FLOWER}]",
    ),
    _server_options("flower"),
    command_option("--shard", metavar="I/N", help="Scrape only every Nth Flower, starting at number I (from 0)."),
)

gateway_options = stacked(
    command_option(
        "--pushgateway",
        multiple=True,
        is_list=False,  # there is only one; its password may contain a blank
        type=str.strip,
        metavar="URL",
        help=f"The Pushgateway.  [default: {DEFAULT_PUSHGATEWAY}]",
    ),
    _server_options("pushgateway"),
    setting("--job", parse=parsers.parse_job, metavar="NAME", help="The job label of the groups."),
    setting(
        "--grouping",
        parse=parsers.parse_grouping,
        multiple=True,
        metavar="KEY=VALUE",
        help="Another label of the grouping key; repeat for more.",
    ),
    setting(
        "--push-format",
        parse=str,
        type=click.Choice(list(ENCODINGS)),
        help="Format of a push. text: for VictoriaMetrics and other servers that do not accept protobuf.",
    ),
)

monitoring_options = stacked(
    command_option(
        "--prometheus", type=str.strip, metavar="URL", help="Also check the Prometheus that scrapes the Pushgateway."
    ),
    _server_options("prometheus"),
    command_option("--grafana", type=str.strip, metavar="URL", help="Also check the Grafana with the dashboards."),
    _server_options("grafana"),
)

scrape_options = stacked(
    setting(
        "--page-size",
        parse=int,
        type=click.IntRange(4, 1_000_000),
        metavar="N",
        help="Tasks per request.",
        help_default=f"{PAGE_SIZE}, {SORTED_PAGE_SIZE} on Flower 2.2",
    ),
    setting(
        "--max-task-types",
        parse=int,
        type=click.IntRange(1, 1_000_000),
        metavar="N",
        help="Beyond this number, count the rarest task types as 'other'.",
    ),
    setting(
        "--forget-workers-after",
        parse=float,
        type=Duration(zero=True),
        metavar="SECONDS",
        help="Leave out workers whose last heartbeat is older. 0: never.",
    ),
)

state_options = stacked(
    setting(
        "--state-file",
        parse=str,
        type=click.Path(dir_okay=False),
        callback=not_empty,
        help="Keep state in this file, to read only what changed since the last push.",
    ),
    setting(
        "--full-every",
        parse=float,
        type=Duration(zero=True),
        metavar="SECONDS",
        help="Interval between full scrapes when state is kept; 0 disables incremental scrapes.",
    ),
)

time_options = stacked(
    setting("--timeout", parse=float, type=Duration(), metavar="SECONDS", help="Limit for one request."),
    setting("--deadline", parse=float, type=Duration(), metavar="SECONDS", help="Limit for scraping and pushing."),
)

extra_options = stacked(
    setting(
        "--with",
        field="extras",
        parse=parsers.parse_extras,
        type=str.strip,
        multiple=True,
        metavar="NAME",
        help=f"Push more: {', '.join(EXTRAS)} or all. Repeat, or separate by commas.",
    ),
    setting(
        "--buckets",
        parse=parsers.parse_buckets,
        type=str.strip,
        metavar="LIST",
        help="Upper bounds of the histogram buckets in seconds.",
        help_default=f"{Settings.buckets[0]:g} to {Settings.buckets[-1]:g}",
    ),
)

log_options = stacked(
    command_option(
        "--log-format",
        type=click.Choice(["logfmt", "json"]),
        default="logfmt",
        show_default=True,
        help="Format of the log on stderr.",
    ),
    command_option("--verbose", is_flag=True, help="Also log every request."),
)


def shared_options(*further: Decorator, unused: Iterable[Decorator] = ()) -> Decorator:
    """Declare the options of every command, so that one command line works for all.

    Args:
        further: options of this command only, which stand after those of the Pushgateway.
        unused: groups of options that the command accepts but does not show.
    """
    of_servers = (flower_options, gateway_options, *further)
    groups = (*of_servers, scrape_options, extra_options, state_options, time_options, log_options)
    return stacked(*(_hidden(group) if group in unused else group for group in groups))


def _hidden(options: Decorator) -> Decorator:
    """Accept options without showing them."""

    def decorate(command: Command) -> Command:
        shown = len(getattr(command, "__click_params__", ()))
        command = options(command)
        for parameter in getattr(command, "__click_params__", ())[shown:]:
            parameter.hidden = True
        return command

    return decorate
