"""The scan is exact while the list moves, gentle, and always ends."""

import random
import time
from collections import Counter

import pytest

from push_job.flower.api import Flower
from push_job.flower.scan import scan_tasks
from push_job.flower.tasks import Tasks
from push_job.http.client import Client
from push_job.settings import Credentials, Endpoint, Tls
from tests.fakes.moving_flower import Move, MovingFlower, shuffler


def scan(url: str, page_size: int, seconds: float = 30) -> Tasks:
    client = Client(Endpoint.parse(url, "--flower", Credentials(), Tls()), timeout=10)
    try:
        return scan_tasks(Flower(client), page_size, time.monotonic() + seconds)
    finally:
        client.close()


def states(tasks: Tasks) -> Counter[str]:
    return Counter({state: tally.count for (_, state), tally in tasks.tally().items()})


def test_a_small_flower_is_one_request() -> None:
    with MovingFlower(99) as flower:
        assert len(scan(flower.url, 100)) == 99
        assert flower.answers == 1


def test_a_flower_without_tasks_is_one_request() -> None:
    with MovingFlower(0) as flower:
        assert len(scan(flower.url, 100)) == 0
        assert flower.answers == 1


@pytest.mark.parametrize("count", [100, 101, 180, 1000, 1075])
def test_a_large_flower_is_read_in_pages_and_counted_once(count: int) -> None:
    with MovingFlower(count) as flower:
        assert states(scan(flower.url, 100)) == {"SUCCESS": count}
        assert flower.longest == 100


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("page_size", [10, 37, 200])
def test_everything_that_stays_is_found_while_events_arrive(seed: int, page_size: int) -> None:
    with MovingFlower(700, shuffler(seed)) as flower:
        before = {task_id for task_id, _ in flower.tasks}
        tasks = scan(flower.url, page_size)
        after = {task_id for task_id, _ in flower.tasks}
        missing = [task_id for task_id in before & after if task_id not in tasks]
        assert not missing
        assert sum(states(tasks).values()) == len(tasks)


def burst(flower: MovingFlower) -> None:
    """More arrivals at the front than a page holds, for a while."""
    if flower.answers < 6:
        flower.arrive(250)


def drop_in_front(flower: MovingFlower) -> None:
    """Tasks in front of the reader are forgotten, so that the list moves up under it."""
    del flower.tasks[3:8]


def drop_many_in_front(flower: MovingFlower) -> None:
    """More than two pages overlap by."""
    if flower.answers in (3, 6):
        del flower.tasks[3:63]


def shuffle_all(flower: MovingFlower) -> None:
    """The list is in no order at all."""
    random.Random(flower.answers).shuffle(flower.tasks)


def drop_at_the_back(flower: MovingFlower) -> None:
    del flower.tasks[-20:]


def reverse(flower: MovingFlower) -> None:
    flower.tasks.reverse()


def new_id_on_every_page(flower: MovingFlower) -> None:
    """One task is another one each time."""
    flower.tasks[120] = flower.task(f"ghost-{flower.answers}", "SUCCESS")


def last_to_front(flower: MovingFlower) -> None:
    """What had not been read moves behind the reader's back."""
    for _ in range(15):
        flower.touch(len(flower.tasks) - 1)


def into_the_middle(flower: MovingFlower) -> None:
    """An event of a worker whose clock is behind: the task moves forward, but not to the front."""
    if flower.answers == 3:
        flower.tasks.insert(120, flower.tasks.pop())


def restart_once(flower: MovingFlower) -> None:
    if flower.answers == 3:
        flower.tasks = [flower.task(f"reborn-{number}", "STARTED") for number in range(7)]


@pytest.mark.parametrize(
    "move",
    [
        burst,
        drop_in_front,
        drop_many_in_front,
        shuffle_all,
        drop_at_the_back,
        reverse,
        new_id_on_every_page,
        last_to_front,
        into_the_middle,
        restart_once,
    ],
    ids=lambda move: move.__name__,
)
def test_the_nastiest_moves_are_counted_exactly(move: Move) -> None:
    with MovingFlower(1000, move) as flower:
        before = {task_id for task_id, _ in flower.tasks}
        tasks = scan(flower.url, 100)
        after = {task_id for task_id, _ in flower.tasks}
        assert not [task_id for task_id in before & after if task_id not in tasks]
        gone = before - after
        assert len(tasks) <= len(after) + len(gone)
        assert flower.answers < 60


