"""Break connections at random; fail on a false push or a late run.

Example: `python -m tests.chaos --runs 1000 --seed 17`.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from testbed.command import ROOT
from tests.chaos.runs import BEFORE, DOWN, GRACE, TRUTH, Run, many_runs, world

#: Where the records of failures are kept.
RECORDS = ROOT / ".chaos"

EXIT_CODES = {0: "all pushed", 1: "Flower down", 3: "Pushgateway down"}


def main() -> int:
    """Run the command line; return 1 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="how many [300]")
    parser.add_argument("--seed", default=str(random.randrange(10**6)), help="any text; the same gives the same faults")
    parser.add_argument("--run", type=int, help="only this run of the seed, with all that happened in it")
    parser.add_argument("--side-by-side", type=int, default=3 * (os.cpu_count() or 1), help="runs at a time")
    arguments = parser.parse_args()
    numbers = range(arguments.runs) if arguments.run is None else range(arguments.run, arguments.run + 1)
    print(f"seed {arguments.seed}: {len(numbers)} runs", flush=True)
    started = time.monotonic()
    runs = []
    with world() as servers:
        for run in many_runs(servers, arguments.seed, numbers, arguments.side_by_side):
            runs.append(run)
            if run.failure() or arguments.run is not None:
                print(details(run, arguments.seed), flush=True)
            elif len(runs) % 100 == 0:
                print(f"{len(runs)} runs, {time.monotonic() - started:.0f} s", flush=True)
    print(summary(runs))
    if found := shortcomings(runs):
        print("\n".join(found))
    return 1 if found or any(run.failure() for run in runs) else 0


def details(run: Run, seed: str) -> str:
    """Return the details of a run; of a failure, write all others to a file."""
    failure = run.failure()
    return "\n".join(
        [
            f"run {run.number}: {_shortened(failure) if failure else 'as it must be'}",
            f"  again with: python -m tests.chaos --seed {seed} --run {run.number}",
            *([f"  all of it is in {_kept(run, seed)}"] if failure else []),
            f"  exit code {run.exit_code} after {run.seconds:.2f} s; the group is {_shortened(run.group)}",
            *(f"  {what}" for what in run.happened or ["nothing went wrong"]),
            *(f"  | {line}" for line in (run.command, *run.log)),
        ]
    )


def _shortened(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[:20], f"    and {len(lines) - 20} lines more"] if len(lines) > 21 else lines)


def _kept(run: Run, seed: str) -> Path:
    """Write a run's record to a file and return its path."""
    RECORDS.mkdir(exist_ok=True)
    file = RECORDS / f"{quote(seed, safe='')}-{run.number}.txt"
    file.write_text(run.record, encoding="utf-8")
    return file


def shortcomings(runs: Sequence[Run]) -> list[str]:
    """Return the faults of many runs together, such as a job that always gives up."""
    if len(runs) < 100:
        return []
    found = []
    outcomes = {(run.exit_code, run.group) for run in runs}
    if missing := {(0, TRUTH), (1, DOWN), (3, BEFORE)} - outcomes:
        found.append(f"no run came to {missing}")
    if (healed := sum(run.exit_code == 0 and len(run.happened) >= 3 for run in runs)) < len(runs) / 20:
        found.append(f"only {healed} runs got over three faults or more")
    if not any("at an end" in what for run in runs for what in run.happened):
        found.append("no push was cut at an end of a message")
    if (count := sum(run.incremental is True for run in runs)) < len(runs) / 20:
        found.append(f"only {count} runs pushed an incremental scrape")
    if (needless := sum(run.needlessly_unpushed for run in runs)) > len(runs) / 50:
        found.append(f"{needless} runs pushed nothing, though nothing was wrong with the way to the Pushgateway")
    return found


def summary(runs: Sequence[Run]) -> str:
    """Return the number of runs, the number of each outcome, and the slowest."""
    outcomes = Counter((run.exit_code, run.group if run.failure() is None else "FALSE OR LATE") for run in runs)
    slowest = max(runs, key=lambda run: run.seconds)
    latest = max(runs, key=lambda run: run.late)
    faults = sum(len(run.happened) for run in runs)
    clean = [run for run in runs if not run.happened]
    at_ends = sum("at an end" in what for run in runs for what in run.happened)
    return "\n".join(
        [
            f"{len(runs)} runs, {faults} faults, {at_ends} of them a push cut at an end of a message",
            f"{len(clean)} runs without any fault, {sum(run.exit_code == 0 for run in clean)} of them pushed the truth",
            *(
                f"{count:6}  exit code {code} ({EXIT_CODES.get(code, 'none of ours')}), the group is {group}"
                for (code, group), count in sorted(outcomes.items())
            ),
            f"{sum(run.incremental is not None for run in runs)} pushes with state,"
            f" {sum(run.incremental is True for run in runs)} of them incremental",
            f"{sum(run.needlessly_unpushed for run in runs)} unpushed without a fault at the Pushgateway",
            f"slowest: {slowest.seconds:.2f} s (run {slowest.number})",
            f"latest: {latest.late:+.2f} s from its deadline (run {latest.number}; {GRACE:g} s are allowed)",
            f"{sum(run.failure() is not None for run in runs)} false or late",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
