"""The steps of `check` as text for a person or as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from push_job.checks.step import ServerCheck

_COLORS = {True: "green", False: "red", None: "yellow"}


def print_text(servers: Iterable[ServerCheck], *, in_unicode: bool) -> bool:
    """Print each step as soon as it is done; return whether one failed.

    Args:
        servers: the servers with their steps.
        in_unicode: whether the output can contain check marks.
    """
    passed, failed_mark = "✓✗" if in_unicode else "+x"
    marks = {True: passed, False: failed_mark, None: "-"}
    failed = False
    for kind, address, steps in servers:
        click.secho(f"{kind} {address}", bold=True)
        for step in steps:
            click.echo(f"  {click.style(marks[step.passed], fg=_COLORS[step.passed])} {step.text}")
            failed = failed or step.passed is False
    return failed


def print_json(servers: Iterable[ServerCheck]) -> bool:
    """Print all steps at the end; return whether one failed."""
    checked: list[dict[str, Any]] = [
        {
            "server": kind.lower(),
            "address": address,
            "steps": [{"passed": step.passed, "text": step.text} for step in steps],
        }
        for kind, address, steps in servers
    ]
    failed = any(step["passed"] is False for server in checked for step in server["steps"])
    click.echo(json.dumps({"well": not failed, "servers": checked}, indent=2))
    return failed
