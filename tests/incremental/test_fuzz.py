"""A share of the fuzz of warm readings; `python -m tests.incremental.fuzz` does 100,000 turns."""

from tests.incremental.fuzz import run

TURNS = 1200


def test_no_warm_reading_in_many_lives_is_wrong_and_nearly_all_that_may_be_warm_are() -> None:
    found = run(TURNS, seed=4, lives=12)
    assert found.wrong == []
    assert found.warm.total() > 0.85 * found.could_be.total()
    # Each way was taken: warm ones, whole ones for a reason, and those after a fault.
    assert found.turns >= TURNS
    assert found.faulty
    assert [reason for reason in found.reasons if "are read again" in reason]
