"""Delete groups and print which, for ``delete`` and ``run --delete-on-exit``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from push_job.job import Job
from push_job.options.usage import OneLineError
from push_job.pushgateway.client import PushgatewayError
from push_job.pushgateway.groups import Group, all_groups, delete_each
from push_job.settings import Settings
from push_job.terminal.formatting import format_duration


def groups_of_job(settings: Settings) -> list[Group] | None:
    """Return the groups of the job before a deletion, or None.

    Return None if the server does not list them.
    """
    try:
        return all_groups(settings)
    except PushgatewayError:  # the deletion will say why
        return None


def delete_stale(settings: Settings, seconds: float, *, ask: bool) -> bool:
    """List stale groups, delete them, and return whether that failed."""
    try:
        groups = [group for group in all_groups(settings) if group.age > seconds]
        for group in groups:
            click.echo(f"{group}: last pushed {format_duration(group.age)} ago")
        if not groups:
            click.echo(f"no group of job {settings.job} was last pushed more than {format_duration(seconds)} ago")
        elif not ask or _confirm(f"Delete {len(groups)} groups?"):
            for group in delete_each(settings, groups):
                click.echo(f"deleted: {group}")
    except PushgatewayError as error:
        click.echo(f"Error: {error}", err=True)
        return True
    return False


def _confirm(question: str) -> bool:
    """Ask a question; without an answer it is an error of usage."""
    try:
        return click.confirm(question)
    except click.Abort:
        raise OneLineError("nothing was deleted; add --yes to delete without a question") from None


def delete_groups(job: Job, settings: Settings, groups: Sequence[Group] | None = None) -> bool:
    """Delete the groups, and return whether one could not be deleted.

    Each group is printed.

    Args:
        groups: the groups of the job before; None if they are not known.
    """
    errors = job.delete()
    missing = False
    for flower, error in errors.items():
        labels = {key: value for key, value in settings.grouping_key(flower).items() if value}
        group = " ".join(f'{key}="{value}"' for key, value in labels.items())
        absent = not error and groups is not None and all(labels != other.labels for other in groups)
        missing = missing or absent
        message = (
            f"not deleted: {group}: {error}" if error else f"no such group: {group}" if absent else f"deleted: {group}"
        )
        click.echo(message, err=bool(error) or absent)
    if missing and groups is not None:
        click.echo(f"The groups of job {settings.job} were: {'; '.join(map(str, groups)) or 'none'}", err=True)
    return any(errors.values())
