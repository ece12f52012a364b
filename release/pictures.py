"""`make pictures`: draw the output of `push-job show` and `check`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from release.render import ROOT
from testbed.command import run_push_job
from testbed.services import ServiceError, Testbed
from testbed.workload import open_shop

FOLDER = ROOT / "docs/pictures"
WIDTH = 110

# rich's default template loads a font from another server.
_TEMPLATE = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; \
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def picture(command: str, printed: str, into: Path) -> None:
    """Draw the command and its output with escape sequences, as a terminal shows it."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(width=WIDTH, record=True, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(f"[bold green]$[/] {command}", highlight=False)
        console.print(Text.from_ansi(printed.rstrip()))
        into.write_text(console.export_svg(title="", code_format=_TEMPLATE, unique_id=into.stem), encoding="utf-8")


def _printed(environment: Mapping[str, str], *arguments: str) -> str:
    terminal = {"FORCE_COLOR": "1", "NO_COLOR": "", "TERM": "xterm", "COLUMNS": str(WIDTH)}
    run = run_push_job(*arguments, env={**environment, **terminal})
    if not run.stdout:
        raise ServiceError(f"push-job {arguments[0]} printed nothing: {run.stderr}")
    return run.stdout


def main() -> None:
    """Run both commands on the demo shop and draw their output."""
    FOLDER.mkdir(exist_ok=True)
    with Testbed() as bed:
        shop = open_shop(bed)
        shop.customers.do_everything(shop.flower)
        shop.push()
        # Replace the random ports by the usual ones.
        usual = {shop.flower.url: "http://127.0.0.1:5555", shop.pushgateway.url: "http://127.0.0.1:9091"}
        ports = {there.rpartition(":")[2]: here.rpartition(":")[2] for there, here in usual.items()}
        for command in (["show"], ["check", "--pushgateway", shop.pushgateway.url]):
            printed = _printed(shop.environment, *command, "--flower", shop.flower.url)
            for there, here in ports.items():
                printed = re.sub(rf"\b{there}\b", here, printed)
            picture(f"push-job {command[0]}", printed, FOLDER / f"{command[0]}.svg")
            print(FOLDER / f"{command[0]}.svg")


if __name__ == "__main__":
    try:
        main()
    except ServiceError as error:
        sys.exit(f"pictures: {error}")
