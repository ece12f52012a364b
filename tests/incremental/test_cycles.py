"""Jobs with state on a real Flower push all tasks.

Each push says whether its scrape was full, and the number of tasks that were read.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.command import PushJob
from testbed.events import TaskEvents, send_tasks
from testbed.services import Flower, Pushgateway, Testbed
from tests.fakes.http import ScriptedServer
from tests.faults.cycles import PUSHED, fake_flower
from tests.independent import assert_agree, expected_samples, key, without_group
from tests.run_loop import Loop

TASKS = 1_500


class Shop:
    """A Flower with many tasks, and a sender of events."""

    def __init__(self, flower: Flower, events: TaskEvents) -> None:
        self.flower = flower
        self.events = events
        self.sent = 0

    def change(self) -> None:
        """Send one new task, and wait until Flower has it."""
        self.sent += 1
        self.events.send("task-received", uuid=f"new-{self.sent}", name="shop.new")
        self.events.flush()
        self.flower.wait_for_tasks(TASKS + self.sent)


@pytest.fixture(scope="module")
def shop(testbed: Testbed) -> Iterator[Shop]:
    redis = testbed.redis()
    flower = testbed.flower(redis)
    with TaskEvents(redis.url, buffer=100) as events:
        send_tasks(events, TASKS)
        events.flush()
        flower.wait_for_tasks(TASKS)
        yield Shop(flower, events)
    flower.stop()
    redis.stop()


def own(pushgateway: Pushgateway, name: str) -> float:
    [value] = [value for (family, _), value in pushgateway.samples().items() if family == name]
    return value


def test_a_push_with_a_state_file_reads_changes_and_pushes_all_tasks(
    shop: Shop, clean_pushgateway: Pushgateway, push_job: PushJob, tmp_path: Path
) -> None:
    arguments = ("push", "--flower", shop.flower.url, "--pushgateway", clean_pushgateway.url)
    file = ("--state-file", str(tmp_path / "state"))
    assert push_job(*arguments, *file).returncode == 0
    assert own(clean_pushgateway, "flower_scrape_full") == 1
    shop.change()
    done = push_job(*arguments, *file)
    assert done.returncode == 0
    assert own(clean_pushgateway, "flower_scrape_full") == 0
    read = own(clean_pushgateway, "flower_scrape_read_tasks")
    assert read < TASKS
    assert f" read={read:.0f} " in done.stderr
    assert own(clean_pushgateway, "flower_scrape_tasks") == TASKS + shop.sent
    done = push_job(*arguments, *file)  # nothing has changed except the ages
    assert " read=0 " in done.stderr
    assert own(clean_pushgateway, "flower_scrape_read_tasks") == 0
    assert_agree(without_group(clean_pushgateway.samples()), *expected_samples(shop.flower.url), seconds=5)


def test_a_push_without_state_pushes_no_families_about_it(
    shop: Shop, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    push_job("push", "--flower", shop.flower.url, "--pushgateway", clean_pushgateway.url)
    assert not [
        name for name, _ in clean_pushgateway.samples() if name in ("flower_scrape_full", "flower_scrape_read_tasks")
    ]


def test_a_state_file_that_cannot_be_written_costs_no_push(
    shop: Shop, clean_pushgateway: Pushgateway, push_job: PushJob
) -> None:
    arguments = ("push", "--flower", shop.flower.url, "--pushgateway", clean_pushgateway.url)
    done = push_job(*arguments, "--state-file", "/proc/state")  # a folder that takes no file, even of root
    assert done.returncode == 0
    assert "level=warning" in done.stderr
    assert "state_file=" in done.stderr
    assert own(clean_pushgateway, "flower_up") == 1


def test_shards_with_one_flower_each_have_separate_state_files(push_job: PushJob, tmp_path: Path) -> None:
    with fake_flower() as one, fake_flower() as other, ScriptedServer({"*": PUSHED}) as gateway:
        servers = ("--flower", one.url, "--flower", other.url, "--pushgateway", gateway.url)
        for shard in ("0/2", "1/2"):
            arguments = ("push", *servers, "--shard", shard, "--state-file", str(tmp_path / "state"))
            assert push_job(*arguments).returncode == 0
        names = [file.name.rpartition("-")[0] for file in tmp_path.iterdir()]
        assert set(names) == {f"state.{url.removeprefix('http://').replace(':', '_')}" for url in (one.url, other.url)}


def test_run_keeps_state_without_an_option(shop: Shop, clean_pushgateway: Pushgateway) -> None:
    with Loop("--flower", shop.flower.url, "--pushgateway", clean_pushgateway.url, "--every", "0.3") as loop:
        loop.wait_for(2)
        assert own(clean_pushgateway, "flower_scrape_full") == 0
        shop.change()
        loop.wait_for_more(2)
        samples = without_group(clean_pushgateway.samples())
        assert samples[key("celery_task_types_by_state", task_type="shop.new", state="RECEIVED")] == shop.sent
        full, *incremental = [line["read"] for line in loop.log() if "read" in line]
        assert full >= TASKS + shop.sent - 1
        assert max(incremental) < TASKS


def test_full_every_0_makes_every_scrape_full(shop: Shop, clean_pushgateway: Pushgateway) -> None:
    arguments = ("--flower", shop.flower.url, "--pushgateway", clean_pushgateway.url, "--full-every", "0")
    with Loop(*arguments, "--every", "0.3") as loop:
        loop.wait_for(3)
        assert min(line["read"] for line in loop.log() if "read" in line) >= TASKS


def test_last_runs_are_kept_after_flower_has_forgotten_them(
    testbed: Testbed, clean_pushgateway: Pushgateway, push_job: PushJob, tmp_path: Path
) -> None:
    redis = testbed.redis()
    flower = testbed.flower(redis)
    arguments = ("push", "--flower", flower.url, "--pushgateway", clean_pushgateway.url, "--with", "last-run")
    file = ("--state-file", str(tmp_path / "state"))
    last_success = key("celery_task_last_success_timestamp_seconds", name="shop.nightly")
    with TaskEvents(redis.url) as events:
        ended = time.time()
        events.send("task-received", uuid="last-night", name="shop.nightly", timestamp=ended - 5)
        events.send("task-succeeded", uuid="last-night", runtime=5.0, timestamp=ended)
        flower.wait_for_task("last-night", "SUCCESS")
        assert push_job(*arguments, *file).returncode == 0
        assert without_group(clean_pushgateway.samples())[last_success] == pytest.approx(ended)
        flower.stop()
        flower.start()  # it has forgotten everything
        assert push_job(*arguments, *file).returncode == 0
        samples = without_group(clean_pushgateway.samples())
        assert samples[last_success] == pytest.approx(ended)
        assert not [labels for name, labels in samples if name == "celery_task_types_by_state"]
        assert push_job(*arguments).returncode == 0  # without a state file they are unknown
        assert last_success not in without_group(clean_pushgateway.samples())
    flower.stop()
    redis.stop()
