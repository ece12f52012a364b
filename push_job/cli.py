"""The commands: read settings, call the rest, exit with a code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import click

from push_job import __version__
from push_job.cycle import Outcome, ScrapeResult
from push_job.deletion import delete_groups, delete_stale, groups_of_job
from push_job.job import Job
from push_job.metrics.extras import needing_state, stateless
from push_job.options.table import (
    command_option,
    extra_options,
    gateway_options,
    monitoring_options,
    scrape_options,
    shared_options,
    state_options,
)
from push_job.options.to_settings import read_settings
from push_job.options.usage import Duration, OneLineError, OneLineGroup, not_empty
from push_job.settings import Endpoint, Settings
from push_job.terminal.formatting import is_dumb_terminal, styles_wanted
from push_job.terminal.progress import TerminalProgress

OK = 0
FLOWER_DOWN = 1  # also: `check` or `explain` found something
PUSHGATEWAY_DOWN = 3

#: Of the commands that look for errors.
_report_format = command_option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for a person, or JSON for a program.",
)


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="push-job")
def main() -> None:
    """Scrape Celery Flower once and push exact metrics to a Prometheus Pushgateway.

    \b
    push-job push --flower http://flower:5555 --pushgateway http://pushgateway:9091

    Every option can also be set by an environment variable: PUSH_JOB_ and its name, as PUSH_JOB_FLOWER.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_at_once)
    if not styles_wanted():
        click.get_current_context().color = False  # of all commands


@main.command()
@shared_options()
def push(**options: Any) -> NoReturn:
    """Scrape every Flower once and push its metrics: the main job.

    \b
    Exit code: 0 every Flower was scraped and pushed
               1 a Flower could not be scraped (its flower_up 0 was pushed)
               2 an option is wrong
               3 the Pushgateway could not be reached or rejected the push
    """
    settings = _settings_of_push(options, keeps_state=False)
    with TerminalProgress() as progress:
        outcomes = Job(settings, progress).push()
    # The alerts report what a test left on the Pushgateway as a dead job later.
    if sys.stderr is not None and sys.stderr.isatty() and any(outcome.push_error is None for outcome in outcomes):
        click.echo(
            "The Pushgateway keeps this group. If this was only a test, remove it with push-job delete and the same"
            " options.",
            err=True,
        )
    sys.exit(exit_code(outcomes))


@main.command()
@command_option(
    "--every", type=Duration(), required=True, metavar="SECONDS", help="Interval between the starts of two cycles."
)
@command_option("--delete-on-exit", is_flag=True, help="Delete the groups when stopped.")
@command_option(
    "--heartbeat-file",
    type=click.Path(dir_okay=False),
    callback=not_empty,
    help="Touch this file after each cycle, for a liveness probe.",
)
@shared_options()
def run(every: float, delete_on_exit: bool, heartbeat_file: str | None, **options: Any) -> NoReturn:
    """Repeat what push does until SIGTERM, SIGINT or SIGHUP.

    A cycle that fails is logged, and the next one follows. A slow Flower does not delay the others.
    """
    from push_job.scheduler import Stop, beat, repeat

    settings = _settings_of_push(options, keeps_state=True)
    heartbeat = Path(heartbeat_file) if heartbeat_file else None
    try:
        if heartbeat:
            heartbeat.touch()
    except OSError as error:
        raise OneLineError(f"--heartbeat-file: cannot write {heartbeat_file}: {error.strerror}") from None
    job = Job(settings, keep_state=True)
    on_end = (lambda: beat(heartbeat)) if heartbeat else lambda: None
    repeat(lambda: job.push_for(every, on_end), every, Stop(_exit_at_once))
    job.wait()
    failed = delete_on_exit and delete_groups(job, settings)
    sys.exit(PUSHGATEWAY_DOWN if failed else OK)


@main.command()
@shared_options(unused=(gateway_options, state_options))
@command_option(
    "--format",
    "output",
    type=click.Choice(["table", "prometheus", "json"]),
    default="table",
    show_default=True,
    help="A table, the text that push would send, or JSON for a program.",
)
def show(output: str, **options: Any) -> NoReturn:
    """Scrape every Flower once and print what push would send.

    It does not contact the Pushgateway.
    """
    settings = read_settings(options)
    settings = replace(settings, state_file=None, extras=stateless(settings.extras))
    _require_stdout()
    with TerminalProgress() as progress:
        scrapes = Job(settings, progress).scrape()
    if output == "json":
        from push_job.terminal.snapshot_json import as_json

        click.echo(as_json(scrapes))
    else:
        _print_scrapes(scrapes, output)
    sys.exit(OK if all(scrape.snapshot for scrape in scrapes.values()) else FLOWER_DOWN)


