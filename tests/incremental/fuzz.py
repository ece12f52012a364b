"""Fuzz incremental scrapes against Celery's own state of events.

`python -m tests.incremental.fuzz [--cycles N] [--seed N]`

Each cycle sends random events and scrapes. Each result is compared with the list
as it was when the end page was answered. 100,000 cycles take about 20 minutes.
"""

import argparse
import gc
import logging
import math
import os
import pickle
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from push_job import log
from push_job.flower.api import Flower, FlowerError
from push_job.flower.incremental.scraper import ScrapedTasks, TaskScraper
from push_job.flower.incremental.state_file import StateFile
from push_job.flower.table import TaskTable
from push_job.flower.task import wait_of
from push_job.flower.totals import Totals
from push_job.http.client import Client
from push_job.http.errors import TransportError
from tests.fakes.celery_flower import BY_CLOCK, BY_STAMP, CeleryFlower, DirectClient, never
from tests.independent import durations_by_labels

PAGE = 150
NAMES = ("shop.pay", "shop.mail", "shop.report")
ENDS = ("task-succeeded", "task-failed", "task-revoked", "task-rejected")
COUNTED = (*ENDS, "task-retried")
RENAMING = ("task-received", "task-sent")
LABELS = tuple[str, str]


@dataclass
class EventSender:
    """A worker or a client.

    Attributes:
        name: its name.
        skew: seconds by which its clock is fast.
        own_clock: its logical clock, if that is not the common one.
    """

    name: str
    skew: float = 0.0
    own_clock: int | None = None


@dataclass
class Found:
    """The results of many cycles.

    Attributes:
        cycles: number of cycles.
        expected: cycles that could be incremental, by kind of life.
        incremental: cycles that were incremental, by kind of life.
        events: what happened, by name: bursts, caches, restarts and so on.
        wrong: descriptions of wrong results.
        reasons: reasons for full scrapes.
    """

    cycles: int = 0
    expected: Counter[str] = field(default_factory=Counter)
    incremental: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


class _LogCounter(logging.Handler):
    """Counts log lines by message and reason, without numbers and names."""

    def __init__(self, reasons: Counter[str]) -> None:
        super().__init__()
        self.reasons = reasons

    def emit(self, record: logging.LogRecord) -> None:
        """Count one line."""
        reason = record.__dict__.get("fields", {}).get("reason", "")
        self.reasons[re.sub(r"\d+|celery@\w+|shop\.\w+|task-\w+", "N", f"{record.getMessage()}: {reason}")] += 1


class Scraper(TaskScraper):
    """Notes whether a full scrape of several cycles was proven."""

    was_proven = False

    def _prove(self, *arguments: Any) -> None:
        super()._prove(*arguments)
        self.was_proven = True


class Witness:
    """Record of the results that a scrape may return.

    These are the list as it was at the end page, and any later state of each task.
    """

    def __init__(self, flower: CeleryFlower) -> None:
        self._flower = flower
        self._end_was_read = False
        self.allowed: dict[str, set[LABELS]] = {}
        self.created: set[str] = set()
        self.seen_before: set[str] = set()
        self.unnamed: set[str] = set()
        flower.on_answer = self._on_answer

    def start(self) -> None:
        """Begin a scrape."""
        self._end_was_read = False
        self._look()

    def _look(self) -> None:
        """Take the list as it is now."""
        self.allowed = {uuid: {(task.name or "unknown", task.state)} for uuid, task in self._flower.listed()}

    def on_event(self, uuid: str) -> None:
        """Note what an event made of a task."""
        task = self._flower.state.tasks.data.get(uuid)
        if task is not None:
            if uuid not in self.allowed:
                self.created.add(uuid)
            self.allowed.setdefault(uuid, set()).add((task.name or "unknown", task.state))

    def _on_answer(self, path: str, params: Mapping[str, Any]) -> None:
        if params.get("offset"):
            self._end_was_read = True
            self._look()
        elif path == "/metrics" and not self._end_was_read:
            self.created = set()
            self.unnamed = {uuid for uuid, task in self._flower.listed() if not task.name}
            if not self._flower.cached_metrics:
                self._look()  # the scrape may find that nothing has changed, and read no task

    def complaint(self, scraped: ScrapedTasks) -> str | None:
        """Return what is wrong with a scrape, None if nothing is."""
        found = {task_id: content.labels for task_id, content in scraped.tasks.contents()}
        for task_id in self.unnamed & self.allowed.keys():
            # It may have learnt its name after the counters were read.
            self.allowed[task_id] |= {("unknown", state) for _, state in self.allowed[task_id]}
        wrong = {task_id for task_id, labels in found.items() if labels not in self.allowed.get(task_id, {labels})}
        # If tasks came after the counters, a full Flower has forgotten others for them. Then the number of tasks is
        # right, but as many of them as came may be others than those that were listed with the end page.
        # A task that was forgotten, and came again, may be found as it was before.
        odd = found.keys() - self.allowed.keys() | wrong & self.created
        missing = self.allowed.keys() - found.keys() - self.created
        if len(odd) > len(self.created) or len(missing) > len(self.created) or missing & self.seen_before:
            return f"{len(odd)} tasks too many, {len(missing)} missing, such as {min(odd | missing)}"
        for task_id in sorted(wrong - self.created):
            return f"{len(wrong)} wrong, {task_id} is {found[task_id]}, not {self.allowed[task_id]}"
        return None


