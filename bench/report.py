"""The results as Markdown, which reads well on a terminal too."""

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import warm
from bench.cost import Cost
from bench.measure import DOWNLOAD, PUSH_JOB, SIMPLE, Plan, Results
from bench.pools import PoolsResults
from bench.targets import Target, targets
from push_job import __version__
from testbed.process import find_program

#: Measured once by hand, on 2026-11-22: the selection on its own with 100,000 objects; the collections by gc.callbacks
#: in a real Flower with 100,000 tasks, and how often they come by the slow pages of nine scans a size and version. What
#: is on them: on 2026-11-25, in Flower's own CPU, medians of four; turns with each extra: on that day, medians of nine.
OBSTACLES = (
    "What stands in the way where a target is missed, measured apart from this run: Flower 2.2 picks each page with a"
    " heap over all of its tasks, 0.1 s of CPU at the front of 100,000 and 0.3 s at the back. Pages named by what is on"
    " them would cost no less in all: 0.06 s before the first task is written of one type, of 40 types here, and 0.25 s"
    " of a window of reception times. And after so many"
    " answered tasks Python collects all of Flower's garbage, which stops it for 0.8 s on 2.0.1 and for 1.3 s on 2.2.0:"
    " once in four of five downloads, in two of three scans in pages of 10,000 or 20,000, and, on 2.0.1, in three of"
    " eight in pages of 2,500, which take a third as long again. A turn of `run` with all extras takes 0.10 s more than"
    " the 0.06 s of one without: 0.05 s for prometheus_client's parser to read the 2,200 samples of Flower's /metrics,"
    " 0.04 s for the runtimes, waits and last runs of all 100,000 tasks, and 0.01 s to write what is more."
)


def report(results: Results, load: tuple[float, float, float]) -> str:
    """Everything, for bench/RESULTS.md; `load` is the machine's load average before the run."""
    plan = results.plan
    return "\n\n".join(
        [
            "# What a push costs",
            "Written by `make bench`: real Flowers, synthetic tasks of about 1 KB, 40 task types. Every number is a"
            f" median ({plan.rounds} rounds, each in an order of its own, unless said otherwise). Compare ratios: the"
            " seconds are this machine's.",
            _about(load),
            "## Targets",
            _targets(targets(results), plan),
            OBSTACLES,
            "## By number of tasks",
            "*CPU* and *memory* are the process's own; *stall* is the longest that Flower answered nobody else"
            " meanwhile (asked every 20 ms), and in brackets the shortest and the longest such time of the rounds.",
            *[_sizes(results, version) for version in _versions(results)],
            f"## Page size, at {plan.sizes[-1]:,} tasks",
            "A smaller page holds Flower up for a shorter time, but there are more of them, and the newest Flower sorts"
            f" all of its tasks for each. {_rounds(plan.page_rounds)}",
            *[_page_sizes(results, version) for version in _versions(results)],
            f"## Turn after turn, at {plan.warm.sizes[-1]:,} tasks",
            "The Flowers are full and forget. Before each round half as many new tasks come as tasks change, "
            f"{plan.warm.usual:,} in all; what is remembered is that of the round before. {_rounds(plan.warm.rounds)}",
            *[_turns(results, version) for version in _warm_versions(results)],
            "A turn of `run` against the number of tasks that are remembered, and against how many changed or came."
            " *read* are the tasks that were transferred.",
            *[_turns_by(results, version) for version in _warm_versions(results)],
            "## Asking the workers",
            f"A push of a Flower with {plan.pools.workers} workers and no task, without and with the one extra that"
            f" asks them. *A worker's* is that of each. {_rounds(plan.pools.rounds)}",
            pools_table(results.pools),
            "## Small and many",
            _small(results),
        ]
    )


def _about(load: tuple[float, float, float]) -> str:
    pushgateway = _output([find_program("prometheus-pushgateway", "prometheus-pushgateway"), "--version"])
    found = re.search(r"version (\S+)", pushgateway)
    reader = _output(["curl", "--version"]).split("(")[0].strip() if shutil.which("curl") else "requests"
    rows = [
        ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("push-job", __version__),
        ("Python", platform.python_version()),
        ("Prometheus Pushgateway", found[1] if found else "unknown"),
        ("bare download by", reader),
        ("machine", f"{os.cpu_count()} cores, {_cpu_model()}, {platform.system()} {platform.release().split('-')[0]}"),
        ("load average before the run", ", ".join(f"{value:.2f}" for value in load)),
    ]
    return _table(["what", "is"], rows)


def _targets(found: Iterable[Target], plan: Plan) -> str:
    rows = [
        (
            target.what,
            target.against,
            target.flower,
            f"{target.measured:.2f}",
            f"{target.limit:.2f}",
            "yes" if target.reached else "**no**",
        )
        for target in found
    ]
    heading = ["of a push", "divided by", "Flower", "measured", "at most", "reached"]
    remark = "" if plan == Plan() else " They are meant for a full run: this was one with small numbers."
    return f"At {plan.sizes[-1]:,} tasks where nothing else is said.{remark}\n\n{_table(heading, rows)}"


def _sizes(results: Results, version: str) -> str:
    rows = []
    for (its_version, tasks, way), cost in results.by_size.items():
        if its_version != version:
            continue
        simple = results.by_size[version, tasks, SIMPLE]
        download = results.by_size[version, tasks, DOWNLOAD]
        rows.append(
            (
                f"{tasks:,}",
                way,
                f"{cost.seconds:.2f}",
                f"{cost.cpu:.2f}",
                f"{cost.memory:.0f}",
                _stall(cost),
                f"{cost.flower_cpu:.2f}",
                f"{cost.seconds / download.seconds:.2f}",
                f"{cost.cpu / simple.cpu:.2f}",
                f"{cost.memory / simple.memory:.2f}",
                f"{cost.stall / simple.stall:.2f}",
                f"{cost.flower_cpu / simple.flower_cpu:.2f}",
            )
        )
    columns = ["tasks", "way", "wall s", "CPU s", "MiB", "stall s", "Flower's CPU s"]
    ratios = ["wall / download", "CPU / simple", "MiB / simple", "stall / simple", "Flower's / simple"]
    return f"Flower {version}:\n\n{_table(columns + ratios, rows)}"


