"""Attempts that keep failing pause, for longer and longer."""

from push_job.flower.incremental.backoff import Backoff


def attempts(backoff: Backoff, count: int, *, success: bool) -> list[bool]:
    """Return whether each of `count` scrapes makes an attempt.

    All attempts have the same result.
    """
    made = []
    for _ in range(count):
        made.append(backoff.allows_attempt())
        if made[-1]:
            backoff.note(None if success else "no anchor")
    return made


def test_pauses_grow_up_to_a_limit() -> None:
    made = attempts(Backoff(), 200, success=False)
    pauses = [len(pause) for pause in "".join(".x"[yes] for yes in made).split("x")]
    assert pauses[:9] == [0, 0, 0, 3, 6, 12, 24, 24, 24]


def test_a_success_forgets_the_failures() -> None:
    backoff = Backoff()
    assert attempts(backoff, 6, success=False) == [True] * 3 + [False] * 3
    assert attempts(backoff, 5, success=True) == [True] * 5
    assert attempts(backoff, 4, success=False) == [True] * 3 + [False]


def test_the_reason_of_the_last_failure_is_known_until_a_success() -> None:
    backoff = Backoff()
    backoff.note("no anchor")
    assert backoff.reason == "no anchor"
    backoff.note(None)
    assert not backoff.reason


def test_two_failures_are_no_reason_to_pause() -> None:
    backoff = Backoff()
    for _ in range(20):
        assert attempts(backoff, 2, success=False) == [True] * 2
        assert attempts(backoff, 1, success=True) == [True]


def test_the_pause_stays_at_its_limit_after_very_many_failures() -> None:
    backoff = Backoff(failures=10**6)
    backoff.note("no anchor")
    assert backoff.pause == 24