class Life:
    """The life of a Flower, derived from a seed.

    The seed decides the workers, the amount of their work and the faults.
    """

    def __init__(self, seed: int, found: Found) -> None:
        self.chance = random.Random(seed)
        chance = self.chance
        self.found = found
        self.order = chance.choice((BY_STAMP, BY_CLOCK))
        self.room = chance.choice((200, 600, 10_000))
        self.started = 0.0 if chance.random() < 0.1 else 1.0
        self.flower = CeleryFlower(self.order, self.room, self.started)
        self.saved: list[bytes] = []
        self.witness = Witness(self.flower)
        self.clock = 1000
        self.senders = [EventSender(f"celery@w{number}") for number in range(chance.randint(1, 6))]
        if chance.random() < 0.5:
            self.senders.append(EventSender("celery@slow", -90.0))
        if chance.random() < 0.5:
            self.senders.append(EventSender("celery@fast", 90.0))
        self.kind = self.order if self.started else f"{self.order}, no start time"
        if chance.random() < 0.3:
            self.senders.append(EventSender("celery@reborn", 0.0, own_clock=0))
            self.kind += ", a logical clock restarted"
        # A worker with many unfinished tasks that is silent except for bursts.
        self.sleeper = EventSender("celery@sleeper", 0.0, chance.choice((None, 0))) if chance.random() < 0.3 else None
        # A pure client knows no other logical clock, unless it receives events like a worker.
        own_clock = chance.choice((None, 0))
        skew = chance.choice((0.0, 0.0, -90.0, 90.0))
        self.client = EventSender("gen1@web", skew, own_clock) if chance.random() < 0.4 else None
        self.busy = chance.choice((1, 5, 20))
        self.odd = chance.choice((0.0, 0.0, 0.01, 0.05))
        self.reuse = chance.choice((0.0, 0.0, 0.02))
        self.ids: list[str] = []
        self.owner: dict[str, EventSender] = {}
        self.ended: set[str] = set()
        self.named = 0
        self.counted_events = 0
        self.uncounted: int | None = None
        self.first_uncounted = 0
        self.went_back = False
        self.is_exact = False
        self.has_restarted = False
        self.is_first_scrape = self.is_scraped = self.may_hide_name = False
        self.loses_tasks = self.order == BY_CLOCK and any(sender.own_clock is not None for sender in self.senders)

    def send(self, kind: str, uuid: str, sender: EventSender, **fields: Any) -> None:
        """Send one event, a little after the last one."""
        self.flower.now += self.chance.choice((0.01, 0.3, 2.0))
        if sender.own_clock is None:
            self.clock += 1
            clock = self.clock
        else:
            sender.own_clock += 1
            clock = sender.own_clock
        if self.is_first_scrape and self.is_scraped and kind in RENAMING and uuid in self.flower.state.tasks.data:
            self.may_hide_name = True
        self.flower.event(kind, uuid, sender.name, self.flower.now + sender.skew, clock, **fields)
        self.witness.on_event(uuid)
        self.counted_events += kind in COUNTED
        if kind in ENDS:
            self.ended.add(uuid)

    def live(self, events: int) -> None:
        """Send about this number of events."""
        for _ in range(self.chance.randint(0, 2 * events)):
            self._step()

    def fill_sleeper(self) -> None:
        """Let the sleeper, if there is one, receive tasks if it has few."""
        if self.sleeper and sum(self.owner[uuid] is self.sleeper and uuid not in self.ended for uuid in self.ids) < 100:
            for _ in range(300):
                self._receive(self._new_id(self.sleeper), self.sleeper)

    def burst(self) -> None:
        """Let one worker end many known tasks at once."""
        sender = self.sleeper if self.sleeper and self.chance.random() < 0.5 else self.chance.choice(self.senders)
        own = [uuid for uuid in self.ids if self.owner[uuid] is sender and uuid not in self.ended]
        for uuid in own[-self.chance.choice((1, 10, 100, 300)) :]:
            self.send(self.chance.choice(ENDS), uuid, sender)

    def _step(self) -> None:
        chance = self.chance
        if len(self.ids) < 100 or chance.random() < 0.4:
            self._new_task()
            return
        # Mostly young tasks go on, and sometimes old ones.
        uuid = chance.choice(self.ids[-30:] if chance.random() < 0.8 else self.ids)
        sender = self.owner[uuid] if chance.random() < 0.95 else chance.choice(self.senders)
        kind = chance.choice(("task-started", "task-retried", "task-progressed", *ENDS))
        if kind in ENDS and uuid in self.ended and chance.random() > self.odd:
            kind = "task-progressed"  # a task rarely ends twice
        fields: dict[str, Any] = {"runtime": chance.random()} if kind == "task-succeeded" else {}
        if chance.random() < self.odd:
            kind, fields = chance.choice(("task-sent", "task-received")), {"name": _name_of(uuid)}
            sender = (self.client or EventSender("gen9@web")) if kind == "task-sent" else sender
        if chance.random() < self.reuse:
            kind, fields = "task-received", {"name": chance.choice(NAMES)}  # the id is used for another task type
            self.found.events["reused id"] += 1
        self.send(kind, uuid, sender, **fields)

    def _new_id(self, sender: EventSender) -> str:
        self.named += 1
        uuid = f"{self.chance.getrandbits(32):08x}-{self.named}"
        self.ids = [*self.ids[-2 * self.room :], uuid] if len(self.ids) > 3 * self.room else [*self.ids, uuid]
        self.owner[uuid] = sender
        return uuid

    def _receive(self, uuid: str, sender: EventSender) -> None:
        eta = {"eta": "2023-11-15T00:00:00"} if self.chance.random() < 0.1 else {}
        self.send("task-received", uuid, sender, name=_name_of(uuid), **eta)

    def _new_task(self) -> None:
        chance = self.chance
        sender = chance.choice(self.senders)
        uuid = self._new_id(sender)
        if self.client and chance.random() < 0.5:
            self.send("task-sent", uuid, self.client, name=_name_of(uuid))
            if chance.random() < 0.3:
                return
        if chance.random() < self.odd:
            self.send("task-started", uuid, sender)
            return
        self._receive(uuid, sender)

    def pass_time(self) -> None:
        """Send the events of one interval.

        Sometimes collect garbage, or save the state as a persistent Flower does.
        """
        self.live(self.busy if self.chance.random() < 0.98 else 200)
        if self.chance.random() < 0.05:
            self.fill_sleeper()
        if self.chance.random() < 0.2:
            gc.collect()  # up to Flower 2.0.1 forgotten tasks leave the list now
        if self.chance.random() < 0.1:
            self.saved = [*self.saved[-3:], pickle.dumps(self.flower.state)]

    def note_result(self, scraper: TaskScraper, scraped: ScrapedTasks) -> None:
        """Note whether the result may hide that a task was renamed in place.

        Results that build on this one may hide it too.

        During a full scrape without known counters from before, such an event may be hidden by others (README, "What
        neither finds"). The next full scrape shows it.
        """
        if scraped.full and not self.is_first_scrape:
            self.may_hide_name = False
        self.is_first_scrape = scraper._state is None or scraper._state.counts is None

    def restart(self, client: DirectClient, *, from_saved: bool) -> None:
        """Restart Flower, with nothing or with a state that it saved earlier."""
        former = self.flower
        self.started = former.now if self.started else 0.0
        room = self.room if from_saved else self.chance.choice((200, 600, self.room))
        self.flower = client.flower = CeleryFlower(self.order, room, self.started)
        self.flower.now = former.now
        if from_saved and self.saved:
            saved = self.saved[-1] if self.chance.random() < 0.5 else self.chance.choice(self.saved)
            self.went_back = self.went_back or saved is not self.saved[-1]
            self.flower.state = pickle.loads(saved)
        self.saved = [*self.saved[-3:], pickle.dumps(self.flower.state)]
        self.witness = Witness(self.flower)
        if self.chance.random() < 0.5:
            self.live(self.chance.choice((0, 20, 60, 300, 600)))
        else:  # no new task, so that the number of tasks does not show that the state is an older one
            self.burst()
        self.has_restarted = self.is_first_scrape = True
        self.is_exact = self.may_hide_name = False