def _page_sizes(results: Results, version: str) -> str:
    largest = results.plan.sizes[-1]
    simple = results.by_size[version, largest, SIMPLE]
    download = results.by_size[version, largest, DOWNLOAD]
    rows = [
        (
            f"{size:,}" if size else "the default",
            f"{cost.seconds:.2f}",
            _stall(cost),
            f"{cost.flower_cpu:.2f}",
            f"{cost.memory:.0f}",
            f"{cost.seconds / download.seconds:.2f}",
            f"{cost.stall / simple.stall:.2f}",
        )
        for (its_version, size), cost in results.by_page_size.items()
        if its_version == version
    ]
    columns = ["tasks a page", "wall s", "stall s", "Flower's CPU s", "MiB", "wall / download", "stall / simple"]
    return f"Flower {version}:\n\n{_table(columns, rows)}"


def _warm_versions(results: Results) -> list[str]:
    return list(dict.fromkeys(version for version, _ in results.warm.ways))


def _turns(results: Results, version: str) -> str:
    of_ways = results.warm.ways
    simple, download = of_ways[version, warm.SIMPLE], of_ways[version, warm.DOWNLOAD]
    rows = [
        (
            way,
            f"{cost.seconds:.2f}",
            f"{cost.cpu:.3f}",
            f"{cost.memory:.0f}",
            _stall(cost),
            f"{cost.flower_cpu:.2f}",
            f"{cost.seconds / simple.seconds:.2f}",
            f"{cost.cpu / simple.cpu:.2f}",
            f"{cost.stall / simple.stall:.2f}",
            f"{cost.flower_cpu / simple.flower_cpu:.2f}",
            f"{cost.flower_cpu / download.flower_cpu:.2f}",
        )
        for (its_version, way), cost in of_ways.items()
        if its_version == version
    ]
    columns = ["way", "wall s", "CPU s", "MiB", "stall s", "Flower's CPU s", "wall / simple", "CPU / simple"]
    ratios = ["stall / simple", "Flower's / simple", "Flower's / download"]
    return f"Flower {version}:\n\n{_table(columns + ratios, rows)}"


def _turns_by(results: Results, version: str) -> str:
    found = results.warm
    rows = [
        (
            what,
            f"{number:,}",
            f"{read:,}",
            f"{cost.seconds:.2f}",
            f"{cost.cpu:.3f}",
            f"{cost.memory:.0f}",
            f"{cost.flower_cpu:.2f}",
        )
        for what, of_number in (("tasks", found.by_size), ("changes", found.by_changes))
        for (its_version, number), (cost, read) in of_number.items()
        if its_version == version
    ]
    columns = ["of", "number", "read", "wall s", "CPU s", "MiB", "Flower's CPU s"]
    return f"Flower {version}:\n\n{_table(columns, rows)}"


def pools_table(results: PoolsResults) -> str:
    """What asking the workers costs."""
    rows = [
        (
            version,
            way,
            f"{cost.seconds:.2f}",
            f"{cost.cpu:.3f}",
            f"{cost.flower_cpu:.3f}",
            f"{results.of_a_worker[version, way]:.3f}",
            f"{results.answered[version] / 1000:.1f}",
        )
        for (version, way), cost in results.pushes.items()
    ]
    columns = ["Flower", "way", "wall s", "CPU s", "Flower's CPU s", "a worker's CPU s", "kB that each tells"]
    return _table(columns, rows)


def _small(results: Results) -> str:
    plan = results.plan
    rows = [
        (what, rounds, f"{cost.seconds:.3f}", f"{cost.cpu:.3f}", f"{cost.memory:.0f}")
        for what, rounds, cost in [
            *((f"cold start: {what}", plan.cold_rounds, cost) for what, cost in results.cold.items()),
            *(
                (f"Flowers in one run: {count}", plan.instance_rounds, cost)
                for count, cost in results.instances.items()
            ),
            *([(f"{plan.types:,} task types", plan.types_rounds, results.types)] if results.types else []),
        ]
    ]
    many = results.instances[plan.instances]
    return (
        f"{PUSH_JOB} of a Flower with {plan.small_tasks} tasks; all {plan.instances} are one Flower behind as many"
        " loopback addresses, so its one thread answers for all of them."
        f"\n\n{_table(['what', 'rounds', 'wall s', 'CPU s', 'MiB'], rows)}\n\n"
        f"A Flower among {plan.instances} takes {1000 * many.seconds / plan.instances:.0f} ms. Of the push of"
        f" {plan.types:,} task types ({7 * plan.types:,} counts), reading Flower takes"
        f" {results.types_scrape_seconds:.2f} s.\n"
    )


def _stall(cost: Cost) -> str:
    shortest, longest = cost.stalls
    return f"{cost.stall:.2f} ({shortest:.2f}-{longest:.2f})"


def _versions(results: Results) -> list[str]:
    return list(dict.fromkeys(version for version, _, _ in results.by_size))


def _rounds(count: int) -> str:
    return f"{count} rounds." if count > 1 else "One round."


def _table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table whose columns are aligned in plain text too."""
    cells = [list(heading), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heading))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", path.read_text() if path.exists() else "", re.MULTILINE)
    return found[1] if found else platform.machine()
