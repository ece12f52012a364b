"""The commands and their options: reads settings, calls the rest, exits with a code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from push_job import __version__, log
from push_job.job import Job, Outcome
from push_job.progress import TerminalProgress
from push_job.settings import (
    DEFAULT_BUCKETS,
    Credentials,
    Endpoint,
    Settings,
    SettingsError,
    Tls,
    parse_buckets,
    parse_extras,
    parse_flowers,
    parse_grouping,
    parse_job,
    parse_shard,
    read_secret,
)

DEFAULT_FLOWER = "http://127.0.0.1:5555"
DEFAULT_PUSHGATEWAY = "http://127.0.0.1:9091"

OK = 0
FLOWER_DOWN = 1
USAGE = 2
GATEWAY_DOWN = 3

Command = Callable[..., Any]
_FILE = click.Path(exists=True, dir_okay=False, readable=True)
_SECONDS = click.FloatRange(min=0, min_open=True, max=86_400)


class OneLineError(click.ClickException):
    """A wrong setting, told in one line."""

    exit_code = USAGE


def option(name: str, *names: str, **attributes: Any) -> Callable[[Command], Command]:
    """A click option that can also be set by ``PUSH_JOB_`` and its name in the environment."""
    variable = "PUSH_JOB_" + name.strip("-").replace("-", "_").upper()
    attributes.setdefault("envvar", variable)
    attributes.setdefault("show_envvar", True)
    return click.option(name, *names, **attributes)


def stacked(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order of the help text."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
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
        help=f"A Flower; repeat for several.  [default: {DEFAULT_FLOWER}]",
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
    option("--job", metavar="NAME", default="flower", show_default=True, help="The groups' job label."),
    option(
        "--grouping",
        multiple=True,
        metavar="KEY=VALUE",
        help="One more label of the groups; repeat for more.",
    ),
)

scrape_options = stacked(
    option(
        "--page-size",
        type=click.IntRange(4, 1_000_000),
        default=10_000,
        show_default=True,
        metavar="N",
        help="Tasks in one request.",
    ),
    option(
        "--max-task-types",
        type=click.IntRange(1, 1_000_000),
        default=1000,
        show_default=True,
        metavar="N",
        help="Sum the rarest types under 'other' beyond this.",
    ),
)

time_options = stacked(
    option(
        "--timeout",
        type=_SECONDS,
        default=15.0,
        show_default=True,
        metavar="SECONDS",
        help="For one request.",
    ),
    option(
        "--deadline",
        type=_SECONDS,
        default=50.0,
        show_default=True,
        metavar="SECONDS",
        help="For the whole scrape and push.",
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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="push-job")
def main() -> None:
    """Scrape Celery Flower once and push what it knows to a Prometheus Pushgateway.

    \b
    push-job push --flower http://flower:5555 --pushgateway http://pushgateway:9091

    Every option can also be set in the environment: PUSH_JOB_ and its name, as PUSH_JOB_FLOWER.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_at_once)


@main.command()
@flower_options
@gateway_options
@scrape_options
@time_options
@log_options
def push(**options: Any) -> NoReturn:
    """Scrape every Flower once and push: the main job.

    \b
    Exit code: 0 every Flower was scraped and pushed
               1 a Flower could not be scraped (its flower_up 0 was pushed)
               2 an option is wrong
               3 the Pushgateway was not reached or refused
    """
    settings = read_settings(options)
    with TerminalProgress() as progress:
        outcomes = Job(settings, progress).push()
    sys.exit(exit_code(outcomes))


