"""Run the truth test several times: `python -m tests.truth --runs 10`."""

import argparse
import sys
import time

from testbed.process import let_signals_interrupt
from testbed.services import Testbed
from tests.truth.runs import Run, describe, plan_of


def main() -> int:
    """Return exit code 1 if a run was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    let_signals_interrupt()
    wrong = 0
    for number in range(arguments.runs):
        plan, started = plan_of(number, arguments.seed, arguments.tasks), time.monotonic()
        with Testbed() as testbed:
            result = Run(testbed, plan).run()
        complaint = result.complaint(plan)
        wrong += complaint is not None
        print(f"{describe(plan, result, time.monotonic() - started)}{f'; WRONG: {complaint}' if complaint else ''}")
        sys.stdout.flush()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
