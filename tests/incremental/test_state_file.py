"""Whatever becomes of a memory file, a push says what Flower lists; a good file makes it cheap."""

import math
import multiprocessing
import os
import random
import signal
import stat
import time
from pathlib import Path
from typing import cast

import pytest

from push_job.flower.api import Flower
from push_job.flower.incremental import state_file
from push_job.flower.incremental.scraper import Reading, TaskScraper
from push_job.flower.incremental.state import COLUMNS
from push_job.flower.incremental.state_file import StateFile
from push_job.http.client import Client
from tests.fakes.celery_flower import BY_STAMP, CeleryFlower, DirectClient, never

TASKS, PAGE = 60, 40
URL, ADDRESS = "http://flower:5555", "flower:5555"


class Clock:
    """A worker's events, one after the other."""

    def __init__(self, flower: CeleryFlower) -> None:
        self.flower = flower
        self.ticks = 0

    def send(self, kind: str, uuid: str) -> None:
        """One event."""
        self.ticks += 1
        self.flower.now += 1
        self.flower.event(kind, uuid, "celery@one", self.flower.now, self.ticks, name="shop.pay")


@pytest.fixture
def clock() -> Clock:
    made = Clock(CeleryFlower(BY_STAMP, room=1000))
    for number in range(TASKS):
        made.send("task-received", f"task-{number}")
    return made


def read(flower: CeleryFlower, path: Path, url: str = URL, full_every: float = 600) -> Reading:
    """What a one-shot job reads, in a process that has read nothing before."""
    reader = TaskScraper(full_every, StateFile(path, url, ADDRESS))
    reading = reader.read(Flower(cast(Client, DirectClient(flower))), PAGE, never())
    reader.save()
    return reading


def counted(reading: Reading) -> dict[tuple[str, str], int]:
    return {labels: tally.count for labels, tally in reading.tasks.tally().items()}


def listed(flower: CeleryFlower) -> dict[tuple[str, str], int]:
    states = [task["state"] for _, task in flower.tasks()]
    return {("shop.pay", state): states.count(state) for state in set(states)}


