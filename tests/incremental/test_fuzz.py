"""A part of the fuzz; `python -m tests.incremental.fuzz` runs 100,000 cycles."""

import pytest

from tests.incremental.fuzz import run

CYCLES = 1200


@pytest.mark.services  # it takes half a minute
def test_no_result_is_wrong_and_most_scrapes_are_incremental() -> None:
    found = run(CYCLES, seed=4, lives=12)
    assert found.wrong == []
    assert found.incremental.total() > 0.7 * found.expected.total()
    # Everything happened, and each way was taken.
    assert found.cycles >= CYCLES
    assert {"break", "cache", "restart", "restart from saved", "burst between requests"} <= found.events.keys()
    assert [reason for reason in found.reasons if "reading all tasks" in reason]
