"""The commands and their options: reads settings, calls the rest, exits with a code."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import click

from push_job import __version__, log
from push_job.cycle import Outcome
from push_job.job import Job
from push_job.options.click_options import (
    OneLineError,
    OneLineGroup,
    extra_options,
    flower_options,
    gateway_options,
    log_options,
    not_empty,
    option,
    scrape_options,
    seconds,
    state_options,
    time_options,
    unseen,
    wall_options,
)
from push_job.options.to_settings import read_settings
from push_job.settings import Settings
from push_job.terminal.progress import TerminalProgress

OK = 0
FLOWER_DOWN = 1  # for check: something is wrong
GATEWAY_DOWN = 3


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
@extra_options
@state_options
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
@option("--every", type=seconds, required=True, metavar="SECONDS", help="From the start of one turn to the next.")
@option("--delete-on-exit", is_flag=True, help="Remove the groups when told to stop.")
@option(
    "--heartbeat-file",
    type=click.Path(dir_okay=False),
    callback=not_empty,
    help="Touch this file after each turn, for a liveness probe.",
)
@flower_options
@gateway_options
@scrape_options
@extra_options
@state_options
@time_options
@log_options
def run(every: float, delete_on_exit: bool, heartbeat_file: str | None, **options: Any) -> NoReturn:
    """Do what push does again and again, until SIGTERM, SIGINT or SIGHUP.

    A turn that fails is logged, and the next one comes. A Flower's turns never overlap, and hold up no other's.
    """
    from push_job.scheduler import Stop, repeat

    settings = read_settings(options)
    heartbeat = None if heartbeat_file is None else Path(heartbeat_file)
    if heartbeat:
        try:
            heartbeat.touch()
        except OSError as error:
            raise OneLineError(f"--heartbeat-file: cannot write {heartbeat}: {error.strerror}") from None
    job = Job(settings, remember=True)

    def beat() -> None:
        if not heartbeat:
            return
        try:
            heartbeat.touch()
        except OSError as error:  # the pushes matter more, and a probe sees that the file grows old
            log.event(
                logging.WARNING,
                "the heartbeat file could not be touched",
                heartbeat_file=str(heartbeat),
                reason=error.strerror or str(error),
            )

    repeat(lambda: job.push_for(every, beat), every, Stop(_stop_at_once))
    job.wait()
    failed = delete_on_exit and _delete(job, settings)
    sys.exit(GATEWAY_DOWN if failed else OK)


@main.command()
@flower_options
@unseen(gateway_options)
@scrape_options
@extra_options
@unseen(state_options)
@time_options
@log_options
@option(
    "--format",
    "output",
    type=click.Choice(["table", "prometheus"]),
    default="table",
    show_default=True,
    help="A table, or the text that push would send.",
)
def show(output: str, **options: Any) -> NoReturn:
    """Scrape every Flower once and print what push would send.

    The Pushgateway is not touched.
    """
    settings = read_settings(options)
    if sys.stdout is None:
        sys.exit("Error: cannot write the output: stdout is closed")
    with TerminalProgress() as progress:
        scrapes = Job(replace(settings, state_file=None), progress).scrape()
    for flower, scrape in scrapes.items():
        if scrape.snapshot is None:
            click.echo(f"{flower.address}: {scrape.error}", err=True)
        elif output == "table":
            from push_job.terminal.snapshot_table import print_snapshot

            print_snapshot(flower, scrape.snapshot)
        else:
            from push_job.metrics.registry import exposition

            if len(scrapes) > 1:
                click.echo(f"# Flower: {flower.address}")
            # In UTF-8, as a push would be, whatever the terminal's encoding is.
            click.echo(exposition(scrape.snapshot, scrape.seconds).encode(), nl=False)
    sys.exit(OK if all(scrape.snapshot for scrape in scrapes.values()) else FLOWER_DOWN)


@main.command()
@flower_options
@gateway_options
@unseen(scrape_options)
@unseen(extra_options)
@unseen(state_options)
@time_options
@log_options
def delete(**options: Any) -> NoReturn:
    """Remove the groups that push with the same options writes."""
    settings = read_settings(options)
    sys.exit(GATEWAY_DOWN if _delete(Job(settings), settings) else OK)


def _delete(job: Job, settings: Settings) -> bool:
    """Remove the groups, say which, and tell whether one could not be removed."""
    failures = job.delete()
    for flower, failure in failures.items():
        group = " ".join(f'{key}="{value}"' for key, value in settings.group_labels(flower).items())
        click.echo(f"not deleted: {group}: {failure}" if failure else f"deleted: {group}", err=bool(failure))
    return any(failures.values())


@main.command()
@flower_options
@gateway_options
@wall_options
@unseen(scrape_options)
@unseen(extra_options)
@unseen(state_options)
@time_options
@log_options
def check(**options: Any) -> NoReturn:
    """Try each server, and say what is wrong and how to mend it.

    Exit code: 0 all is well, 1 something is not. Nothing is left behind on the Pushgateway.
    """
    from push_job.checks.connectivity import Step
    from push_job.checks.flower import Check

    settings = read_settings(options)
    ticks = "✓✗" if _in_unicode() else "+x"
    marks = {True: (ticks[0], "green"), False: (ticks[1], "red"), None: ("-", "yellow")}
    failed = False

    def report(title: str, steps: Iterable[Step]) -> None:
        nonlocal failed
        click.secho(title, bold=True)
        for step in steps:
            mark, color = marks[step.passed]
            click.echo(f"  {click.style(mark, fg=color)} {step.text}")
            failed = failed or step.passed is False

    servers = Check(settings)
    for flower in settings.flowers:
        report(f"Flower {flower.address}", servers.flower(flower))
    report(f"Pushgateway {settings.pushgateway.address}", servers.pushgateway())
    if settings.prometheus:
        from push_job.checks.prometheus import try_prometheus

        report(f"Prometheus {settings.prometheus.address}", try_prometheus(settings.prometheus, settings))
    if settings.grafana:
        from push_job.checks.grafana import try_grafana

        report(f"Grafana {settings.grafana.address}", try_grafana(settings.grafana, settings))
    sys.exit(FLOWER_DOWN if failed else OK)


@main.command()
@flower_options
@unseen(gateway_options)
@scrape_options
@unseen(extra_options)
@time_options
@log_options
@option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For a person, or for a program.",
)
def explain(output: str, **options: Any) -> NoReturn:
    """Scrape every Flower once and say what is wrong with Celery, worst first.

    \b
    Exit code: 0 nothing is wrong
               1 something is, or a Flower could not be scraped
               2 an option is wrong

    The Pushgateway is not touched.
    """
    from push_job.explain.diagnosis import diagnose
    from push_job.explain.report import as_json, as_text

    settings = read_settings(options)
    if sys.stdout is None:
        sys.exit("Error: cannot write the output: stdout is closed")
    with TerminalProgress() as progress:
        diagnoses = diagnose(settings, progress)
    click.echo(as_json(diagnoses) if output == "json" else as_text(diagnoses, in_unicode=_in_unicode()))
    sys.exit(FLOWER_DOWN if any(diagnosis.wrong for diagnosis in diagnoses) else OK)


def _in_unicode() -> bool:
    return getattr(sys.stdout, "encoding", "").lower().startswith("utf")


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """What a turn's exit code is; a Pushgateway that has nothing is worse than a Flower that is down."""
    if any(outcome.push_error for outcome in outcomes):
        return GATEWAY_DOWN
    return OK if all(outcome.scrape.snapshot for outcome in outcomes) else FLOWER_DOWN


def _stop_at_once(number: int, _frame: object) -> NoReturn:
    """End as an unhandled signal would. As a container's first process we would not get one unasked.

    A push under way is cut off, and in the format of ``protobuf`` a Pushgateway refuses what is cut off.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # the progress line hides the cursor
    os._exit(128 + number)
