"""A few hundred runs of the chaos test; `make chaos` does more, with another seed each time."""

import os

from tests.chaos.__main__ import details, summary
from tests.chaos.runs import BEFORE, DOWN, TRUTH, many_runs, world

SEED = "pytest"
RUNS = 240


def test_whatever_breaks_the_group_is_the_truth_or_flower_up_0_or_as_before_and_in_time() -> None:
    with world() as servers:
        runs = list(many_runs(servers, SEED, range(RUNS), side_by_side=3 * (os.cpu_count() or 1)))
    failures = [details(run, SEED) for run in runs if run.failure()]
    assert not failures, "\n".join([*failures, summary(runs)])
    # A job that always said "down" would pass the above.
    outcomes = {(run.exit_code, run.group) for run in runs}
    assert outcomes >= {(0, TRUTH), (1, DOWN), (3, BEFORE)}, summary(runs)
    healed = sum(run.exit_code == 0 and len(run.happened) >= 3 for run in runs)
    assert healed >= RUNS / 20, f"only {healed} runs got over three faults and more\n{summary(runs)}"
