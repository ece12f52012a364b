"""State of one cycle: permits, push slots and deadlines."""

import threading
import time
from typing import cast

import pytest

from push_job.cycle import Cycle
from push_job.pushgateway.client import PushgatewayClient, PushgatewayError
from push_job.settings import Endpoint, Settings

FLOWERS = [Endpoint("http://a:1"), Endpoint("http://b:1")]

#: Pushes at a time that a Pushgateway may see. It is not imported: the test must notice a change.
PUSHES_AT_A_TIME = 4


def cycle(deadline: float = 50.0) -> Cycle:
    """Return a cycle that contacts no server."""
    settings = Settings(tuple(FLOWERS), Endpoint("http://gateway:9091"), deadline=deadline)
    return Cycle(settings, FLOWERS, cast("PushgatewayClient", None))


def test_each_group_may_be_pushed_once() -> None:
    one = cycle()
    assert [one.take_permit(FLOWERS[0]) for _ in range(3)] == [True, False, False]
    assert one.take_permit(FLOWERS[1])


def test_scrapes_end_before_the_cycle_does() -> None:
    one = cycle(deadline=50)
    assert one.until - one.scrape_until == pytest.approx(5)
    assert 0 < one.until - time.monotonic() <= 50


def test_push_slots_are_limited_and_used_again() -> None:
    one = cycle(deadline=300)
    running, most, lock = 0, 0, threading.Lock()

    def push() -> None:
        nonlocal running, most
        with one.push_slot():
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.005)
            with lock:
                running -= 1

    threads = [threading.Thread(target=push) for _ in range(5 * PUSHES_AT_A_TIME)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 < most <= PUSHES_AT_A_TIME


def test_a_slot_is_free_again_after_an_error() -> None:
    one = cycle(deadline=300)
    for _ in range(2 * PUSHES_AT_A_TIME):
        with pytest.raises(ZeroDivisionError), one.push_slot():
            raise ZeroDivisionError


def test_no_slot_by_the_deadline_is_an_error() -> None:
    one = cycle(deadline=1e-9)
    held = [one.push_slot() for _ in range(PUSHES_AT_A_TIME)]
    for slot in held:
        slot.__enter__()
    with pytest.raises(PushgatewayError), one.push_slot():
        pass


def test_an_unfinished_scrape_has_no_snapshot_but_an_error() -> None:
    result = cycle().unfinished()
    assert result.snapshot is None
    assert result.error
    assert result.seconds >= 0
    assert cycle().unfinished(None).error is None
