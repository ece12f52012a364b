"""Format the results as Markdown."""

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import incremental
from bench.cost import Cost
from bench.hard_cases import HardCasesPlan, HardCasesResults
from bench.measure import DOWNLOAD, PUSH_JOB, SIMPLE, Plan, Results
from bench.pools import PoolsResults
from bench.targets import Target, targets
from push_job import __version__
from testbed.process import find_program

#: Measured by hand on 2026-11-22: the selection with 100,000 objects; garbage collections with gc.callbacks in a real
#: Flower with 100,000 tasks, and their frequency from the slow pages of nine scrapes per page size and version.
#: Measured on 2026-11-25: filtered pages, as Flower's CPU, medians of four; cycles with each extra, medians of nine.
OBSTACLES = (
    "Reasons for missed targets, measured separately: Flower 2.2 selects each page with a heap over all tasks, which "
    "takes 0.1 s of CPU at the front of 100,000 tasks and 0.3 s at the back. Filtered pages would cost no less in "
    "total: 0.06 s before the first task is written for one of 40 types, and 0.25 s for a window of reception times. "
    "In addition, Python's full garbage collection stops Flower for 0.8 s on 2.0.1 and 1.3 s on 2.2.0 after a certain "
    "number of answered tasks: in four of five downloads, in two of three scrapes with pages of 10,000 or 20,000 "
    "tasks, and on 2.0.1 in three of eight scrapes with pages of 2,500, which take a third longer. A cycle of `run` "
    "with all extras takes about as long again as one without: it parses the 2,200 samples of Flower's /metrics, and "
    "computes the runtimes, waits and last runs of all 100,000 tasks."
)


