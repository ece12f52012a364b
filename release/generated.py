"""Files that are written from others: `make generate`. A test tells when one of them is old.

Each is given as its whole text, so that the test can compare without writing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from push_job.cli import main
from push_job.explain.findings import KINDS
from release.render import CHART, ROOT, template, without_helms_labels
from tests.explain.troubles import RABBITMQ, REDIS, TROUBLES

RULE = ROOT / "cronjob/components/rules/prometheus-rule.yaml"
#: Variables for which the chart has a value of its own, or that make no sense in a pod.
NOT_A_SETTING = {"FLOWER", "PUSHGATEWAY", "JOB", "GROUPING", "DEADLINE", "LOG_FORMAT", "WITH", "SHARD", "EVERY"}
NOT_A_SETTING |= {"HEARTBEAT_FILE", "FORMAT"}


def prometheus_rule() -> str:
    """The component's PrometheusRule: the chart's, without Helm's labels."""
    [rule] = template({"rules": {"enabled": True}}, "--show-only", "templates/prometheus-rule.yaml")
    head = "# Generated from prometheus/rules by `make generate`.\n"
    return head + yaml.safe_dump(without_helms_labels(rule), sort_keys=False, width=120)


def values_schema() -> str:
    """The chart's schema, with the extras and variables that this version knows."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    schema["properties"]["with"]["items"]["enum"] = extras()
    variables = {parameter.opts[0] for parameter in _options("push", "run")}
    names = {name.removeprefix("--").replace("-", "_").upper() for name in variables} - NOT_A_SETTING
    schema["properties"]["settings"]["propertyNames"]["enum"] = sorted(f"PUSH_JOB_{name}" for name in names)
    return json.dumps(schema, indent=2) + "\n"


def extras() -> list[str]:
    """The names that --with takes, as its help lists them."""
    [option] = [option for option in _options("push") if option.opts[0] == "--with"]
    listed = re.match(r"Push more: ([a-z, -]+);", option.help or "")
    if listed is None:
        raise ValueError("the help of --with no longer lists the extras")
    return listed[1].split(", ")


def options_page() -> str:
    """docs/options.md with the table of options as click has them."""
    rows = ["| option | default | commands | |", "|---|---|---|---|"]
    commands = {name: [p for p in _options(name) if not p.hidden] for name in main.commands}
    having: dict[tuple[str, ...], list[str]] = {}
    for command, options in commands.items():
        for option in options:
            told, default = _default(option)
            # An option of two commands may mean two things.
            having.setdefault((_call(option), default, told), []).append(command)
    for (call, default, told), names in having.items():
        where = "" if len(names) == len(commands) else ", ".join(f"`{name}`" for name in names)
        rows.append(f"| `{call}` | {default} | {where} | {told} |")
    return _between(ROOT / "docs/options.md", "options", "\n".join(rows))


def alerts_page() -> str:
    """docs/alerts.md with a section for each alert of the rules."""
    [rule] = template({"rules": {"enabled": True}}, "--show-only", "templates/prometheus-rule.yaml")
    parts = []
    for alert in (alert for group in rule["spec"]["groups"] for alert in group["rules"] if "alert" in alert):
        notes = alert["annotations"]
        parts += [
            f"### {alert['alert']}",
            f"{alert['labels']['severity']}, after {alert['for']}: {_plain(notes['summary'])}.",
        ]
        parts += [f"```promql\n{alert['expr']}\n```", notes["description"]]
    return _between(ROOT / "docs/alerts.md", "alerts", "\n\n".join(parts))


def chart_page() -> str:
    """The chart's README with the table of its values."""
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    rows = ["| value | default | |", "|---|---|---|"]
    rows += [f"| `{path}` | `{json.dumps(value)}` | {told} |" for path, value, told in _values(lines)]
    return _between(CHART / "README.md", "values", "\n".join(rows))


