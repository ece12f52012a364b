"""After any fault, the pushed group is true, down or unchanged, in time.

`make chaos` does more runs, with another seed each time.
"""

import pytest

from tests.chaos.__main__ import details, shortcomings, summary
from tests.chaos.runs import many_runs, world

pytestmark = pytest.mark.services

SEED = "pytest"
RUNS = 120
SIDE_BY_SIDE = 6


def test_after_any_fault_the_group_is_true_down_or_unchanged_in_time() -> None:
    with world() as servers:
        runs = list(many_runs(servers, SEED, range(RUNS), side_by_side=SIDE_BY_SIDE))
    failures = [details(run, SEED) for run in runs if run.failure()] + shortcomings(runs)
    assert not failures, "\n".join([*failures, summary(runs)])
