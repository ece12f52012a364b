"""Format findings as text that fits on one screen, or as JSON."""

from __future__ import annotations

import json
import math
import shutil
import textwrap
from collections import Counter
from typing import Any

import click

from push_job.explain.diagnosis import Diagnosis
from push_job.explain.findings import Finding, Level
from push_job.terminal.formatting import format_count, format_duration
from push_job.text import printable

#: Lines of text: a terminal of 24 lines without the line of the next prompt.
_LINES = 23

#: Limits of the line width in characters. Between them, the width of the terminal is used.
_MAX_WIDTH = 100
_MIN_WIDTH = 40

#: Findings shown per kind and Flower. Many of the same kind (e.g. lost workers) usually have the same cause.
_MAX_PER_KIND = 3

_MARKS = {Level.WRONG: "✗x", Level.UNSURE: "??", Level.NOTE: "--"}
_COLOURS = {Level.WRONG: "red", Level.UNSURE: "yellow", Level.NOTE: "cyan"}


def as_text(diagnoses: list[Diagnosis], *, in_unicode: bool) -> str:
    """Return the text for a terminal: a headline, then the findings, worst first.

    Args:
        diagnoses: one for each Flower.
        in_unicode: whether the terminal can show a cross mark.
    """
    width = max(_MIN_WIDTH, min(_MAX_WIDTH, shutil.get_terminal_size((_MAX_WIDTH, 24)).columns))
    head = _wrapped(_headline(diagnoses), width, "")
    shown, all_found = _chosen(diagnoses), sum(len(diagnosis.findings) for diagnosis in diagnoses)
    blocks: list[list[str]] = []
    room = _LINES - _height(head, width)
    several = len(diagnoses) > 1
    for diagnosis, finding in shown:
        where = f"{diagnosis.flower.address}: " if several else ""
        block = _block(where, finding, _MARKS[finding.level][not in_unicode], width)
        more = 0 if len(blocks) + 1 == all_found else 1
        if _height(block, width) + more > room:
            break
        room -= _height(block, width)
        blocks.append(block)
    left = all_found - len(blocks)
    end = [f"and {left:,} more: --format json shows all findings"] if left else []
    return "\n".join([*(click.style(line, bold=True) for line in head), *(line for b in blocks for line in b), *end])


def as_json(diagnoses: list[Diagnosis]) -> str:
    """Return all findings as JSON; see docs/trouble.md for the format."""
    flowers = [
        {
            "flower": diagnosis.flower.address,
            "up": diagnosis.facts is not None,
            "workers": None if diagnosis.facts is None else len(diagnosis.facts.live),
            "tasks": None if diagnosis.facts is None else diagnosis.facts.task_count,
            "unknown": _unknown([diagnosis]),
            "findings": [_as_object(finding) for finding in diagnosis.findings],
        }
        for diagnosis in diagnoses
    ]
    well = not any(diagnosis.wrong for diagnosis in diagnoses)
    return json.dumps({"well": well, "flowers": flowers}, indent=2)


def _as_object(finding: Finding) -> dict[str, Any]:
    return {
        "level": finding.level.value,
        "kind": finding.kind,
        "subject": finding.subject,
        "fact": finding.fact,
        "likely": finding.likely,
        "do": finding.do,
        "link": finding.link,
    }


def _unknown(diagnoses: list[Diagnosis]) -> list[str]:
    """Return the information that is missing, without duplicates."""
    findings = (finding for diagnosis in diagnoses for finding in diagnosis.findings)
    return list(dict.fromkeys(finding.unknown for finding in findings if finding.unknown))


def _headline(diagnoses: list[Diagnosis]) -> str:
    if not diagnoses:
        return "No Flower is in this shard"
    who = f"Flower {diagnoses[0].flower.address}" if len(diagnoses) == 1 else format_count(len(diagnoses), "Flower")
    return f"{who}: {_verdict(diagnoses)} ({_scope(diagnoses)})"


def _verdict(diagnoses: list[Diagnosis]) -> str:
    wrong, unknown = sum(diagnosis.wrong for diagnosis in diagnoses), _unknown(diagnoses)
    unsure = any(finding.level is Level.UNSURE for diagnosis in diagnoses for finding in diagnosis.findings)
    if wrong:
        verdict = f"{format_count(wrong, 'problem')} found"
    elif unknown:
        verdict = "no problem found"
    else:
        return "something may be wrong" if unsure else "no problem found"
    more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    return f"{verdict}; not known: {unknown[0]}{more}" if unknown else verdict


def _scope(diagnoses: list[Diagnosis]) -> str:
    known = [diagnosis.facts for diagnosis in diagnoses if diagnosis.facts is not None]
    if not known:
        return "no Flower could be scraped"
    workers, tasks = sum(len(facts.live) for facts in known), sum(facts.task_count for facts in known)
    ages = [facts.age(facts.started_at) for facts in known if facts.is_young]
    young = f" of the last {format_duration(min(ages))}" if ages else ""
    return f"{format_count(workers, 'live worker')}, {format_count(tasks, 'task')}{young}"


def _chosen(diagnoses: list[Diagnosis]) -> list[tuple[Diagnosis, Finding]]:
    """Return the findings to show, sorted by level, at most _MAX_PER_KIND of a kind."""
    found = [(diagnosis, finding) for diagnosis in diagnoses for finding in diagnosis.findings]
    found.sort(key=lambda one: (list(Level).index(one[1].level), one[1].kind != "flower-down"))
    chosen = []
    kinds: Counter[tuple[str, str]] = Counter()
    for diagnosis, finding in found:
        kind = diagnosis.flower.address, finding.kind
        kinds[kind] += 1
        if kinds[kind] <= _MAX_PER_KIND:
            chosen.append((diagnosis, finding))
    return chosen


def _block(where: str, finding: Finding, mark: str, width: int) -> list[str]:
    likely = f"{finding.likely[:1].upper()}{finding.likely[1:]}."
    do = f"{finding.do[:1].upper()}{finding.do[1:]}{':' if finding.link else '.'}"
    first, *rest = _wrapped(f"{where}{finding.fact}", width - 2, "")
    lines = [f"{click.style(mark, fg=_COLOURS[finding.level])} {first}", *(f"  {line}" for line in rest)]
    lines += _wrapped(f"{likely} {do}", width, "  ")
    return [*lines, f"  {finding.link}"] if finding.link else lines


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _height(lines: list[str], width: int) -> int:
    """Return the number of lines on the screen.

    The terminal wraps long lines, such as links.
    """
    return sum(max(1, math.ceil(len(click.unstyle(line)) / width)) for line in lines)