@main.command()
@flower_options
@scrape_options
@time_options
@log_options
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "prometheus"]),
    default="table",
    show_default=True,
    help="A table, or the text that push would send.",
)
def show(output: str, **options: Any) -> NoReturn:
    """Scrape every Flower once and print what push would send; the Pushgateway is not touched."""
    settings = read_settings(options)
    with TerminalProgress() as progress:
        scrapes = Job(settings, progress).scrape()
    for flower, scrape in scrapes.items():
        if scrape.snapshot is None:
            click.echo(f"{flower.address}: {scrape.error}", err=True)
        elif output == "table":
            from push_job.show import print_snapshot

            print_snapshot(flower, scrape.snapshot)
        else:
            from push_job.metrics import exposition

            click.echo(exposition(scrape.snapshot, scrape.seconds), nl=False)
    sys.exit(OK if all(scrape.snapshot for scrape in scrapes.values()) else FLOWER_DOWN)


@main.command()
@flower_options
@gateway_options
@time_options
@log_options
def delete(**options: Any) -> NoReturn:
    """Remove the groups that push with the same options writes."""
    settings = read_settings(options)
    failures = Job(settings).delete()
    for flower, failure in failures.items():
        group = " ".join(f'{key}="{value}"' for key, value in settings.group_labels(flower).items())
        click.echo(f"not deleted: {group}: {failure}" if failure else f"deleted: {group}", err=bool(failure))
    sys.exit(GATEWAY_DOWN if any(failures.values()) else OK)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """What a turn's exit code is; a Pushgateway that has nothing is worse than a Flower that is down."""
    if any(outcome.push_error for outcome in outcomes):
        return GATEWAY_DOWN
    return OK if all(outcome.scrape.snapshot for outcome in outcomes) else FLOWER_DOWN


def read_settings(options: dict[str, Any]) -> Settings:
    """Check the options once and set up the log. Raises OneLineError."""
    try:
        settings = _settings(options)
    except SettingsError as error:
        raise OneLineError(str(error)) from None
    log.set_up(options["log_format"], verbose=options["verbose"], redact=log.Redactor(settings.secrets()))
    return settings


def _settings(options: dict[str, Any]) -> Settings:
    given = {name: value for name, value in options.items() if value is not None}
    flower_access = _credentials("flower", options), _tls("flower", options)
    gateway_access = _credentials("pushgateway", options), _tls("pushgateway", options)
    flowers = parse_flowers(options["flower"] or [DEFAULT_FLOWER], *flower_access)
    if options["shard"]:
        index, count = parse_shard(options["shard"])
        flowers = flowers[index::count]
    return Settings(
        flowers=flowers,
        pushgateway=Endpoint.parse(given.get("pushgateway", DEFAULT_PUSHGATEWAY), "--pushgateway", *gateway_access),
        job=parse_job(given.get("job", "flower")),
        grouping=parse_grouping(given.get("grouping", ())),
        extras=parse_extras(given.get("extras", ())),
        buckets=parse_buckets(given["buckets"]) if "buckets" in given else DEFAULT_BUCKETS,
        **{name: given[name] for name in ("timeout", "deadline", "page_size", "max_task_types") if name in given},
    )


def _credentials(server: str, options: dict[str, Any]) -> Credentials:
    def secret(kind: str) -> str | None:
        path = options.get(f"{server}_{kind}_file")
        from_file = read_secret(path, f"--{server}-{kind}-file")
        return from_file if path else os.environ.get(f"PUSH_JOB_{server}_{kind}".upper())

    username = options.get(f"{server}_username")
    password, token = secret("password"), secret("token")
    if username is not None and token:
        raise SettingsError(f"--{server}-username and a {server} token are both set; use one of them")
    if password is not None and username is None:
        raise SettingsError(f"a {server} password is set, but no --{server}-username")
    return Credentials(username, password, token or None)


def _tls(server: str, options: dict[str, Any]) -> Tls:
    ca, cert, key = (options.get(f"{server}_{kind}_file") for kind in ("ca", "cert", "key"))
    if key and not cert:
        raise SettingsError(f"--{server}-key-file needs --{server}-cert-file")
    return Tls(ca, cert, key)


def _stop_at_once(number: int, _frame: object) -> NoReturn:
    """End as an unhandled signal would. As a container's first process we would not get one unasked.

    A push under way is cut off, and a Pushgateway refuses a body that is cut off.
    """
    os._exit(128 + number)