@pytest.mark.parametrize("seed", range(30))
def test_bursts_of_about_a_page_between_any_two_pages_leave_nothing_out(seed: int) -> None:
    chance = random.Random(seed)

    def move(flower: MovingFlower) -> None:
        flower.arrive(chance.randint(50, 150) if chance.random() < 0.25 else chance.randrange(5))

    with MovingFlower(1000, move) as flower:
        tasks = scan(flower.url, 100)
        assert [task_id for task_id, _ in flower.tasks if task_id not in tasks] == []


def answers_on_the_way_down(count: int, page_size: int) -> int:
    """How many answers a list that stands still takes, without the last one, which is the front's."""
    with MovingFlower(count) as flower:
        scan(flower.url, page_size)
        return flower.answers - 1


def test_a_burst_while_the_front_is_read_again_does_not_hide_what_came_before_it() -> None:
    down = answers_on_the_way_down(1000, 100)

    def move(flower: MovingFlower) -> None:
        flower.arrive({down: 300, down + 1: 150}.get(flower.answers, 0))

    with MovingFlower(1000, move) as flower:
        tasks = scan(flower.url, 100)
        assert states(tasks) == flower.states() == {"SUCCESS": 1000, "STARTED": 450}


def test_tasks_forgotten_in_front_while_the_front_is_read_again_leave_no_old_state() -> None:
    down = answers_on_the_way_down(1000, 100)

    def move(flower: MovingFlower) -> None:
        if flower.answers == down:
            for _ in range(400):
                flower.touch(len(flower.tasks) - 1)
        if flower.answers == down + 4:
            del flower.tasks[3:43]

    with MovingFlower(1000, move) as flower:
        tasks = scan(flower.url, 100)
        assert states(tasks)["SUCCESS"] == flower.states()["SUCCESS"] == 600


def test_a_list_that_was_still_at_the_end_is_counted_as_it_is() -> None:
    def restless(flower: MovingFlower) -> None:
        if flower.answers < 9:
            shuffle(flower)

    shuffle = shuffler(3)
    with MovingFlower(500, restless) as flower:
        tasks = scan(flower.url, 100)
        gone = len(tasks) - len(flower.tasks)
        counted = states(tasks)
        # Forgotten tasks were at the back, so they were finished ones; all others are in their newest state.
        assert counted["FAILURE"] + counted["STARTED"] >= flower.states()["FAILURE"] + flower.states()["STARTED"]
        assert 0 <= gone <= 45


def test_a_restarted_flower_is_not_mixed_with_what_it_was() -> None:
    with MovingFlower(1000, restart_once) as flower:
        assert states(scan(flower.url, 100)) == {"STARTED": 7}


def test_a_flower_restarted_before_the_scan_ends_is_not_mixed_with_what_it_was() -> None:
    with MovingFlower(1000) as flower:
        scan(flower.url, 100)
        pages_down = flower.answers - 1

    def restart_late(flower: MovingFlower) -> None:
        if flower.answers == pages_down:
            flower.tasks = [flower.task(f"reborn-{number}", "STARTED") for number in range(7)]

    with MovingFlower(1000, restart_late) as flower:
        assert states(scan(flower.url, 100)) == {"STARTED": 7}


def test_a_server_that_ignores_offset_is_read_whole() -> None:
    with MovingFlower(1000, honours_offset=False) as flower:
        assert states(scan(flower.url, 100)) == {"SUCCESS": 1000}
        assert flower.answers <= 4


def test_a_server_that_ignores_offset_is_read_whole_while_events_arrive() -> None:
    with MovingFlower(1000, shuffler(5), honours_offset=False) as flower:
        tasks = scan(flower.url, 100)
        assert len(tasks) == len(flower.tasks)
        assert states(tasks) == flower.states()


def test_a_list_without_an_end_is_not_read_for_ever() -> None:
    def grow_at_the_back(flower: MovingFlower) -> None:
        flower.tasks += [flower.task(f"endless-{next(flower.clock)}", "SUCCESS") for _ in range(200)]

    with MovingFlower(200, grow_at_the_back) as flower:
        from push_job.flower.api import FlowerError

        started = time.monotonic()
        with pytest.raises(FlowerError):
            scan(flower.url, 100, seconds=2)
        assert time.monotonic() - started < 5
