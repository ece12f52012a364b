"""A push with any state file has all tasks that Flower lists.

A good file makes the push cheap.
"""

import logging
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
from push_job.flower.incremental import state_file, state_format
from push_job.flower.incremental.scraper import ScrapedTasks, TaskScraper
from push_job.flower.incremental.state import COLUMNS
from push_job.flower.incremental.state_file import StateFile
from push_job.http.client import Client
from tests.fakes.celery_flower import BY_STAMP, CeleryFlower, DirectClient, never

TASKS, PAGE = 60, 40
URL, ADDRESS = "http://flower:5555", "flower:5555"


class Worker:
    """Sends the events of one worker to a Flower."""

    def __init__(self, flower: CeleryFlower) -> None:
        self.flower = flower
        self.clock = 0

    def send(self, kind: str, uuid: str) -> None:
        self.clock += 1
        self.flower.now += 1
        self.flower.event(kind, uuid, "celery@one", self.flower.now, self.clock, name="shop.pay")


@pytest.fixture
def worker() -> Worker:
    made = Worker(CeleryFlower(BY_STAMP, room=1000))
    for number in range(TASKS):
        made.send("task-received", f"task-{number}")
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def scrape(flower: CeleryFlower, path: Path, url: str = URL, full_every: float = 600) -> ScrapedTasks:
    """Scrape as a one-shot job does, in a process that has no state yet."""
    scraper = TaskScraper(full_every, StateFile(path, url, ADDRESS))
    scraped = scraper.scrape(Flower(cast(Client, DirectClient(flower))), PAGE, never())
    scraper.save()
    return scraped


def counts_of(scraped: ScrapedTasks) -> dict[tuple[str, str], int]:
    return {labels: tally.count for labels, tally in scraped.tasks.tally().items()}


def listed_by(flower: CeleryFlower) -> dict[tuple[str, str], int]:
    states = [task["state"] for _, task in flower.tasks()]
    return {("shop.pay", state): states.count(state) for state in set(states)}


def reasons_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    fields = (record.__dict__.get("fields", {}) for record in caplog.records)
    return [each["reason"] for each in fields if "reason" in each]  # at debug level, tracebacks have none


def test_the_second_job_reads_only_what_changed(worker: Worker, path: Path) -> None:
    assert scrape(worker.flower, path).full
    worker.send("task-started", "task-3")
    worker.send("task-received", "task-new")
    second = scrape(worker.flower, path)
    assert not second.full
    assert counts_of(second) == listed_by(worker.flower)
    assert not scrape(worker.flower, path).full