def _name_of(uuid: str) -> str:
    return NAMES[int(uuid[0], 16) % len(NAMES)]


def labels_of(task: Mapping[str, Any]) -> LABELS:
    """Return type and state of a task as Flower answers it."""
    return task["name"] or "unknown", task["state"]


def run(cycles: int, seed: int, lives: int) -> Found:
    """Run this number of cycles, spread over several lives."""
    found = Found()
    gc.disable()
    gc.freeze()  # later collections look at a life's own objects only
    counter = _LogCounter(found.reasons)
    level = log.logger.level
    log.logger.addHandler(counter)
    log.logger.setLevel(logging.INFO)
    log.logger.propagate = False
    for life in range(lives):
        live(found, cycles // lives, seed * 1_000_003 + life)
    log.logger.removeHandler(counter)
    log.logger.setLevel(level)
    log.logger.propagate = True
    return found


def live(found: Found, cycles: int, seed: int) -> None:
    """Run one life until its end or the first wrong result."""
    with tempfile.TemporaryDirectory() as folder:
        _live(found, cycles, seed, Path(folder, "state"))


def _live(found: Found, cycles: int, seed: int, state_path: Path) -> None:
    def new_scraper() -> Scraper:
        return Scraper(math.inf, StateFile(state_path, "http://flower:5555", "flower:5555"), (0.5,))

    life = Life(seed, found)
    client = DirectClient(life.flower)
    scraper = new_scraper()
    life.live(500)
    life.fill_sleeper()
    life.is_first_scrape = True
    for cycle in range(cycles):
        found.cycles += 1
        fault = _fault(life, client)
        life.pass_time()
        goes_on = scraper._unfinished is not None
        if life.chance.random() < 0.03:
            scraper.save()
            scraper = new_scraper()
            found.events["job restarted"] += 1
        moving = _plan_movement(life)
        life.witness.start()
        scraper.was_proven, life.is_scraped = False, True
        pauses = scraper._state is not None and scraper._state.incremental.pause > 0
        try:
            flower = Flower(cast(Client, client), (wait_of,))
            flower.get_json("/api/workers", never())  # as every scrape does first
            scraped = scraper.scrape(flower, PAGE, never())
        except FlowerError:
            if fault not in ("break", "deadline") and not goes_on:
                found.wrong.append(f"seed {seed} cycle {cycle}: an error without a fault")
            continue
        finally:
            life.flower.before_answer = lambda _path: None
            life.flower.cached_metrics = None
            life.is_scraped = scraper._unfinished is not None
        life.note_result(scraper, scraped)
        if fault is None and not pauses and (not scraped.full or len(scraped.tasks) > PAGE):
            found.expected[life.kind] += 1
            found.incremental[life.kind] += not scraped.full
        found.events["several cycles"] += scraper.was_proven
        complaint = None if scraped.full and not scraper.was_proven else life.witness.complaint(scraped)
        if not moving:
            complaint = complaint or difference(life.flower, scraped.tasks) or disorder(life.flower, scraper)
            if fault not in ("cache", "break", "deadline"):  # otherwise the counters may not have been read
                complaint = complaint or wrong_totals(life, scraped.totals)
        life.witness.seen_before = set(scraped.tasks)
        if complaint and not life.may_hide_name:
            found.wrong.append(f"seed {seed} cycle {cycle} {life.kind}, fault {fault}, moving {moving}: {complaint}")
            return


def _plan_movement(life: Life) -> bool:
    """Plan events between the requests of this scrape; return whether there are any."""
    chance = life.chance
    style = chance.random()
    if style < 0.15:
        life.flower.before_answer = lambda _path: life.live(3)
    elif style < 0.35:
        left = chance.randint(0, 4)

        def burst_once(_path: str) -> None:
            nonlocal left
            if left == 0:
                life.found.events["burst between requests"] += 1
                life.burst()
            left -= 1

        life.flower.before_answer = burst_once
    return style < 0.35


def _fault(life: Life, client: DirectClient) -> str | None:
    """Let something go wrong in some cycles; return what."""
    chance = life.chance
    # A Flower that has just restarted has counted few events, and soon counts more after another restart.
    # Without a start time, a restart can be known by its counters only.
    often = life.has_restarted or not life.started
    weights = (60, 2, 2, 2, 1, 35) if often else (92, 2, 2, 2, 1, 1)
    kind = chance.choices((None, "break", "deadline", "cache", "restart", "restart from saved"), weights)[0]
    life.has_restarted = False
    if kind == "break":

        def refuse(_path: str) -> None:
            if chance.random() < 0.3:
                raise TransportError("the connection broke", transient=True)

        life.flower.before_answer = refuse
    elif kind == "deadline":
        left = chance.randint(0, 12)

        def run_out_of_time(_path: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise TransportError("the time is up")

        life.flower.before_answer = run_out_of_time
    elif kind == "cache":
        life.flower.answers += 1  # another client's request filled the cache
        life.flower.cached_metrics = life.flower.metrics(), life.flower.now
        life.flower.now += 1.0
    elif kind is not None:
        life.restart(client, from_saved=kind == "restart from saved")
    if kind:
        life.found.events[kind] += 1
    return kind


def difference(flower: CeleryFlower, tasks: TaskTable) -> str | None:
    """Return the difference between a result and the list; None if there is none.

    The list is counted as it is now.
    """
    listed = dict(flower.tasks())
    counts, seconds = durations_by_labels(listed.values(), float(int(flower.now)))
    tallies = tasks.tally()
    if counts != Counter({labels: tally.count for labels, tally in tallies.items()}):
        return f"{len(tasks)} tasks of {len(listed)}: {_odd_ones(listed, tasks)[:3]}"
    for labels, tally in tallies.items():
        if abs(tally.seconds - seconds[labels]) > 1e-6 * max(1.0, tally.seconds):
            return f"seconds of {labels}: {tally.seconds}, counted {seconds[labels]}: {_odd_ones(listed, tasks)[:3]}"
    return None


def wrong_totals(life: Life, totals: Totals | None) -> str | None:
    """Return an error of the totals; None if they agree with the events sent.

    The events that the totals report as missed are part of the comparison.

    What was sent before the first scrape is not counted. What was sent before a restart of Flower may be missing. An id
    that is used again counts under another name than Flower's events do. A Flower that restarts with an older state
    than its last one, and then with a later one, brings back tasks that ended. So does an old Flower if the
    logical clock of a worker has started again.
    """
    if totals is None:
        return "no totals"
    counted = sum(found.retries + sum(found.ends.values()) for found in totals.types.values())
    missed = sum(found.missed for found in totals.types.values())
    former, life.uncounted = life.uncounted, life.counted_events - counted - missed
    is_exact, life.is_exact = life.is_exact, totals.is_base_exact
    if former is None:
        life.first_uncounted = life.uncounted
    is_exact = is_exact and life.order == BY_STAMP  # the list of an old Flower loses tasks, and shows them again
    if life.reuse or not life.started or life.went_back or life.loses_tasks:
        return None
    # What is known to be missed may rise until all is explained.
    is_wrong = is_exact and not life.first_uncounted <= life.uncounted <= (former or 0)
    if is_wrong or life.uncounted + missed < life.first_uncounted:
        return f"{counted} counted, {missed} missed; {life.uncounted} less than were sent, before {former}"
    return None


def disorder(flower: CeleryFlower, scraper: TaskScraper) -> str | None:
    """Return an error in the order of the state's tasks; None if there is none.

    The order must be that of the list, except for tasks whose place is not known.
    """
    state = scraper._state
    if state is None or state.order.is_by_stamp:
        return None
    known = [task_id for task_id in state.tasks if task_id not in state.unplaced]
    listed = [task_id for task_id, _ in flower.listed() if task_id not in state.unplaced]
    odd = [pair for pair in zip(known, listed, strict=True) if pair[0] != pair[1]]
    return f"the order of {len(odd)}, the first is {odd[0]}" if odd else None


def _odd_ones(listed: dict[str, dict[str, Any]], tasks: TaskTable) -> list[Any]:
    """Return the tasks that differ: as they were scraped, and as they are."""
    found = dict(tasks.contents())
    return [
        (found.get(uuid), {name: value for name, value in listed.get(uuid, {}).items() if value is not None})
        for uuid in found.keys() | listed.keys()
        if uuid not in found
        or uuid not in listed
        or found[uuid].labels != labels_of(listed[uuid])
        or found[uuid].stamp != listed[uuid]["timestamp"]
    ]


def main() -> int:
    """Return exit code 1 if a result was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.incremental.fuzz", description=__doc__)
    parser.add_argument("--cycles", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets have the same order in each run, so that a seed repeats
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.incremental.fuzz", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    found = run(arguments.cycles, arguments.seed, max(1, arguments.cycles // 200))
    print(
        f"{found.cycles} cycles, {dict(found.events)}; {found.incremental.total()} of {found.expected.total()}"
        f" that could be incremental were; {len(found.wrong)} wrong"
    )
    for kind, count in sorted(found.expected.items()):
        print(f"{found.incremental[kind]:>6} incremental of {count} {kind}")
    for reason, count in found.reasons.most_common():
        print(f"{count:>6} {reason}")
    for line in found.wrong[:20]:
        print(line)
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
