"""`python -m bench`: measure, print tables and write bench/RESULTS.md.

`--quick` uses small numbers. `--pools` measures only the extra `pools`, in two minutes; `--hard-cases` only the
hard cases of incremental scrapes, in six minutes.
"""

import argparse
import os
import sys
from pathlib import Path

from bench.cost import BenchError
from bench.hard_cases import measure_hard_cases
from bench.measure import QUICK, Plan, log, measure
from bench.pools import measure_pools
from bench.report import hard_cases_text, pools_table, report
from testbed.services import ServiceError

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    """Return 0, or 1 if a service or a measured command failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the cost of a push on real services.")
    parser.add_argument("--quick", action="store_true", help="use small numbers; write no file")
    parser.add_argument("--pools", action="store_true", help="measure only the extra pools; write no file")
    parser.add_argument("--hard-cases", action="store_true", help="measure only hard cases; write no file")
    arguments = parser.parse_args()
    load = os.getloadavg()
    try:
        plan = QUICK if arguments.quick else Plan()
        if arguments.pools:
            text = pools_table(measure_pools(plan.pools, log))
        elif arguments.hard_cases:
            text = hard_cases_text(measure_hard_cases(plan.hard_cases, log), plan.hard_cases)
        else:
            text = report(measure(plan), load)
    except (BenchError, ServiceError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if not (arguments.quick or arguments.pools or arguments.hard_cases):
        RESULTS.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
