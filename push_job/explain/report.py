"""Print findings: as text, no more than a screen of it, or as JSON for a program."""

from __future__ import annotations

import json
import math
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import Any

import click

from push_job.explain.diagnosis import Diagnosis
from push_job.explain.findings import Finding, Level
from push_job.terminal.formatting import count_words, time_words
from push_job.text import printable

#: Lines on a screen that is 24 high, the line with the next prompt among them.
_LINES = 23

#: Characters in a line, where the terminal has so many; the fewest that make sense.
_WIDEST = 100
_NARROWEST = 40

#: Findings of one kind, of one Flower, that are shown: twenty workers that went away have one cause.
_OF_A_KIND = 3

_ORDER = (Level.WRONG, Level.UNSURE, Level.NOTE)
_MARKS = {Level.WRONG: "✗x", Level.UNSURE: "??", Level.NOTE: "--"}
_COLOURS = {Level.WRONG: "red", Level.UNSURE: "yellow", Level.NOTE: "cyan"}


def as_text(diagnoses: Iterable[Diagnosis], *, in_unicode: bool) -> str:
    """What a terminal shows: a headline, then each finding, worst first.

    `in_unicode` is whether it can show a cross.
    """
    diagnoses = list(diagnoses)
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))
    head = _folded(_headline(diagnoses), width, "")
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
    end = [f"and {left:,} more: --format json has them all"] if left else []
    return "\n".join([*(click.style(line, bold=True) for line in head), *(line for b in blocks for line in b), *end])


def as_json(diagnoses: Iterable[Diagnosis]) -> str:
    """Every finding, for a program."""
    diagnoses = list(diagnoses)
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


def _unknown(diagnoses: Iterable[Diagnosis]) -> list[str]:
    """What cannot be known, each once."""
    findings = (finding for diagnosis in diagnoses for finding in diagnosis.findings)
    return list(dict.fromkeys(finding.unknown for finding in findings if finding.unknown))


def _headline(diagnoses: list[Diagnosis]) -> str:
    if not diagnoses:
        return "No Flower is in this shard"
    who = f"Flower {diagnoses[0].flower.address}" if len(diagnoses) == 1 else count_words(len(diagnoses), "Flower")
    return f"{who}: {_verdict(diagnoses)} ({_extent(diagnoses)})"


def _verdict(diagnoses: list[Diagnosis]) -> str:
    wrong, unknown = sum(diagnosis.wrong for diagnosis in diagnoses), _unknown(diagnoses)
    unsure = any(finding.level is Level.UNSURE for diagnosis in diagnoses for finding in diagnosis.findings)
    if wrong:
        verdict = f"{count_words(wrong, 'thing')} {'is' if wrong == 1 else 'are'} wrong"
    elif unknown:
        verdict = "nothing is known to be wrong"
    else:
        return "something may be wrong" if unsure else "all is well"
    more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    return f"{verdict}, but not all can be known: {unknown[0]}{more}" if unknown else verdict


def _extent(diagnoses: list[Diagnosis]) -> str:
    known = [diagnosis.facts for diagnosis in diagnoses if diagnosis.facts is not None]
    if not known:
        return "nothing could be read"
    workers, tasks = sum(len(facts.live) for facts in known), sum(facts.task_count for facts in known)
    ages = [facts.age(facts.started_at) for facts in known if facts.is_young]
    young = f" of the last {time_words(min(ages))}" if ages else ""
    return f"{count_words(workers, 'live worker')}, {count_words(tasks, 'task')}{young}"


def _chosen(diagnoses: list[Diagnosis]) -> list[tuple[Diagnosis, Finding]]:
    """The findings to show, in order of level, no more than a few of one kind."""
    found = [(diagnosis, finding) for diagnosis in diagnoses for finding in diagnosis.findings]
    found.sort(key=lambda one: (_ORDER.index(one[1].level), one[1].kind != "flower-down"))
    chosen = []
    kinds: Counter[tuple[str, str]] = Counter()
    for diagnosis, finding in found:
        kind = diagnosis.flower.address, finding.kind
        kinds[kind] += 1
        if kinds[kind] <= _OF_A_KIND:
            chosen.append((diagnosis, finding))
    return chosen


def _block(where: str, finding: Finding, mark: str, width: int) -> list[str]:
    likely = f"{finding.likely[:1].upper()}{finding.likely[1:]}."
    do = f"{finding.do[:1].upper()}{finding.do[1:]}{':' if finding.link else '.'}"
    first, *rest = _folded(f"{where}{finding.fact}", width - 2, "")
    lines = [f"{click.style(mark, fg=_COLOURS[finding.level])} {first}", *(f"  {line}" for line in rest)]
    lines += _folded(f"{likely} {do}", width, "  ")
    return [*lines, f"  {finding.link}"] if finding.link else lines


def _folded(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _height(lines: list[str], width: int) -> int:
    """Lines on the screen, which folds those that are too long, as a link may be."""
    return sum(max(1, math.ceil(len(click.unstyle(line)) / width)) for line in lines)
