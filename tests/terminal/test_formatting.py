"""Names, times and counts as text for people."""

import math

import pytest

from push_job.terminal.formatting import format_count, format_duration, format_name, format_time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0.0 s"),
        (1.25, "1.2 s"),
        (2.0, "2 s"),
        (9.96, "10.0 s"),
        (10.4, "10 s"),
        (119.4, "119 s"),
        (120, "2 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (172_799, "48 hours"),
        (172_800, "2 days"),
        (86_400 * 12_345, "12,345 days"),
    ],
)
def test_a_duration_has_the_largest_unit_of_which_it_has_two(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("at", "now", "text"),
    [
        (1_700_000_000, 1_700_000_000, "22:13 UTC"),
        (1_700_000_000, 1_700_006_400, "2023-11-14 22:13 UTC"),  # the next day
        (1_699_920_000, 1_700_000_000, "00:00 UTC"),
        (1_699_919_999, 1_700_000_000, "2023-11-13 23:59 UTC"),
        (math.nan, 1_700_000_000, "an unknown time"),
        (1e30, 1_700_000_000, "an unknown time"),
        (1_700_000_000, math.inf, "an unknown time"),
    ],
)
def test_a_time_has_its_date_unless_it_is_today(at: float, now: float, text: str) -> None:
    assert format_time(at, now) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1200, "1,200 tasks"), (-1, "-1 tasks")]
)
def test_a_count_has_its_plural(count: int, text: str) -> None:
    assert format_count(count, "task") == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shop.buy", "shop.buy"),
        ("x" * 60, "x" * 60),
        ("a" + "x" * 60, "…" + "x" * 59),
        ("evil\x1b[2J", "evil�[2J"),
        ("\u202egnp", "�gnp"),
    ],
)
def test_a_name_is_printable_and_keeps_its_end(name: str, text: str) -> None:
    assert format_name(name) == text
