"""`python -m bench`: measure, print tables, write bench/RESULTS.md. Half an hour; `--quick` for a try.

`--pools` prints what `--with pools` costs and no more, in two minutes.
"""

import argparse
import os
import sys
from pathlib import Path

from bench.cost import BenchError
from bench.measure import QUICK, Plan, measure, say
from bench.pools import measure_pools
from bench.report import pools_table, report
from testbed.services import ServiceError

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    """Exit code 0, or 1 if a service or a measured command failed. A target that is missed is a result, no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="What a push costs, on real services.")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it works; writes no file")
    parser.add_argument("--pools", action="store_true", help="only what `--with pools` costs; writes no file")
    arguments = parser.parse_args()
    load = os.getloadavg()
    try:
        plan = QUICK if arguments.quick else Plan()
        text = pools_table(measure_pools(plan.pools, say)) if arguments.pools else report(measure(plan), load)
    except (BenchError, ServiceError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if not (arguments.quick or arguments.pools):
        RESULTS.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
