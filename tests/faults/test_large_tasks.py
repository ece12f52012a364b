"""Tasks with huge texts and JSON with any spacing are counted in little memory.

They are counted like other tasks.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from push_job.flower.decoding import decode_tasks
from push_job.flower.task import TaskFields
from testbed.command import PushJob
from testbed.services import Flower, Pushgateway, Testbed
from testbed.shop import shop_app
from tests.fakes.http import Endless, ScriptedServer, answer, head
from tests.faults.cycles import MEMORY_MIB, PUSHED, WORKERS, counts, peak_memory, scraped
from tests.independent import key, without_group
from tests.metric_messages import unlabelled

SPACINGS: dict[str, dict[str, Any]] = {
    "as Python writes it": {},
    "without spaces": {"separators": (",", ":")},
    "one line per field": {"indent": 4},
}


def body_of(tasks: dict[str, Any], spacing: str) -> bytes:
    """Return the tasks as JSON."""
    return json.dumps(tasks, **SPACINGS[spacing]).encode()


def many(count: int) -> dict[str, Any]:
    """Return tasks of about a kilobyte.

    The runtime is the task's number. The arguments look like the end of a task.
    """
    return {
        str(uuid.UUID(int=number)): {
            "name": "shop.buy",
            "state": "SUCCESS",
            "runtime": number / 2,
            "args": '"}, "x": {' + "a" * 800,
            "kwargs": {"nested": {"a": {}}, "more": {"b": {}}},
        }
        for number in range(count)
    }


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_large_body_is_read_to_its_end_however_its_json_is_spaced(spacing: str) -> None:
    body = body_of(many(6000), spacing)
    assert len(body) > 5 * 2**20
    pieces = list(decode_tasks(body[start : start + 100_000] for start in range(0, len(body), 100_000)))
    assert [task.runtime for piece in pieces for task in piece.values()] == [number / 2 for number in range(6000)]
    assert len(pieces) > 5  # so it was not held at once


def slow_after_first(cases: Mapping[str, Any]) -> list[Any]:
    """Return the cases as parameters; all but the first are slow."""
    return [
        pytest.param(case, id=name, marks=[pytest.mark.slow] if number else [])
        for number, (name, case) in enumerate(cases.items())
    ]


#: Texts whose end is hard to find.
TEXTS = {
    "letters": "x" * 2_200_000,
    "quotes": '"' * 600_000,
    "backslashes": "\\" * 600_001,
    "both": '\\"' * 300_000,
    "lines": 'File "/srv/shop.py", line 1\n' * 100_000,
    "braces": '}, "a": {' * 200_000,
    "not ASCII": "é💥" * 300_000,
}


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("text", slow_after_first(TEXTS))
@pytest.mark.limit("names and texts of tasks", "arguments, results or tracebacks of any size", "cost no task")
def test_a_huge_text_costs_neither_its_task_nor_those_around_it(text: str, spacing: str) -> None:
    tasks = many(900)
    for number, task in enumerate(tasks.values()):
        if number % 300 == 150:
            task |= {"state": "FAILURE", "exception": text, "traceback": text, "runtime": None, "timestamp": 12.5}
    body = body_of(tasks, spacing)
    # Pieces of an odd size, so that some begin between a backslash and what it stands before.
    read = read_in_pieces(body, 99_991)
    assert list(read) == list(tasks)
    for task_id, task in tasks.items():
        assert (read[task_id].state, read[task_id].runtime, read[task_id].timestamp) == (
            *(task["state"], task["runtime"]),
            task.get("timestamp"),
        )


def read_in_pieces(body: bytes, size: int) -> dict[str, TaskFields]:
    """Return the tasks of a body that arrives in pieces."""
    chunks = (body[start : start + size] for start in range(0, len(body), size))
    return {task_id: task for tasks in decode_tasks(chunks) for task_id, task in tasks.items()}


@pytest.mark.parametrize("char", ["é", *(pytest.param(char, marks=pytest.mark.slow) for char in '💥"\\\0x')])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("before", [0, *(pytest.param(before, marks=pytest.mark.slow) for before in range(1, 6))])
def test_a_huge_name_is_cut_like_any_long_one(char: str, ascii_only: bool, before: int) -> None:
    name = "n" * before + char * 700_000
    body = json.dumps({"a": {"name": name, "state": "SUCCESS"}, "b": {"name": "t"}}, ensure_ascii=ascii_only)
    assert counts(scraped(body.encode())) == {(name[:199] + "…", "SUCCESS"): 1, ("t", "UNKNOWN"): 1}


def test_huge_ids_are_not_shortened() -> None:
    long = "i" * 1_200_000
    tasks = {f"{long}{number}": {"name": "t", "state": "SUCCESS"} for number in range(3)}
    assert counts(scraped(json.dumps(tasks).encode())) == {("t", "SUCCESS"): 3}


@pytest.mark.usefixtures("no_pauses")
def test_a_body_that_ends_in_a_huge_text_is_rejected() -> None:
    text = scraped(b'{"a": {"name": "t", "exception": "' + b"x" * (3 * 2**20))
    assert text.startswith("down: ")
    assert "/api/tasks" in text


@pytest.mark.slow
@pytest.mark.parametrize("field", ["name", "exception"])
def test_a_text_of_100_mb_fits_into_the_container(field: str) -> None:
    body = b'{"a": {"state": "FAILURE", "%b": "%b"}, "b": {"name": "t"}}' % (field.encode(), b"x\\n" * (33 * 2**20))
    with ScriptedServer({"/api/workers": WORKERS, "/api/tasks": answer(body), "*": PUSHED}) as server:
        exit_code, mib = peak_memory("push", "--flower", server.url, "--pushgateway", server.url)
        assert unlabelled(server.pushes[-1].body)["flower_scrape_tasks"] == 2
    assert exit_code == 0
    assert mib < MEMORY_MIB


@pytest.mark.slow
def test_a_text_without_end_fits_into_the_container() -> None:
    endless = (head(), b'{"a": {"exception": "', Endless(b"x" * 2**16))
    with ScriptedServer({"/api/workers": WORKERS, "/api/tasks": endless, "*": PUSHED}) as server:
        options = ("--flower", server.url, "--pushgateway", server.url, "--deadline", "15", "--timeout", "10")
        exit_code, mib = peak_memory("push", *options)
        assert unlabelled(server.pushes[-1].body)["flower_up"] == 0
    assert exit_code == 1
    assert mib < MEMORY_MIB


@contextmanager
def failed_with(testbed: Testbed, message: str) -> Iterator[Flower]:
    """Yield a Flower with one task that a worker ran and that failed.

    The task failed with this message.
    """
    redis = testbed.redis()
    flower = testbed.flower(redis)
    worker = testbed.worker(redis)
    flower.wait_for_worker(worker.node)
    task = shop_app(redis.url).send_task("shop.stock.reserve", (1, message, False))
    flower.wait_for_task(task.id, "FAILURE")
    yield flower
    for service in (worker, flower, redis):
        service.stop()


def test_a_real_task_that_failed_with_two_megabytes_is_counted(
    testbed: Testbed, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with failed_with(testbed, "x" * 2_200_000) as flower:
        assert len(flower.client.get(f"{flower.url}/api/tasks")) > 4 * 2**20
        servers = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url)
        done = push_job("push", *servers)
        assert done.returncode == 0, done.stderr
        pushed = without_group(clean_pushgateway.samples())
        assert pushed[key("celery_task_types_by_state", task_type="shop.stock.reserve", state="FAILURE")] == 1
        assert push_job("check", *servers).returncode == 0