def report(results: Results, load: tuple[float, float, float]) -> str:
    """Return the text of bench/RESULTS.md; `load` is the load average before it."""
    plan = results.plan
    return "\n\n".join(
        [
            "# Cost of a push",
            f"Written by `make bench`: real Flowers, synthetic tasks of about 1 KB, 40 task types. Every number is a "
            f"median of {plan.rounds} rounds in random order, unless stated otherwise. Compare ratios, because the "
            f"seconds depend on the machine.",
            _about(load),
            "## Targets",
            _targets(targets(results), plan),
            OBSTACLES,
            "## By number of tasks",
            "*CPU* and *MiB* (peak memory) are those of the process. *Stall* is the longest time in which Flower"
            " answered no other request (sent every 20 ms); the brackets contain the shortest and longest stall of the"
            " rounds.",
            *[_sizes(results, version) for version in _versions(results)],
            f"## Page size, with {plan.sizes[-1]:,} tasks",
            f"Smaller pages stall Flower for a shorter time, but there are more of them, and the newest Flower sorts "
            f"all tasks for each page. {_rounds(plan.page_rounds)}",
            *[_page_sizes(results, version) for version in _versions(results)],
            f"## Incremental scrapes, with {plan.incremental.sizes[-1]:,} tasks",
            f"The Flowers are full and drop tasks. Before each round {plan.incremental.usual:,} tasks change, half "
            f"of which are new. The state is that of the previous round. {_rounds(plan.incremental.rounds)}",
            *[_incremental(results, version) for version in _incremental_versions(results)],
            "A cycle of `run` by number of tasks and by number of changes. *Read* is the number of transferred tasks.",
            *[_incremental_by(results, version) for version in _incremental_versions(results)],
            "## Hard cases of incremental scrapes",
            hard_cases_text(results.hard_cases, plan.hard_cases),
            "## The extra pools",
            f"A push of a Flower with {plan.pools.workers} workers and no task, with and without the extra that "
            f"sends requests to the workers. {_rounds(plan.pools.rounds)}",
            pools_table(results.pools),
            "## Small Flowers and many Flowers",
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
    return _table(["item", "value"], rows)


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
    heading = ["number", "divided by", "Flower", "measured", "limit", "reached"]
    remark = "" if plan == Plan() else " They apply to a complete run; this was one with small numbers."
    return f"With {plan.sizes[-1]:,} tasks, unless stated otherwise.{remark}\n\n{_table(heading, rows)}"


def _sizes(results: Results, version: str) -> str:
    rows = []
    for (its_version, tasks, name), cost in results.by_size.items():
        if its_version != version:
            continue
        simple = results.by_size[version, tasks, SIMPLE]
        download = results.by_size[version, tasks, DOWNLOAD]
        rows.append(
            (
                f"{tasks:,}",
                name,
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
    columns = ["tasks", "command", "wall s", "CPU s", "MiB", "stall s", "Flower's CPU s"]
    ratios = ["wall / download", "CPU / simple", "MiB / simple", "stall / simple", "Flower's / simple"]
    return f"Flower {version}:\n\n{_table(columns + ratios, rows)}"


def _page_sizes(results: Results, version: str) -> str:
    largest = results.plan.sizes[-1]
    simple = results.by_size[version, largest, SIMPLE]
    download = results.by_size[version, largest, DOWNLOAD]
    rows = [
        (
            f"{size:,}" if size else "default",
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
    columns = ["tasks per page", "wall s", "stall s", "Flower's CPU s", "MiB", "wall / download", "stall / simple"]
    return f"Flower {version}:\n\n{_table(columns, rows)}"


def _incremental_versions(results: Results) -> list[str]:
    return list(dict.fromkeys(version for version, _ in results.incremental.by_command))


def _incremental(results: Results, version: str) -> str:
    costs = results.incremental.by_command
    simple, download = costs[version, incremental.SIMPLE], costs[version, incremental.DOWNLOAD]
    rows = [
        (
            name,
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
        for (its_version, name), cost in costs.items()
        if its_version == version
    ]
    columns = ["command", "wall s", "CPU s", "MiB", "stall s", "Flower's CPU s", "wall / simple", "CPU / simple"]
    ratios = ["stall / simple", "Flower's / simple", "Flower's / download"]
    return f"Flower {version}:\n\n{_table(columns + ratios, rows)}"


def _incremental_by(results: Results, version: str) -> str:
    found = results.incremental
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
    columns = ["by", "number", "read", "wall s", "CPU s", "MiB", "Flower's CPU s"]
    return f"Flower {version}:\n\n{_table(columns, rows)}"


def hard_cases_text(results: HardCasesResults, plan: HardCasesPlan) -> str:
    """Return a sentence and a table about hard cases."""
    rows = [
        (
            version,
            name,
            f"{result.full} of {result.cycles}",
            f"{result.cost.flower_cpu:.2f}",
            f"{result.first.flower_cpu:.2f}",
            f"{result.cost.cpu:.3f}",
        )
        for (version, name), result in results.items()
    ]
    columns = ["Flower", "case", "full scrapes", "Flower's CPU s", "of the first cycle", "CPU s"]
    return (
        f"Cycles of `run` on Flowers with {plan.tasks:,} tasks that receive {plan.rate} tasks per second, also during"
        f" the scrapes. *Full scrapes* counts those after the first cycle, or after the first one since a restart; the"
        f" costs are medians of these cycles. `python -m bench --hard-cases` measures only this.\n\n"
        f"{_table(columns, rows)}"
    )


def pools_table(results: PoolsResults) -> str:
    """Return a table with the cost of the extra pools."""
    rows = [
        (
            version,
            name,
            f"{cost.seconds:.2f}",
            f"{cost.cpu:.3f}",
            f"{cost.flower_cpu:.3f}",
            f"{results.worker_cpu[version, name]:.3f}",
            f"{results.answer_bytes[version] / 1000:.1f}",
        )
        for (version, name), cost in results.pushes.items()
    ]
    columns = ["Flower", "command", "wall s", "CPU s", "Flower's CPU s", "CPU s per worker", "kB per worker"]
    return _table(columns, rows)


def _small(results: Results) -> str:
    plan = results.plan
    types = f"{plan.types:,} task types"
    of_types = {types: results.types, f"one Flower, next to {types} of another job": results.next_to_types}
    rows = [
        (what, rounds, f"{cost.seconds:.3f}", f"{cost.cpu:.3f}", f"{cost.memory:.0f}")
        for what, rounds, cost in [
            *((f"cold start: {what}", plan.cold_rounds, cost) for what, cost in results.cold.items()),
            *(
                (f"Flowers in one run: {count}", plan.instance_rounds, cost)
                for count, cost in results.instances.items()
            ),
            *((name, plan.types_rounds, cost) for name, cost in of_types.items() if cost),
        ]
    ]
    many = results.instances[plan.instances]
    table = _table(["item", "rounds", "wall s", "CPU s", "MiB"], rows)
    return (
        f"{PUSH_JOB} of a Flower with {plan.small_tasks} tasks. The {plan.instances} Flowers are one Flower with as"
        f" many loopback addresses, so one thread answers all requests.\n\n{table}\n\n"
        f"One of {plan.instances} Flowers takes {1000 * many.seconds / plan.instances:.0f} ms. In the push of"
        f" {plan.types:,} task types ({7 * plan.types:,} counts), the scrape takes"
        f" {results.types_scrape_seconds:.2f} s. A push of a new process reads the Pushgateway's /metrics back, which"
        f" the last row shows.\n"
    )


def _stall(cost: Cost) -> str:
    shortest, longest = cost.stalls
    return f"{cost.stall:.2f} ({shortest:.2f}-{longest:.2f})"


def _versions(results: Results) -> list[str]:
    return list(dict.fromkeys(version for version, _, _ in results.by_size))


def _rounds(count: int) -> str:
    return f"{count} rounds." if count > 1 else "One round."


def _table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table with aligned columns."""
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
