"""A small run of `make truth`."""

import pytest

from testbed.services import Testbed
from tests.truth.runs import Plan, Run, describe


@pytest.mark.slow
def test_the_counters_equal_what_the_workers_counted(testbed: Testbed) -> None:
    plan = Plan(tasks=400, seed=3, rate=80, faults=2, kinds=("Flower", "Pushgateway"))
    result = Run(testbed, plan).run()
    assert result.complaint(plan) is None, describe(plan, result, 0)
    assert result.counted == result.truth
    assert result.unwatched > 0
    assert {key[-1] for key in result.truth} >= {"SUCCESS", "FAILURE", "REVOKED", "RETRY", "ValueError"}