def _print_scrapes(scrapes: Mapping[Endpoint, ScrapeResult], output: str) -> None:
    """Print each scrape as tables or as the text of a push, and errors on stderr."""
    for flower, scrape in scrapes.items():
        if scrape.snapshot is None:
            click.echo(f"{flower.address}: {scrape.error}", err=True)
        elif output == "table":
            from push_job.terminal.snapshot_table import print_snapshot

            print_snapshot(flower, scrape.snapshot)
        else:
            from prometheus_client import generate_latest

            from push_job.metrics.registry import push_registry

            if len(scrapes) > 1:
                click.echo(f"# Flower: {flower.address}")
            # Bytes, because the text is UTF-8, like a push, whatever the terminal's encoding is.
            click.echo(generate_latest(push_registry(scrape.snapshot, scrape.seconds)), nl=False)


@main.command()
@shared_options(unused=(scrape_options, extra_options, state_options))
@command_option(
    "--stale",
    type=Duration(maximum=10 * 365 * 86_400),
    metavar="SECONDS",
    help="Instead, delete all groups of this job that have not been pushed for this long.",
)
@command_option("--yes", is_flag=True, help="With --stale: do not ask.")
def delete(stale: float | None, yes: bool, **options: Any) -> NoReturn:
    """Delete the groups that push writes with the same options."""
    settings = read_settings(options)
    if stale is not None:
        sys.exit(PUSHGATEWAY_DOWN if delete_stale(settings, stale, ask=not yes) else OK)
    sys.exit(PUSHGATEWAY_DOWN if delete_groups(Job(settings), settings, groups_of_job(settings)) else OK)


@main.command()
@shared_options(monitoring_options, unused=(scrape_options, extra_options, state_options))
@_report_format
def check(output: str, **options: Any) -> NoReturn:
    """Test each server step by step, and say what is wrong and how to fix it.

    Exit code: 0 everything works, 1 something does not. It leaves nothing on the Pushgateway.
    """
    from push_job.checks import check_servers
    from push_job.checks.report import print_json, print_text

    servers = check_servers(read_settings(options))
    failed = print_json(servers) if output == "json" else print_text(servers, in_unicode=_stdout_is_unicode())
    sys.exit(FLOWER_DOWN if failed else OK)


@main.command()
@shared_options(unused=(gateway_options, extra_options, state_options))
@_report_format
def explain(output: str, **options: Any) -> NoReturn:
    """Scrape every Flower once and say what is wrong with Celery, worst first.

    \b
    Exit code: 0 nothing is wrong
               1 something is wrong, or a Flower could not be scraped
               2 an option is wrong

    It does not contact the Pushgateway.
    """
    from push_job.explain.diagnosis import diagnose
    from push_job.explain.report import as_json, as_text

    settings = read_settings(options)
    _require_stdout()
    with TerminalProgress() as progress:
        diagnoses = diagnose(settings, progress)
    click.echo(as_json(diagnoses) if output == "json" else as_text(diagnoses, in_unicode=_stdout_is_unicode()))
    sys.exit(FLOWER_DOWN if any(diagnosis.wrong for diagnosis in diagnoses) else OK)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return the exit code of a cycle; a failed push is worse than a failed scrape."""
    if any(outcome.push_error for outcome in outcomes):
        return PUSHGATEWAY_DOWN
    return OK if all(outcome.scrape.snapshot for outcome in outcomes) else FLOWER_DOWN


def _settings_of_push(options: dict[str, Any], *, keeps_state: bool) -> Settings:
    """Return settings in which every extra has the state that it needs.

    `all` leaves out the extras that need a state if none is kept.

    Args:
        options: the values by click's parameter names.
        keeps_state: whether state is kept without a state file too.

    Raises:
        OneLineError: if an extra was named that needs a state, and none is kept; or if the folder of the state file is
            missing, so that the file cannot be created.
    """
    settings = read_settings(options)
    needing = needing_state(settings.extras)
    if needing and not ((keeps_state or settings.state_file) and settings.full_every):
        named = {name.strip() for text in options["extras"] for name in text.split(",")}
        if refused := [name for name in needing if name in named]:
            raise OneLineError(
                f"--with: {refused[0]} needs a state: use push with --state-file, or run; and --full-every above 0"
            )
        settings = replace(settings, extras=stateless(settings.extras))
    folder = os.path.dirname(settings.state_file or "") or "."
    if not os.path.isdir(folder):  # unlike Path.is_dir, also False if a parent cannot be read
        raise OneLineError(f"--state-file: the folder {folder} does not exist or cannot be read")
    return settings


def _require_stdout() -> None:
    if sys.stdout is None:
        sys.exit("Error: cannot write the output: stdout is closed")


def _stdout_is_unicode() -> bool:
    return getattr(sys.stdout, "encoding", "").lower().startswith("utf")


def _exit_at_once(number: int, _frame: object) -> NoReturn:
    """Exit as an unhandled signal would.

    The first process of a container does not get unhandled signals. The Pushgateway rejects a push that the exit cuts
    off.
    """
    if sys.stderr is not None and sys.stderr.isatty() and not is_dumb_terminal():
        os.write(2, b"\x1b[?25h\n")  # the progress display hides the cursor
    os._exit(128 + number)