def trouble_page() -> str:
    """docs/trouble.md with the kinds of findings, and the troubles that the tests make."""
    kinds = [
        "| `kind` in JSON | found when |",
        "|---|---|",
        *(f"| `{kind}` | {text} |" for kind, text in KINDS.items()),
    ]
    made = ["| trouble | RabbitMQ | Redis | found as |", "|---|---|---|---|"]
    for trouble in TROUBLES:
        ticks = " | ".join("yes" if broker in trouble.brokers else "" for broker in (RABBITMQ, REDIS))
        made.append(f"| {trouble.text} | {ticks} | {f'`{trouble.kind}`' if trouble.kind else 'all is well'} |")
    page = ROOT / "docs/trouble.md"
    return _between_in(_between(page, "kinds", "\n".join(kinds)), page, "troubles", "\n".join(made))


GENERATED: dict[Path, Callable[[], str]] = {
    CHART / "values.schema.json": values_schema,
    RULE: prometheus_rule,
    ROOT / "docs/options.md": options_page,
    ROOT / "docs/alerts.md": alerts_page,
    CHART / "README.md": chart_page,
    ROOT / "docs/trouble.md": trouble_page,
}


def _options(*commands: str) -> list[click.Option]:
    found = (parameter for command in commands for parameter in main.commands[command].params)
    return [parameter for parameter in found if isinstance(parameter, click.Option)]


def _call(option: click.Option) -> str:
    if option.is_flag:
        return option.opts[0]
    return f"{option.opts[0]} {option.metavar or option.type.name.upper()}".replace("FILENAME", "FILE").replace(
        "CHOICE", option.opts[0].rpartition("-")[2].upper()
    )


def _default(option: click.Option) -> tuple[str, str]:
    """The help text without its default, and the default."""
    told, _, written = (option.help or "").partition("  [default: ")
    default: Any = written.rstrip("]") if written else option.default
    if isinstance(option.type, click.Choice):
        told = f"{told.rstrip('.')}: {' or '.join(f'`{choice}`' for choice in option.type.choices)}."
    if isinstance(default, bool) or not isinstance(default, int | float | str):
        return told, ""
    return told, f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _plain(summary: str) -> str:
    """The summary with a word in the place of what Prometheus fills in."""
    without_conditions = re.sub(r"\{\{ with .*?end \}\}", "", summary)
    named = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"(\1)", without_conditions)
    return re.sub(r"\{\{ \$value[^}]*\}\}", "(value)", named)


def _values(lines: list[str]) -> Iterator[tuple[str, Any, str]]:
    """Path, default and comment of each value that has a comment; what is inside one of those has none."""
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for number, line in enumerate(lines):
        text = line.strip()
        if text.startswith("#"):
            comment.append(text.removeprefix("#").strip())
            continue
        if found := re.match(r"( *)([A-Za-z]+):", line):
            path = [*(entry for entry in path if entry[0] < len(found[1])), (len(found[1]), found[2])]
            if comment:
                end = next((n for n in range(number + 1, len(lines)) if _ends(lines[n], len(found[1]))), len(lines))
                value = yaml.safe_load("\n".join(lines[number:end]))[found[2]]
                # What has comments of its own inside is told there.
                if not any(inner.strip().startswith("#") for inner in lines[number:end]):
                    yield ".".join(key for _, key in path), value, " ".join(comment)
        comment = []


def _ends(line: str, indent: int) -> bool:
    return not line.strip() or (len(line) - len(line.lstrip()) <= indent and not line.startswith(" " * indent + "- "))


def _between(page: Path, name: str, text: str) -> str:
    """The page with this text between its two marks."""
    return _between_in(page.read_text(encoding="utf-8"), page, name, text)


def _between_in(written: str, page: Path, name: str, text: str) -> str:
    marks = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    before, _, rest = written.partition(marks[0])
    _, found, after = rest.partition(marks[1])
    if not found:
        raise ValueError(f"{page}: no {marks[0]} … {marks[1]}")
    return f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}"


if __name__ == "__main__":
    for path, made in GENERATED.items():
        path.write_text(made(), encoding="utf-8")
        print(path.relative_to(ROOT))
