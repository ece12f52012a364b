"""`show` prints the samples of a push, and `delete` removes them.

`show` changes nothing.
"""

import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.command import PushJob
from testbed.events import TaskEvents
from testbed.services import Flower, Pushgateway, Redis, Testbed


def test_show_prometheus_is_valid_exposition_text_of_what_push_sends(
    flower: Flower, redis: Redis, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    with TaskEvents(redis.url) as events:
        events.send("task-received", uuid="shown-1", name="shop.shown.one")
    flower.wait_for_task("shown-1", "RECEIVED")
    shown = push_job("show", "--flower", flower.url, "--format", "prometheus")
    assert shown.returncode == 0, shown.stderr
    lint = subprocess.run(
        ["promtool", "check", "metrics"], input=shown.stdout, capture_output=True, text=True, check=False
    )
    assert lint.returncode in (0, 3), lint.stderr  # 3 is for matters of style: the user's own names are given
    push_job("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url)
    in_text = {
        (sample.name, frozenset(sample.labels.items()))
        for family in text_string_to_metric_families(shown.stdout)
        for sample in family.samples
    }
    pushed = {
        (name, frozenset((label, value) for label, value in labels if label not in ("job", "instance")))
        for name, labels in clean_pushgateway.samples()
        if not name.startswith("push_time") and not name.startswith("push_failure")
    }
    assert in_text == pushed


def test_show_prints_a_table_of_workers_and_tasks(flower: Flower, redis: Redis, push_job: PushJob) -> None:
    with TaskEvents(redis.url) as events:
        events.worker("celery@[bold]shown")
        events.send("task-received", uuid="shown-2", name="shop.shown.[red]two\x1b[2J")
        events.send("task-succeeded", uuid="shown-2", runtime=1.5)
    flower.wait_for_task("shown-2", "SUCCESS")
    shown = push_job("show", "--flower", flower.url, env={"COLUMNS": "160"})
    assert shown.returncode == 0, shown.stderr
    assert "celery@[bold]shown" in shown.stdout
    assert "\x1b[2J" not in shown.stdout
    (row,) = [line for line in shown.stdout.splitlines() if "[red]two" in line]
    assert row.split()[-2:] == ["1", "1.500"]


@pytest.fixture(scope="module")
def varied(testbed: Testbed) -> Iterator[Flower]:
    """A Flower of its own.

    Tasks of other tests could have names and states of any length.
    """
    redis = testbed.redis()
    flower = testbed.flower(redis)
    with TaskEvents(redis.url) as events:
        events.send("task-received", uuid="shown-3", name="shop.shown.narrow")
        events.send("task-succeeded", uuid="shown-3", runtime=12_345.678)
        flower.wait_for_task("shown-3", "SUCCESS")
        yield flower
    flower.stop()
    redis.stop()


def shown(push_job: PushJob, flower: Flower, columns: int) -> list[str]:
    """Return the lines on a terminal with this width."""
    done = push_job("show", "--flower", flower.url, env={"COLUMNS": str(columns)})
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= columns
    return done.stdout.splitlines()


@pytest.mark.parametrize(("columns", "headings"), [(200, ("Pending", "Received")), (80, ("Pend.", "Rece."))])
def test_show_uses_the_width_of_the_terminal(
    columns: int, headings: tuple[str, str], varied: Flower, push_job: PushJob
) -> None:
    lines = shown(push_job, varied, columns)
    assert any(line.startswith("Task type") and all(word in line for word in headings) for line in lines)
    assert any(line.startswith("shop.shown.narrow") and line.endswith(" 12,345.678") for line in lines)


def test_show_writes_one_number_per_line_on_a_narrow_terminal(varied: Flower, push_job: PushJob) -> None:
    text = [line.split() for line in shown(push_job, varied, 40)]
    first = text.index(["Task", "type", "shop.shown.narrow"])
    assert text[first + 1 : first + 4] == [["Success", "1"], ["Mean,", "s", "12,345.678"], []]


def test_show_has_complete_names_next_to_many_custom_states(varied: Flower, push_job: PushJob) -> None:
    states = ["\x1b[2Jboo", "packed\0", "shipped", "delivered", "returned"]
    with TaskEvents(varied.broker.url) as events:
        for number, state in enumerate(states):
            events.send("task-received", uuid=f"custom-{number}", name=f"shop.custom.number_{number}")
            events.send(f"task-{state}", uuid=f"custom-{number}")
            varied.wait_for_task(f"custom-{number}", state.upper())
    for columns in (30, 80, 120, 300):
        lines = shown(push_job, varied, columns)
        assert not [char for line in lines for char in line if not char.isprintable()]
        for number in range(len(states)):
            assert any(f"shop.custom.number_{number}" in line for line in lines), "\n".join(lines)
        assert any("�[2" in line for line in lines)


@pytest.mark.usefixtures("no_pauses")
def test_show_says_on_stderr_which_flower_is_down(quick_push_job: PushJob) -> None:
    shown = quick_push_job("show", "--flower", "http://127.0.0.1:9", "--deadline", "30")
    assert shown.returncode == 1
    assert shown.stdout == ""
    assert shown.stderr.startswith("127.0.0.1:9: ")
    assert len(shown.stderr.splitlines()) == 1


def test_delete_removes_the_groups_of_push_and_says_which(
    flower: Flower, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    options = ("--flower", flower.url, "--pushgateway", clean_pushgateway.url, "--grouping", "team=a/b")
    push_job("push", *options)
    push_job("push", "--job", "another", *options)
    deleted = push_job("delete", *options)
    assert deleted.returncode == 0
    address = flower.url.removeprefix("http://")
    assert deleted.stdout == f'deleted: job="flower" instance="{address}" team="a/b"\n'
    assert [group["labels"]["job"] for group in clean_pushgateway.groups()] == ["another"]


@pytest.mark.usefixtures("no_pauses")
def test_delete_without_a_pushgateway_says_so_and_exits_with_three(quick_push_job: PushJob) -> None:
    deleted = quick_push_job(
        "delete", "--flower", "http://127.0.0.1:9", "--pushgateway", "http://127.0.0.1:9", "--deadline", "30"
    )
    assert deleted.returncode == 3
    assert deleted.stdout == ""
    assert "127.0.0.1:9" in deleted.stderr