def test_a_second_job_reads_only_what_has_changed(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    assert read(clock.flower, path).whole
    clock.send("task-started", "task-3")
    clock.send("task-received", "task-new")
    second = read(clock.flower, path)
    assert not second.whole
    assert counted(second) == listed(clock.flower)
    assert read(clock.flower, path).whole is False


def test_the_file_is_for_its_owner_and_holds_no_arguments(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    clock.flower.event("task-received", "task-x", "celery@one", clock.flower.now, 999, args="secret-argument")
    read(clock.flower, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"secret-argument" not in path.read_bytes()
    assert os.listdir(tmp_path) == ["memory"]


def test_a_file_that_is_cut_anywhere_or_has_one_bit_flipped_is_none(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    read(clock.flower, path)
    good = path.read_bytes()
    file = StateFile(path, URL, ADDRESS)
    assert file.load(COLUMNS)
    chance = random.Random(13)
    cuts = [good[:length] for length in range(len(good))]
    flips = [_flipped(good, position, chance.randrange(8)) for position in range(len(good))]
    for damaged in (*cuts, *flips, good + b"\0"):
        path.write_bytes(damaged)
        assert file.load(COLUMNS) is None


def _flipped(content: bytes, position: int, bit: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


@pytest.mark.parametrize(
    ("beginning", "reason"),
    [
        (state_file._MAGIC, "it is damaged"),
        (b"push-job memory 1\n", "it is no memory file, or one of another version"),
    ],
    ids=["damaged", "of another version"],
)
def test_a_file_of_no_use_is_replaced_by_a_good_one(
    beginning: bytes, reason: str, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "memory"
    path.write_bytes(beginning + b"nonsense")
    with caplog.at_level("INFO"):
        assert read(clock.flower, path).whole
    assert reason in str([vars(record) for record in caplog.records])
    assert not read(clock.flower, path).whole


@pytest.mark.parametrize("made", ["missing", "folder", "pipe", "unreadable folder above"])
def test_a_path_that_holds_no_file_costs_a_log_line(
    made: str, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "memory"
    if made == "folder":
        path.mkdir()
    elif made == "pipe":
        os.mkfifo(path)
    elif made == "unreadable folder above":
        path = tmp_path / "not there" / "memory"
    caplog.set_level("INFO")
    assert counted(read(clock.flower, path)) == listed(clock.flower)
    told = [record.getMessage() for record in caplog.records]
    assert told.count("nothing is remembered") == 1
    assert told.count("the memory file could not be written") == (made != "missing")


@pytest.mark.parametrize("is_linked", [False, True])
def test_what_is_no_file_is_left_alone(
    is_linked: bool, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    read(clock.flower, link if is_linked else pipe)
    assert pipe.is_fifo()
    assert link.is_symlink()
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert line.__dict__["fields"]["reason"] == "what is there is no file, and is left as it is"


@pytest.mark.parametrize("is_there", [False, True])
def test_what_a_link_leads_to_is_written_and_the_link_stays(is_there: bool, clock: Clock, tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to("folder/memory")
    if is_there:
        read(clock.flower, folder / "memory")
    read(clock.flower, link)
    assert not read(clock.flower, link).whole
    assert link.is_symlink()
    assert os.listdir(folder) == ["memory"]


def test_a_link_that_leads_to_itself_costs_a_log_line(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)
    assert counted(read(clock.flower, link)) == listed(clock.flower)
    assert link.is_symlink()
    assert "the memory file could not be written" in caplog.messages


def test_a_file_of_another_flower_is_none(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    read(clock.flower, path)
    assert read(clock.flower, path, url="http://other:5555").whole


def test_a_file_of_another_version_is_none(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "memory"
    with monkeypatch.context() as patched:
        patched.setattr(state_file, "__version__", "0.0.0")
        read(clock.flower, path)
    assert read(clock.flower, path).whole


@pytest.mark.parametrize("ahead", [-700.0, 700.0])
def test_a_file_that_is_too_old_or_from_the_future_is_none(
    ahead: float, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory"
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + ahead)
        read(clock.flower, path)
    assert read(clock.flower, path).whole


def test_a_restarted_flower_is_read_whole(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    read(clock.flower, path)
    reborn = CeleryFlower(BY_STAMP, room=1000, started=2.0)
    for number in range(TASKS):
        reborn.event("task-received", f"task-{number}", "celery@one", 1.0 + number, number + 1, name="shop.pay")
    reading = read(reborn, path)
    assert reading.whole
    assert counted(reading) == listed(reborn)


def test_a_disk_that_is_full_costs_a_log_line(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "memory"
    read(clock.flower, path)
    before = path.read_bytes()
    clock.send("task-started", "task-3")

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert counted(read(clock.flower, path)) == listed(clock.flower)
    assert "No space left on device" in str([record.__dict__ for record in caplog.records])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["memory"]


def test_a_mistake_of_ours_in_writing_it_costs_a_log_line(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_file, "_encoded", lambda *_: 1 / 0)
    assert counted(read(clock.flower, tmp_path / "memory")) == listed(clock.flower)
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert line.getMessage() == "the memory file could not be written"
    assert "a mistake in push-job: ZeroDivisionError" in line.__dict__["fields"]["reason"]


@pytest.mark.parametrize("name", ["memory", "a**b", "**", "?", "[x]"])
def test_what_a_killed_process_left_half_written_is_removed_later(name: str, clock: Clock, tmp_path: Path) -> None:
    old, young, others = tmp_path / f".{name}.old.tmp", tmp_path / f".{name}.young.tmp", tmp_path / ".x.old.tmp"
    for path in (old, young, others):
        path.write_bytes(b"half")
    for path in (old, others):
        os.utime(path, (0, 0))
    read(clock.flower, tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == sorted([young.name, others.name, name])


def _write_for_ever(path: str, seed: int) -> None:
    made = Clock(CeleryFlower(BY_STAMP, room=1000))
    for number in range(TASKS + seed):
        made.send("task-received", f"task-{seed}-{number}")
    reader = TaskScraper(600, StateFile(Path(path), URL, ADDRESS))
    while True:
        reader.read(Flower(cast(Client, DirectClient(made.flower))), PAGE, never())
        reader.save()


def test_two_processes_that_write_at_once_and_are_killed_leave_a_good_file(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    context = multiprocessing.get_context("fork")
    chance = random.Random(7)
    for _ in range(10):
        writers = [context.Process(target=_write_for_ever, args=(str(path), seed)) for seed in (1, 2)]
        for writer in writers:
            writer.start()
        time.sleep(0.1 + chance.random() / 10)
        for writer in writers:
            assert writer.pid
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
        assert StateFile(path, URL, ADDRESS).load(COLUMNS)
    # The counters tell that this Flower is not theirs, though it answers at their address.
    assert counted(read(clock.flower, path)) == listed(clock.flower)


def test_nothing_is_remembered_where_each_turn_is_whole(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    assert read(clock.flower, path, full_every=0).whole
    assert read(clock.flower, path, full_every=math.inf).whole
    assert not read(clock.flower, path, full_every=math.inf).whole
