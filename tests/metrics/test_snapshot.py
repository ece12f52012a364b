"""Folding of too many task types and states into one name each."""

from collections import Counter

import pytest

from push_job.flower.task import STATES
from push_job.flower.tasks_by_kind import Tally
from push_job.metrics.snapshot import Folding, most_frequent


@pytest.mark.parametrize(
    ("counts", "limit", "kept"),
    [
        ({}, 1, set()),
        ({"a": 1}, 1, {"a"}),
        ({"a": 1, "b": 2}, 2, {"a", "b"}),
        ({"a": 1, "b": 2}, 1, set()),
        ({"a": 1, "b": 2, "c": 3}, 2, {"c"}),
        ({"a": 2, "b": 2, "c": 2}, 2, {"a"}),
        ({"a": 1, "other": 9, "c": 3}, 2, {"c"}),
        ({"a": 1, "other": 9}, 2, {"a", "other"}),
    ],
)
def test_the_most_frequent_names_are_kept(counts: dict[str, int], limit: int, kept: set[str]) -> None:
    assert most_frequent(Counter(counts), limit, "other") == kept


def test_the_rest_is_summed_as_other() -> None:
    tallies = {("a", "SUCCESS"): Tally(5, 1.0), ("b", "SUCCESS"): Tally(2, 2.0), ("c", "SUCCESS"): Tally(1, 4.0)}
    folding = Folding(tallies, 2)
    folded = folding.fold(tallies)
    assert {kind: (tally.count, tally.seconds) for kind, tally in folded.items()} == {
        ("a", "SUCCESS"): (5, 1.0),
        ("other", "SUCCESS"): (3, 6.0),
    }
    assert folding.folded_types == 2
    assert folding.type_label("a") == "a"
    assert folding.type_label("b") == folding.type_label("never seen") == "other"


def test_within_the_limit_nothing_is_folded() -> None:
    tallies = {("a", "SUCCESS"): Tally(5, 1.0), ("b", "FAILURE"): Tally(2, 2.0)}
    folding = Folding(tallies, 2)
    assert folding.fold(tallies) == tallies
    assert (folding.folded_types, folding.folded_states) == (0, 0)
    assert folding.type_label("never seen") == "never seen"


def test_a_hundred_custom_states_keep_their_names_and_the_usual_ones_always_do() -> None:
    tallies = {("a", f"CUSTOM-{number:03}"): Tally(1000 - number, 1.0) for number in range(150)}
    tallies |= {("a", state): Tally(1, 1.0) for state in STATES}
    folding = Folding(tallies, 10)
    states = {state for _, state in folding.fold(tallies)}
    assert {*STATES, "CUSTOM-000", "OTHER"} <= states
    assert "CUSTOM-149" not in states
    assert len(states - set(STATES)) == 100
    assert sum(tally.count for tally in folding.fold(tallies).values()) == sum(
        tally.count for tally in tallies.values()
    )
    assert folding.folded_states == 150 - len(states - set(STATES) - {"OTHER"})
