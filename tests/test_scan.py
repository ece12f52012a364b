"""A full scrape is exact while the list moves, gentle, and always ends."""

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from push_job.flower.api import Flower, FlowerError
from push_job.flower.full_scrape import scrape_all_tasks
from push_job.flower.table import TaskTable
from push_job.http.client import Client
from push_job.settings import Endpoint
from tests.fakes.moving_flower import Move, MovingFlower, shuffler


def scan(url: str, page_size: int, seconds: float = 300) -> TaskTable:
    client = Client(Endpoint.parse(url, "--flower"), timeout=100)
    try:
        return scrape_all_tasks(Flower(client), page_size, time.monotonic() + seconds)
    finally:
        client.close()


def states(tasks: TaskTable) -> Counter[str]:
    return Counter({state: tally.count for (_, state), tally in tasks.tally().items()})


def assert_is_the_list_of_one_time(flower: MovingFlower, tasks: TaskTable, last: int = 2) -> None:
    """Check that the ids are those of one of the `last` times.

    No state may be older than that time.
    """
    states_then = [*flower.moments, dict(state_by_id(flower))]
    found = {task_id: tasks.labels_of(task_id)[1] for task_id in tasks}
    same = [number for number, then in enumerate(states_then) if then.keys() == found.keys()]
    assert same, {len(found): [len(then) for then in states_then]}
    assert same[-1] >= len(flower.moments) - last
    since = states_then[same[0] :]
    assert not [task_id for task_id, state in found.items() if state not in {then.get(task_id) for then in since}]


def state_by_id(flower: MovingFlower) -> Iterator[tuple[str, str]]:
    return ((task_id, task["state"]) for task_id, task in flower.tasks)


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
        assert flower.requests_for_all == 0


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
@pytest.mark.parametrize(("page_size", "busy"), [(40, 1), (100, 2), (200, 6)])
@pytest.mark.parametrize("room", [10**9, 700])
def test_pages_give_the_list_of_one_time_while_events_arrive(seed: int, page_size: int, busy: int, room: int) -> None:
    with MovingFlower(700, shuffler(seed, busy, room)) as flower:
        tasks = scan(flower.url, page_size)
        assert_is_the_list_of_one_time(flower, tasks)
        assert sum(states(tasks).values()) == len(tasks)
        assert flower.requests_for_all == 0


@pytest.mark.parametrize("page_size", [10, 37])
def test_more_events_than_pages_can_follow_end_in_one_request(page_size: int, caplog: pytest.LogCaptureFixture) -> None:
    with MovingFlower(700, shuffler(1)) as flower:
        tasks = scan(flower.url, page_size)
        assert_is_the_list_of_one_time(flower, tasks)
        assert flower.requests_for_all == fallbacks(caplog) == 1


def fallbacks(caplog: pytest.LogCaptureFixture) -> int:
    """Return the number of log lines that say that one request read all tasks.

    Each of them must have a reason.
    """
    logged = [record for record in caplog.records if "in one request" in record.getMessage()]
    assert all(record.levelname == "WARNING" and record.fields["reason"] for record in logged)  # type: ignore[attr-defined]  # a field of ours
    return len(logged)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
def test_old_tasks_that_finish_anywhere_need_no_second_scrape(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)

    def move(flower: MovingFlower) -> None:
        for _ in range(20):
            flower.touch(chance.randrange(len(flower.tasks)))

    with MovingFlower(1000, move) as flower:
        tasks = scan(flower.url, 200)
        assert_is_the_list_of_one_time(flower, tasks)
        assert flower.answers <= 9
    assert [record.getMessage() for record in caplog.records] == []


def test_a_task_that_moves_to_the_front_needs_no_second_scrape(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def move(flower: MovingFlower) -> None:
        if flower.answers == 3:
            flower.touch(280)

    with MovingFlower(1000, move) as flower:
        assert states(scan(flower.url, 100)) == {"SUCCESS": 999, "FAILURE": 1}
        assert flower.requests_for_all == 0
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("arrivals", [0, 3, 40])
def test_a_full_flower_is_counted_as_full_however_much_arrives_meanwhile(arrivals: int) -> None:
    def move(flower: MovingFlower) -> None:
        flower.arrive(arrivals)
        del flower.tasks[1000:]

    with MovingFlower(1000, move) as flower:
        tasks = scan(flower.url, 200)
        assert len(tasks) == 1000
        assert_is_the_list_of_one_time(flower, tasks)
        assert flower.requests_for_all == 0


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
    """An event of a worker whose clock is behind moves a task into the middle.

    The task moves forward, but not to the front.
    """
    if flower.answers == 3:
        flower.tasks.insert(120, flower.tasks.pop())


def restart_once(flower: MovingFlower) -> None:
    if flower.answers == 3:
        flower.tasks = [flower.task(f"reborn-{number}", "STARTED") for number in range(7)]


#: What pages cannot follow; no Flower is known to do it, but for a burst that does not end.
WHOLE = (burst, drop_in_front, drop_many_in_front, shuffle_all, reverse, into_the_middle)


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
        assert flower.requests_for_all == (move in WHOLE)
        if not flower.requests_for_all and move is not new_id_on_every_page:
            assert_is_the_list_of_one_time(flower, tasks)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 30))])