def test_the_file_is_readable_by_its_owner_only_and_has_no_arguments(worker: Worker, path: Path) -> None:
    worker.flower.event("task-received", "task-x", "celery@one", worker.flower.now, 999, args="secret-argument")
    scrape(worker.flower, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"secret-argument" not in path.read_bytes()
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.limit("the state file", "a damaged file", "is not used: all tasks are read")
def test_a_file_that_is_cut_off_or_has_a_flipped_bit_is_not_used(worker: Worker, path: Path) -> None:
    scrape(worker.flower, path)
    good = path.read_bytes()
    file = StateFile(path, URL, ADDRESS)
    assert file.load(COLUMNS).state
    chance = random.Random(13)
    lengths = {*range(60), *chance.sample(range(len(good)), 400), len(good) - 1}  # the head, and some of the rest
    cuts = [good[:length] for length in lengths]
    flips = [_flipped(good, position, chance.randrange(8)) for position in lengths]
    for damaged in (*cuts, *flips, good + b"\0"):
        path.write_bytes(damaged)
        assert file.load(COLUMNS) == (None, None)


def _flipped(content: bytes, position: int, bit: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged"),
        (state_file._MAGIC + b"nonsense", "damaged"),
        (b"push-job state 0\nnonsense", "another version"),
    ],
    ids=["empty", "damaged", "another version"],
)
def test_an_unusable_state_file_is_replaced(
    content: bytes, reason: str, worker: Worker, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    with caplog.at_level("INFO"):
        assert scrape(worker.flower, path).full
    assert any(reason in logged for logged in reasons_in(caplog)) or not content
    assert not scrape(worker.flower, path).full


@pytest.mark.parametrize("through_link", [False, True])
@pytest.mark.parametrize("content", [b"root:x:0:0:root:/root:/bin/bash\n", b"p", b"\x7fELF" + bytes(1000)])
@pytest.mark.limit("the state file", "a file that is not a state file", "is left unchanged, also through a link")
def test_a_file_that_is_not_a_state_file_is_left_unchanged(
    content: bytes, through_link: bool, worker: Worker, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = path.parent / "foreign"
    foreign.write_bytes(content)
    if through_link:
        path.symlink_to(foreign)
    assert counts_of(scrape(worker.flower, path if through_link else foreign)) == listed_by(worker.flower)
    assert foreign.read_bytes() == content
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.limit("the state file", "a huge file", "is not read beyond its beginning")
def test_only_the_beginning_of_a_foreign_file_is_read(worker: Worker, path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: more than any memory
    assert counts_of(scrape(worker.flower, path)) == listed_by(worker.flower)
    assert path.stat().st_size == 2**40


@pytest.mark.parametrize("made", ["missing", "folder", "pipe", "missing folder"])
def test_a_path_without_a_file_costs_a_log_line(
    made: str, worker: Worker, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if made == "folder":
        path.mkdir()
    elif made == "pipe":
        os.mkfifo(path)
    elif made == "missing folder":
        path = path / "state"
    caplog.set_level("INFO")
    assert counts_of(scrape(worker.flower, path)) == listed_by(worker.flower)
    assert len(reasons_in(caplog)) == {"folder": 2, "missing folder": 2}.get(made, 1)


@pytest.mark.parametrize("through_link", [False, True])
def test_a_pipe_is_left_unchanged(through_link: bool, worker: Worker, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    scrape(worker.flower, link if through_link else pipe)
    assert pipe.is_fifo()
    assert link.is_symlink()


@pytest.mark.parametrize("exists", [False, True])
def test_the_target_of_a_link_is_written_and_the_link_stays(exists: bool, worker: Worker, tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to("folder/state")
    if exists:
        scrape(worker.flower, folder / "state")
    scrape(worker.flower, link)
    assert not scrape(worker.flower, link).full
    assert link.is_symlink()
    assert os.listdir(folder) == ["state"]


def test_a_link_to_itself_costs_log_lines(worker: Worker, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.symlink_to(path)
    assert counts_of(scrape(worker.flower, path)) == listed_by(worker.flower)
    assert path.is_symlink()
    assert reasons_in(caplog)


def test_a_file_of_another_flower_is_not_used(worker: Worker, path: Path) -> None:
    scrape(worker.flower, path)
    assert scrape(worker.flower, path, url="http://other:5555").full


def test_a_file_of_another_version_is_not_used(worker: Worker, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(state_format, "__version__", "0.0.0")
        scrape(worker.flower, path)
    assert scrape(worker.flower, path).full


@pytest.mark.parametrize("ahead", [-700.0, 700.0])
def test_a_file_that_is_too_old_or_from_the_future_is_not_used(
    ahead: float, worker: Worker, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + ahead)
        scrape(worker.flower, path)
    assert scrape(worker.flower, path).full


def test_a_restarted_flower_is_scraped_fully(worker: Worker, path: Path) -> None:
    scrape(worker.flower, path)
    restarted = CeleryFlower(BY_STAMP, room=1000, started=2.0)
    for number in range(TASKS):
        restarted.event("task-received", f"task-{number}", "celery@one", 1.0 + number, number + 1, name="shop.pay")
    scraped = scrape(restarted, path)
    assert scraped.full
    assert counts_of(scraped) == listed_by(restarted)


def test_a_full_disk_costs_a_log_line(
    worker: Worker, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scrape(worker.flower, path)
    before = path.read_bytes()
    worker.send("task-started", "task-3")

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert counts_of(scrape(worker.flower, path)) == listed_by(worker.flower)
    assert "No space left on device" in reasons_in(caplog)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_bug_in_writing_costs_a_log_line(
    worker: Worker, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_file, "encode", lambda *_: 1 / 0)
    assert counts_of(scrape(worker.flower, path)) == listed_by(worker.flower)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "ZeroDivisionError" in warning.__dict__["fields"]["reason"]


@pytest.mark.parametrize("name", ["state", "a**b", "**", "?", "[x]"])
def test_an_old_temporary_file_is_removed(name: str, worker: Worker, tmp_path: Path) -> None:
    old, young, others = tmp_path / f".{name}.old.tmp", tmp_path / f".{name}.young.tmp", tmp_path / ".x.old.tmp"
    for path in (old, young, others):
        path.write_bytes(b"half")
    for path in (old, others):
        os.utime(path, (0, 0))
    scrape(worker.flower, tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == sorted([young.name, others.name, name])


def _write_for_ever(path: str, seed: int) -> None:
    made = Worker(CeleryFlower(BY_STAMP, room=1000))
    for number in range(TASKS + seed):
        made.send("task-received", f"task-{seed}-{number}")
    scraper = TaskScraper(600, StateFile(Path(path), URL, ADDRESS))
    while True:
        scraper.scrape(Flower(cast(Client, DirectClient(made.flower))), PAGE, never())
        scraper.save()


def test_two_killed_writers_leave_a_good_file(worker: Worker, path: Path) -> None:
    context = multiprocessing.get_context("fork")
    chance = random.Random(7)
    written: set[int] = set()
    for _ in range(10):
        writers = [context.Process(target=_write_for_ever, args=(str(path), seed)) for seed in (1, 2)]
        for writer in writers:
            writer.start()
        # Each written file is a new one. Wait until some were written, however slow the machine is.
        target = len(written) + chance.randint(2, 9)
        while len(written) < target:
            if path.exists():
                written.add(path.stat().st_mtime_ns)
        for writer in writers:
            assert writer.pid
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
        assert StateFile(path, URL, ADDRESS).load(COLUMNS).state
    # The counters show that this Flower is another one, although it has their address.
    assert counts_of(scrape(worker.flower, path)) == listed_by(worker.flower)


def test_without_state_every_scrape_is_full(worker: Worker, path: Path) -> None:
    assert scrape(worker.flower, path, full_every=0).full
    assert scrape(worker.flower, path, full_every=math.inf).full
    assert not scrape(worker.flower, path, full_every=math.inf).full
