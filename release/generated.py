"""Generate files and parts of files from their sources (`make generate`).

Each generator returns the complete text of its file, so that a test can compare it with the file.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from push_job.cli import main
from push_job.explain.rules import KINDS
from push_job.metrics.extras import EXTRAS, SUCCESS, families_with
from release.render import CHART, ROOT, template, without_helms_labels
from tests.explain.troubles import RABBITMQ, REDIS, TROUBLES

RULE = ROOT / "cronjob/components/rules/prometheus-rule.yaml"
SLOW_RULES = ROOT / "cronjob/components/slow-schedule/rules.yaml"
#: Variables that the chart's `settings` rejects: the chart has a value for them, or they make no sense in a pod.
NOT_A_SETTING = {"FLOWER", "PUSHGATEWAY", "JOB", "GROUPING", "DEADLINE", "LOG_FORMAT", "WITH", "SHARD", "EVERY"}
NOT_A_SETTING |= {"HEARTBEAT_FILE", "FORMAT"}


def prometheus_rule() -> str:
    """Return the PrometheusRule of the chart, without Helm's labels."""
    [rule] = template({"rules": {"enabled": True}}, "--show-only", "templates/prometheus-rule.yaml")
    head = "# Generated from prometheus/rules by `make generate`.\n"
    return head + yaml.safe_dump(without_helms_labels(rule), sort_keys=False, width=120)


def slow_rules() -> str:
    """Return a patch with the chart's rules for a push every 15 minutes."""
    values = {"rules": {"enabled": True}, "cronjob": {"schedule": "*/15 * * * *"}}
    [rule] = template(values, "--show-only", "templates/prometheus-rule.yaml")
    patch = [{"op": "replace", "path": "/spec/groups", "value": rule["spec"]["groups"]}]
    head = "# Generated from prometheus/rules by `make generate`.\n"
    return head + yaml.safe_dump(patch, sort_keys=False, width=120)


def values_schema() -> str:
    """Return the chart's schema with the current extras and variables."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    schema["properties"]["with"]["items"]["enum"] = [*EXTRAS, "all"]
    variables = {parameter.opts[0] for parameter in _options("push", "run")}
    names = {name.removeprefix("--").replace("-", "_").upper() for name in variables} - NOT_A_SETTING
    kinds = {"type": ["string", "number", "boolean"]}
    schema["properties"]["settings"]["properties"] = {f"PUSH_JOB_{name}": kinds for name in sorted(names)}
    return json.dumps(schema, indent=2) + "\n"


def options_page() -> str:
    """Return docs/options.md with the table of options."""
    rows = ["| option | default | commands | |", "|---|---|---|---|"]
    commands = {name: [p for p in _options(name) if not p.hidden] for name in main.commands}
    having: dict[tuple[str, ...], list[str]] = {}
    for command, options in commands.items():
        for option in options:
            description, default = _description_and_default(option)
            # Two commands may have different options of the same name.
            having.setdefault((_call(option), default, description), []).append(command)
    for (call, default, description), names in having.items():
        where = "" if len(names) == len(commands) else ", ".join(f"`{name}`" for name in names)
        rows.append(f"| `{call}` | {default} | {where} | {description} |")
    return _between(ROOT / "docs/options.md", "options", "\n".join(rows))


def metrics_page() -> str:
    """Return docs/metrics.md with a table of every family that can be pushed."""
    extra_of = {family.name: f"`{name}`" for name, extra in EXTRAS.items() for family in extra.families}
    extra_of[SUCCESS.name] = "any"
    rows = ["| metric | type | labels | meaning | extra |", "|---|---|---|---|---|"]
    for family in families_with(EXTRAS):
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.name}` | {family.type} | {labels} | {family.help} | {extra_of.get(family.name, '')} |")
    return _between(ROOT / "docs/metrics.md", "metrics", "\n".join(rows))


def alerts_page() -> str:
    """Return docs/alerts.md with a table of the alerts and a section for each of them."""
    [rule] = template({"rules": {"enabled": True}}, "--show-only", "templates/prometheus-rule.yaml")
    rules = [found for group in rule["spec"]["groups"] for found in group["rules"]]
    recorded = {found["record"]: found["expr"] for found in rules if "record" in found}
    rows = ["| alert | severity | after | summary | extras |", "|---|---|---|---|---|"]
    sections = []
    for alert in (found for found in rules if "alert" in found):
        name, severity, notes = alert["alert"], alert["labels"]["severity"], alert["annotations"]
        summary = _without_template(notes["summary"])
        extras = ", ".join(f"`{extra}`" for extra in _extras_of(alert["expr"], recorded))
        rows.append(f"| [{name}](#{name.lower()}) | {severity} | {alert['for']} | {summary} | {extras} |")
        needs = f" Needs the extras {extras}." if extras else ""
        sections += [f"### {name}", f"{severity}, after {alert['for']}: {summary}.{needs}"]
        sections += [f"```promql\n{alert['expr']}\n```", notes["description"]]
    text = _between(ROOT / "docs/alerts.md", "overview", "\n".join(rows))
    return _replace_between(text, "alerts", "\n\n".join(sections))


def alert_names() -> str:
    """Return push_job/checks/alert_names.py with the names of the alerts."""
    [rule] = template({"rules": {"enabled": True}}, "--show-only", "templates/prometheus-rule.yaml")
    names = [found["alert"] for group in rule["spec"]["groups"] for found in group["rules"] if "alert" in found]
    head = '"""Generated from prometheus/rules by `make generate`: the names of our alerts."""\n\nALERT_NAMES = (\n'
    return head + "".join(f'    "{name}",\n' for name in names) + ")\n"


def _extras_of(expression: str, recorded: dict[str, str]) -> list[str]:
    """Return the extras that an expression needs, also through recording rules."""
    read = set(re.findall(r"[a-z][\w:]+", expression))
    found = {name for name, extra in EXTRAS.items() for family in extra.families if read & family.sample_names}
    found.update(extra for name in read & recorded.keys() for extra in _extras_of(recorded[name], recorded))
    return [name for name in EXTRAS if name in found]


def chart_page() -> str:
    """Return the chart's README with the table of its values."""
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    rows = ["| value | default | |", "|---|---|---|"]
    rows += [f"| `{path}` | `{json.dumps(value)}` | {comment} |" for path, value, comment in _values(lines)]
    return _between(CHART / "README.md", "values", "\n".join(rows))


