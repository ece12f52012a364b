"""FanOut: results of several Flowers up to a deadline."""

import threading
import time

from push_job.fan_out import FanOut
from push_job.settings import Endpoint
from tests.independent import eventually

FLOWERS = [Endpoint(f"http://flower-{number}:5555") for number in range(5)]


def soon() -> float:
    """Return a deadline that only a mistake reaches."""
    return time.monotonic() + 300


def test_every_result_is_collected_and_reported_once() -> None:
    reported: list[str] = []
    fan = FanOut(FLOWERS, lambda flower: flower.address, reported.append)
    fan.wait(soon())
    assert fan.results == {flower: flower.address for flower in FLOWERS}
    assert sorted(reported) == sorted(fan.results.values())
    assert fan.missing() == []


def test_results_are_reported_in_the_waiting_thread() -> None:
    threads: list[threading.Thread] = []
    FanOut(FLOWERS, lambda _: 1, lambda _: threads.append(threading.current_thread())).wait(soon())
    assert set(threads) == {threading.current_thread()}


def test_work_past_the_deadline_is_missing_and_ignored_until_the_next_wait() -> None:
    released, reported = threading.Event(), list[str]()

    def work(flower: Endpoint) -> str:
        if flower == FLOWERS[0]:
            released.wait(300)
        return flower.address

    fan = FanOut(FLOWERS[:2], work, reported.append)
    fan.wait(soon(), ignore=[FLOWERS[0]])
    assert fan.missing() == [FLOWERS[0]]
    fan.wait(time.monotonic())  # the deadline has passed
    assert reported == [FLOWERS[1].address]
    released.set()
    fan.wait(soon())
    assert fan.missing() == []
    assert reported == [FLOWERS[1].address, FLOWERS[0].address]


def test_a_result_that_is_no_longer_wanted_is_left_out() -> None:
    fan = FanOut(FLOWERS, lambda flower: None if flower == FLOWERS[2] else 1)
    fan.wait(soon(), ignore=[FLOWERS[2]])
    assert fan.missing() == [FLOWERS[2]]


#: Active Flowers at a time. It is not imported: the test must notice a change.
ACTIVE_AT_A_TIME = 64


def test_no_more_flowers_are_active_than_the_limit() -> None:
    running, most, lock, released = 0, 0, threading.Lock(), threading.Event()

    def work(_flower: Endpoint) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        released.wait(300)
        with lock:
            running -= 1
        return 1

    flowers = [Endpoint(f"http://flower-{number}:5555") for number in range(ACTIVE_AT_A_TIME + 6)]
    fan = FanOut(flowers, work, last_byte_at=lambda _: time.monotonic())
    thread = threading.Thread(target=fan.wait, args=(soon(),))
    thread.start()
    eventually(lambda: most >= ACTIVE_AT_A_TIME)
    time.sleep(0.05)
    released.set()
    thread.join()
    assert most == ACTIVE_AT_A_TIME
    assert fan.missing() == []


def test_without_flowers_there_is_nothing_to_wait_for() -> None:
    fan: FanOut[int] = FanOut([], lambda _: 1)
    fan.wait(time.monotonic() - 1)
    assert fan.results == {}