def test_bursts_of_about_a_page_between_any_two_pages_leave_nothing_out(seed: int) -> None:
    chance = random.Random(seed)

    def move(flower: MovingFlower) -> None:
        flower.arrive(chance.randint(50, 150) if chance.random() < 0.06 else chance.randrange(5))

    with MovingFlower(1000, move) as flower:
        tasks = scan(flower.url, 100)
        assert_is_the_list_of_one_time(flower, tasks, last=6)  # the end, by which it is counted, takes some requests
        assert flower.requests_for_all == 0


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("status", [502, 504, 0])
def test_a_page_that_an_overloaded_flower_fails_is_requested_in_halves(status: int) -> None:
    with MovingFlower(3000) as flower:
        flower.problem = lambda limit, _offset: status if limit > 300 else None
        assert states(scan(flower.url, 1000)) == {"SUCCESS": 3000}
        assert flower.longest == 250
        assert flower.requests_for_all == 0


def test_a_break_of_the_small_front_page_does_not_make_other_pages_smaller() -> None:
    broken: list[int] = []

    def problem(limit: int, offset: int) -> int | None:
        if flower.answers >= 3 and offset == 0 and not broken:
            broken.append(limit)
            return 504
        return None

    def move(flower: MovingFlower) -> None:
        if flower.answers == 3:
            flower.arrive(700)

    with MovingFlower(4000, move) as flower:
        flower.problem = problem
        assert sum(states(scan(flower.url, 1500)).values()) == 4700
        assert broken == [500]
        fronts = flower.asked[[offset for _, offset in flower.asked].index(0, 1) :]
        assert fronts[0] == (250, 0)
        assert fronts[1][0] == 1500


def answers_on_the_way_down(count: int, page_size: int) -> int:
    """Return the number of answers that the scan of a list without changes takes.

    The last answer, which is that of the front, is not counted.
    """
    with MovingFlower(count) as flower:
        scan(flower.url, page_size)
        return flower.answers - 1


def test_a_burst_during_step_2_does_not_hide_earlier_events() -> None:
    down = answers_on_the_way_down(1000, 100)

    def move(flower: MovingFlower) -> None:
        flower.arrive({down: 300, down + 1: 150}.get(flower.answers, 0))

    with MovingFlower(1000, move) as flower:
        tasks = scan(flower.url, 100)
        assert states(tasks) == flower.states() == {"SUCCESS": 1000, "STARTED": 450}


def test_tasks_forgotten_during_step_2_leave_no_old_state() -> None:
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


def test_a_task_that_moves_from_the_end_to_the_middle_has_its_new_state() -> None:
    down = answers_on_the_way_down(1000, 100)

    def move(flower: MovingFlower) -> None:
        if flower.answers == down - 1:
            task_id, _ = flower.tasks.pop(990)
            flower.tasks.insert(500, flower.task(task_id, "FAILURE"))

    with MovingFlower(1000, move) as flower:
        assert states(scan(flower.url, 100)) == {"SUCCESS": 999, "FAILURE": 1}
        assert flower.answers == down + 2  # the front, and then everything at once
        assert flower.requests_for_all == 1


def test_an_event_that_moves_no_task_does_not_hide_one_that_does() -> None:
    def move(flower: MovingFlower) -> None:
        if flower.answers == 3:
            task_id, task = flower.tasks[249]
            flower.tasks[249] = task_id, {**task, "state": "FAILURE"}
            flower.tasks.insert(120, flower.tasks.pop(700))

    with MovingFlower(1000, move) as flower:
        assert states(scan(flower.url, 100)) == {"SUCCESS": 999, "FAILURE": 1}
        assert flower.requests_for_all == 1


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


def test_a_flower_that_restarts_during_a_scrape_is_not_mixed() -> None:
    with MovingFlower(1000) as flower:
        scan(flower.url, 100)
        pages_down = flower.answers - 1

    def restart_late(flower: MovingFlower) -> None:
        if flower.answers == pages_down:
            flower.tasks = [flower.task(f"reborn-{number}", "STARTED") for number in range(7)]

    with MovingFlower(1000, restart_late) as flower:
        assert states(scan(flower.url, 100)) == {"STARTED": 7}


def test_a_server_that_ignores_offset_is_read_in_one_request() -> None:
    with MovingFlower(1000, honours_offset=False) as flower:
        assert states(scan(flower.url, 100)) == {"SUCCESS": 1000}
        assert flower.answers <= 4


def test_a_server_that_ignores_offset_is_exact_while_events_arrive() -> None:
    with MovingFlower(1000, shuffler(5), honours_offset=False) as flower:
        tasks = scan(flower.url, 100)
        assert len(tasks) == len(flower.tasks)
        assert states(tasks) == flower.states()


@pytest.mark.slow
def test_a_list_without_an_end_is_not_read_for_ever() -> None:
    def grow_at_the_back(flower: MovingFlower) -> None:
        flower.tasks += [flower.task(f"endless-{next(flower.clock)}", "SUCCESS") for _ in range(200)]

    with MovingFlower(200, grow_at_the_back) as flower:
        started = time.monotonic()
        with pytest.raises(FlowerError):
            scan(flower.url, 100, seconds=4)
        assert time.monotonic() - started < 60


@pytest.mark.parametrize("forgotten", [1, 3])
def test_a_few_tasks_that_are_forgotten_above_the_reader_are_not_counted(forgotten: int) -> None:
    def move(flower: MovingFlower) -> None:
        if flower.answers == 4:
            del flower.tasks[50 : 50 + forgotten]

    with MovingFlower(1000, move) as flower:
        assert states(scan(flower.url, 200)) == {"SUCCESS": 1000 - forgotten}