def trouble_page() -> str:
    """Return docs/trouble.md with the kinds of findings and the tests' troubles."""
    kinds = [
        "| `kind` in JSON | found when |",
        "|---|---|",
        *(f"| `{kind}` | {text} |" for kind, text in KINDS.items()),
    ]
    made = ["| trouble | RabbitMQ | Redis | found as |", "|---|---|---|---|"]
    for trouble in TROUBLES:
        ticks = " | ".join("yes" if broker in trouble.brokers else "" for broker in (RABBITMQ, REDIS))
        made.append(f"| {trouble.text} | {ticks} | {f'`{trouble.kind}`' if trouble.kind else 'no finding'} |")
    page = ROOT / "docs/trouble.md"
    return _replace_between(_between(page, "kinds", "\n".join(kinds)), "troubles", "\n".join(made))


def security_page() -> str:
    """Return SECURITY.md with a table of the tests that have the marker `limit`."""
    rows: list[tuple[str, str, str, str]] = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.limit":
                    party, what, result = map(ast.literal_eval, mark.args)
                    rows.append((party, what, result, str(path.relative_to(ROOT))))
    head = ["| from | what | result | test |", "|---|---|---|---|"]
    table = [f"| {party} | {what} | {result} | `{test}` |" for party, what, result, test in sorted(rows)]
    return _between(ROOT / "SECURITY.md", "limits", "\n".join([*head, *table]))


GENERATED: dict[Path, Callable[[], str]] = {
    CHART / "values.schema.json": values_schema,
    RULE: prometheus_rule,
    SLOW_RULES: slow_rules,
    ROOT / "push_job/checks/alert_names.py": alert_names,
    ROOT / "docs/metrics.md": metrics_page,
    ROOT / "docs/options.md": options_page,
    ROOT / "docs/alerts.md": alerts_page,
    CHART / "README.md": chart_page,
    ROOT / "docs/trouble.md": trouble_page,
    ROOT / "SECURITY.md": security_page,
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


def _description_and_default(option: click.Option) -> tuple[str, str]:
    """Split an option's help text into description and default."""
    description, _, written = (option.help or "").partition("  [default: ")
    default: Any = written.rstrip("]") if written else option.default
    if isinstance(option.type, click.Choice):
        description = f"{description.rstrip('.')}: {' or '.join(f'`{choice}`' for choice in option.type.choices)}."
    if isinstance(default, bool) or not isinstance(default, int | float | str):
        return description, ""
    return description, f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _without_template(summary: str) -> str:
    """Return an alert's summary without Prometheus' template syntax."""
    without_conditions = re.sub(r"\{\{ with .*?end \}\}", "", summary)
    named = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"(\1)", without_conditions)
    return re.sub(r"\{\{ \$value[^}]*\}\}", "(value)", named)


def _values(lines: list[str]) -> Iterator[tuple[str, Any, str]]:
    """Yield path, default and comment of each value that has a comment of its own."""
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
                # A value that contains commented values is described by them.
                if not any(inner.strip().startswith("#") for inner in lines[number:end]):
                    yield ".".join(key for _, key in path), value, " ".join(comment)
        comment = []


def _ends(line: str, indent: int) -> bool:
    return not line.strip() or (len(line) - len(line.lstrip()) <= indent and not line.startswith(" " * indent + "- "))


def _between(page: Path, name: str, text: str) -> str:
    """Return the page with `text` between the two markers called `name`."""
    return _replace_between(page.read_text(encoding="utf-8"), name, text)


def _replace_between(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"missing markers: {begin} … {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


if __name__ == "__main__":
    for path, generate in GENERATED.items():
        path.write_text(generate(), encoding="utf-8")
        print(path.relative_to(ROOT))
